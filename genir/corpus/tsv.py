"""Tab-separated files: MS MARCO collections and queries, BEIR and TREC qrels."""

import re
from collections.abc import Callable, Iterator, Mapping

from genir.corpus.json_lines import check_byte_order_mark, shorten
from genir.corpus.skipped_items import SkippedItems
from genir.errors import InputError
from genir.text_files import Lines
from genir.types import MAX_GRADE, Qrel

HEADER = ("query-id", "corpus-id", "score")
DOCUMENT_COLUMNS = {2: ("_id", "text"), 4: ("_id", "url", "title", "text")}
"""Number of columns -> their names in MS MARCO: 2 for passages, 4 for documents."""
QUERY_COLUMNS = {2: ("_id", "text")}
KEY_NAMES = re.compile(r"_?id|(p|q|d|doc|query|passage|document|corpus|topic)[-_ ]?(id|no)|key")
TEXT_NAME = "|".join(
    ("text", "contents?", "body", "title", "url", "passage", "paragraph", "sentence", "document",
     "doc", "abstract", "summary", "description", "query", "question", "topic")
)  # fmt: skip
TEXT_NAMES = re.compile(f"({TEXT_NAME})([-_ ]?({TEXT_NAME}))?")
"""Header names of columns other than the key, for example `text` or `passage_text`."""
GRADE = re.compile(r"[+-]?0*[0-9]{1,4}")


def tsv_records(
    lines: Lines,
    name: str,
    columns: Mapping[int, tuple[str, ...]] = DOCUMENT_COLUMNS,
    notes: SkippedItems | None = None,
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the rows of an MS MARCO file as records; a header row is skipped.

    Args:
        lines: Lines of the file.
        name: Name of the file, for messages.
        columns: Number of columns -> their names.
        notes: Collects skipped lines, and texts in quotes, which are kept unchanged.

    Raises:
        InputError: A row has another number of columns, or the header another order.
    """
    notes = SkippedItems(name) if notes is None else notes
    expected = rows = quoted = 0
    for number, line in lines:
        if not line:
            continue
        values = line.split("\t")
        first, expected = not expected, expected or len(values)
        if len(values) != expected or expected not in columns:
            shapes = [f"{n} ({', '.join(names)})" for n, names in columns.items()]
            wanted = expected if expected in columns else " or ".join(shapes)
            raise InputError(
                f"{name}:{number}: {len(values)} columns, expected {wanted}: {shorten(line)}; "
                "separate them by tabs and quote nothing"
            )
        if first and _is_header(values, f"{name}:{number}"):
            notes.add("the first line is a header and no record", line)
            continue
        rows, quoted = rows + 1, quoted + _is_quoted(values[-1])
        yield number, dict(zip(columns[expected], values, strict=True))
    if quoted == rows > 1:
        notes.add("every text is in double quotes, which are kept: TSV has no quoting")


def _is_header(values: list[str], where: str) -> bool:
    """Whether a row is a header. Raises InputError if its first column is not the key."""
    names = [value.strip().strip("\"'").lower() for value in values]
    keys = [KEY_NAMES.fullmatch(name) is not None for name in names]
    texts = [TEXT_NAMES.fullmatch(name) is not None for name in names]
    if sum(keys) != 1 or sum(texts) != len(names) - 1:
        return False
    if not keys[0] or (len(names) == 4 and names[1:3] != ["url", "title"]):
        raise InputError(
            f"{where}: the header {shorten(values)} has another order of columns; write id, text "
            "or id, url, title, text"
        )
    return True


def _is_quoted(text: str) -> bool:
    return len(text) > 1 and text[0] == text[-1] == '"'


def judgements(lines: Lines, name: str) -> Iterator[tuple[int, Qrel]]:
    """Yield the judgements of a qrels file, with their line numbers.

    The first line decides the format: BEIR's header `query-id corpus-id score`, or TREC's four
    columns `query 0 document grade`. Repeated equal judgements count once.

    Raises:
        InputError: Another format, or two grades of one pair.
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
        raise InputError(f"{name}: no judgements; write one a line below the header")


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
        f"{where}: {shorten(text)} is neither the header {'<tab>'.join(HEADER)} nor TREC's four "
        "columns; add the header"
    )


def _qrel(values: list[str], text: str, where: str) -> Qrel:
    if len(values) != 3 or not all(values):
        raise InputError(f"{where}: {shorten(text)} has not the columns of the first line")
    query, document, grade = values
    for key in (query, document):
        check_byte_order_mark(key, where)
    if not GRADE.fullmatch(grade.strip()) or abs(int(grade)) > MAX_GRADE:
        raise InputError(
            f"{where}: grade {shorten(grade)} is not a whole number from {-MAX_GRADE:,} to "
            f"{MAX_GRADE:,}; write 0, 1, ..."
        )
    return Qrel(query, document, int(grade))
