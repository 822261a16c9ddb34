"""Tab-separated files: MS MARCO collections and queries, qrels of BEIR and of TREC."""

from collections.abc import Callable, Iterator

from genir.corpus.lines import Lines, shorten
from genir.errors import InputError
from genir.records import Qrel

HEADER = ("query-id", "corpus-id", "score")
COLUMNS = {2: ("_id", "text"), 4: ("_id", "url", "title", "text")}
"""Columns of MS MARCO: passages and queries have two, documents four."""


def tsv_records(lines: Lines, name: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield MS MARCO passages, queries (two columns) or documents (four) as records."""
    expected = 0
    for number, text in lines:
        if not text:
            continue
        values = text.split("\t")
        expected = expected or len(values)
        if len(values) != expected or expected not in COLUMNS:
            raise InputError(
                f"{name}:{number}: {len(values)} columns, expected "
                f"{expected if expected in COLUMNS else '2 (id, text) or 4 (id, url, title, text)'}"
                f": {shorten(text)}; separate them by tabs and quote nothing"
            )
        yield number, dict(zip(COLUMNS[expected], values, strict=True))


def judgements(lines: Lines, name: str) -> Iterator[tuple[int, Qrel]]:
    """Yield the judgements of the lines of a qrels file, with their line numbers.

    The first line decides: BEIR's header `query-id corpus-id score`, or TREC's four columns
    `query 0 document grade`. A judgement given twice alike counts once.
    Raises InputError for anything else and for two grades of one pair.
    """
    seen: dict[tuple[str, str], tuple[int, int]] = {}
    split: Callable[[str], list[str]] | None = None
    for number, text in lines:
        where = f"{name}:{number}"
        if split is None:
            split = _layout(text, where)
            if split is _beir:
                continue
        if not text.strip():
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
    values = text.split()
    return [values[0], *values[2:]] if len(values) == 4 else []


def _layout(text: str, where: str) -> Callable[[str], list[str]]:
    if tuple(_beir(text)) == HEADER:
        return _beir
    if len(text.split()) == 4:
        return _trec
    raise InputError(
        f"{where}: {shorten(text)} is neither the header {'<tab>'.join(HEADER)} nor TREC's four "
        "columns; add the header"
    )


def _qrel(values: list[str], text: str, where: str) -> Qrel:
    if len(values) != 3 or not all(values):
        raise InputError(f"{where}: {shorten(text)} has not the columns of the first line")
    query, document, grade = values
    try:
        return Qrel(query, document, int(grade))
    except ValueError:
        raise InputError(
            f"{where}: grade {grade!r} is not a whole number; write 0, 1, ..."
        ) from None
