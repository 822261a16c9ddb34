"""Tab-separated files: MS MARCO collections and queries, BEIR and TREC qrels."""

import re
from collections.abc import Callable, Iterator, Mapping

from genir.corpus.json_lines import check_byte_order_mark, shorten
from genir.corpus.skipped_items import SkippedItems
from genir.errors import InputError
from genir.plurals import counted
from genir.text_files import Lines
from genir.types import MAX_GRADE, Qrel

HEADER = ("query-id", "corpus-id", "score")
"""Header of a BEIR qrels file."""
DOCUMENT_COLUMNS = {2: ("_id", "text"), 4: ("_id", "url", "title", "text")}
"""Names of the columns of an MS MARCO file by their number: 2 for passages, 4 for documents."""
QUERY_COLUMNS = {2: ("_id", "text")}
KEY_COLUMN = re.compile(
    r"_?id|(p|q|d|doc|query|passage|document|corpus|topic)[-_ ]?(id|no)|key|index|idx|number"
)
"""Header names of the key column."""
_TEXT_WORDS = "|".join(
    ("text", "contents?", "body", "title", "url", "passage", "paragraph", "sentence", "document",
     "doc", "abstract", "summary", "description", "query", "question", "topic", "answer", "snippet")
)  # fmt: skip
TEXT_NAMES = re.compile(f"({_TEXT_WORDS})([-_ ]?({_TEXT_WORDS}))?")
"""Header names of columns other than the key, for example `text` or `passage_text`."""
WORD = re.compile(r"[\"']?[A-Za-z_-]+[\"']?")
"""A value that may be the name of a column, but also a key or a text."""
GRADE = re.compile(r"[+-]?0*[0-9]{1,4}")
"""A relevance grade: a whole number; its size is checked against MAX_GRADE."""


def tsv_records(
    lines: Lines,
    name: str,
    columns: Mapping[int, tuple[str, ...]] = DOCUMENT_COLUMNS,
    notes: SkippedItems | None = None,
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the rows of an MS MARCO file as records; a header row is skipped.

    Args:
        columns: Number of columns -> their names.
        notes: Collects warnings: a skipped header, and texts in quotes (kept unchanged).

    Raises:
        InputError: A row has a wrong number of columns, or the header has its columns in another
            order.
    """
    notes = SkippedItems(name) if notes is None else notes
    expected = rows = quoted = 0
    opening: list[str] = []
    for number, line in lines:
        if not line:
            continue
        values = line.split("\t")
        first, expected = not expected, expected or len(values)
        if len(values) != expected or expected not in columns:
            shapes = [f"{n} ({', '.join(names)})" for n, names in columns.items()]
            wanted = expected if expected in columns else " or ".join(shapes)
            raise InputError(
                f"{name}:{number}: {counted(len(values), 'column')}, expected {wanted}: "
                f"{shorten(line)}; separate the columns by single tabs; TSV has no quotes"
            )
        if first and _is_header(values, f"{name}:{number}"):
            notes.add("the first line is a header and was skipped", line)
            continue
        text = values[-1]
        opening = opening if rows else values
        if rows == 1 and _may_be_header(opening, values):
            notes.add("the first line may be a header, but is read as a record", "\t".join(opening))
        rows, quoted = rows + 1, quoted + (len(text) > 1 and text[0] == text[-1] == '"')
        yield number, dict(zip(columns[expected], values, strict=True))
    if quoted == rows > 1:
        notes.add("every text is in double quotes, kept as part of the text: TSV has no quoting")


def _may_be_header(first: list[str], second: list[str]) -> bool:
    """Return whether a row has words only, in a file with keys of another kind."""
    return all(map(WORD.fullmatch, first)) and WORD.fullmatch(second[0]) is None


def _is_header(values: list[str], where: str) -> bool:
    """Return whether a row is a header. Raises InputError if its first column is not the key."""
    names = [value.strip().strip("\"'").lower() for value in values]
    keys = [KEY_COLUMN.fullmatch(name) is not None for name in names]
    texts = [TEXT_NAMES.fullmatch(name) is not None for name in names]
    if sum(keys) != 1 or sum(texts) != len(names) - 1:
        return False
    if not keys[0] or (len(names) == 4 and names[1:3] != ["url", "title"]):
        raise InputError(
            f"{where}: the header {shorten(values)} has columns in another order; write id, text "
            "or id, url, title, text"
        )
    return True


def judgements(lines: Lines, name: str) -> Iterator[tuple[int, Qrel]]:
    """Yield the judgements of a qrels file, with their line numbers.

    The first line decides the format: BEIR's header `query-id corpus-id score`, or TREC's four
    columns `query 0 document grade` (the second is ignored). Equal judgements are read once.

    Raises:
        InputError: The format is neither of them, or a query and document have two grades.
    """
    seen: dict[tuple[str, str], tuple[int, int]] = {}
    split: Callable[[str], list[str]] | None = None
    for number, text in lines:
        where = f"{name}:{number}"
        if not text.strip():
            continue
        if split is None:
            split = _layout(text, where)
            if split is _beir:
                continue
        qrel = _qrel(split(text), text, where)
        line, grade = seen.setdefault((qrel.query, qrel.document), (number, qrel.grade))
        if grade != qrel.grade:
            raise InputError(
                f"{where}: query {qrel.query!r} and document {qrel.document!r} have grade "
                f"{qrel.grade} here and {grade} on line {line}; keep one"
            )
        if line == number:
            yield number, qrel
    if not seen:
        raise InputError(f"{name}: no judgements; write one per line, below the header")


def _beir(text: str) -> list[str]:
    return text.split("\t")


def _trec(text: str) -> list[str]:
    values = text.split("\t")
    if len(values) != 4:  # tab-separated keys may contain spaces
        values = text.split()
    return [values[0], *values[2:]] if len(values) == 4 else []


def _layout(text: str, where: str) -> Callable[[str], list[str]]:
    if tuple(_beir(text)) == HEADER:
        return _beir
    if _trec(text):
        return _trec
    raise InputError(
        f"{where}: {shorten(text)} is neither the BEIR header {'<tab>'.join(HEADER)} nor "
        "TREC's four columns `query 0 document grade`; add the header"
    )


def _qrel(values: list[str], text: str, where: str) -> Qrel:
    if len(values) != 3 or not all(values):
        raise InputError(f"{where}: {shorten(text)} has other columns than the first line")
    query, document, grade = values
    for key in (query, document):
        check_byte_order_mark(key, where)
    if not GRADE.fullmatch(grade.strip()) or abs(int(grade)) > MAX_GRADE:
        raise InputError(
            f"{where}: grade {shorten(grade)} is not a whole number from {-MAX_GRADE:,} to "
            f"{MAX_GRADE:,}; write 0, 1, ..."
        )
    return Qrel(query, document, int(grade))
