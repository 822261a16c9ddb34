"""TREC run files: `qid Q0 key rank score tag`, rank from 1, no document twice."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from genir.errors import InputError
from genir.records import Hit
from genir.text_files import read_lines


def write_run(path: Path, answers: Mapping[str, Sequence[Hit]], tag: str = "genir") -> None:
    """Write answers (key of the query -> hits, best first) as a run file.

    Raises InputError, before anything is written, for a key or tag that is empty or has white
    space in it (the format separates by it), and for a document that stands twice in an answer.
    """
    _refuse_space("tag", tag)
    path.write_text("".join(_lines(answers, tag)), encoding="utf-8")


def _lines(answers: Mapping[str, Sequence[Hit]], tag: str) -> Iterator[str]:
    for query, hits in answers.items():
        _refuse_space("query", query)
        refuse_duplicates(query, hits)
        for rank, hit in enumerate(hits, start=1):
            _refuse_space("document", hit.key)
            yield f"{query} Q0 {hit.key} {rank} {float(hit.score)!r} {tag}\n"


def _refuse_space(what: str, value: str) -> None:
    if value.split() != [value]:
        raise InputError(
            f"{what} {value!r}: a TREC run file cannot hold an empty key or one with white space; "
            "give it another key"
        )


def read_run(path: Path) -> dict[str, list[Hit]]:
    """Read a run file: key of the query -> hits, ranked from 1 by score, then by the file's rank.

    Raises InputError that names file and line for a missing file, a line without six fields, a
    rank or score that is no number, and a document that stands twice.
    """
    rows: dict[str, list[tuple[float, int, str]]] = {}
    for number, line in read_lines(path):
        if line.strip():
            query, row = _row(line, f"{path}, line {number}")
            rows.setdefault(query, []).append(row)
    return {query: _ranked(query, own, path) for query, own in rows.items()}


def _row(line: str, where: str) -> tuple[str, tuple[float, int, str]]:
    fields = line.split()
    if len(fields) != 6:
        raise InputError(
            f"{where}: {len(fields)} fields instead of 6; write it as: qid Q0 key rank score tag"
        )
    query, _, key, rank, score, _ = fields
    try:
        value, place = float(score), int(rank)
        if "_" in rank + score:  # Python reads 1_000 as a number
            raise ValueError
    except ValueError:
        raise InputError(f"{where}: rank {rank!r} or score {score!r} is not a number") from None
    if math.isnan(value):
        raise InputError(f"{where}: the score is not a number")
    return query, (value, place, key)


def _ranked(query: str, rows: Sequence[tuple[float, int, str]], path: Path) -> list[Hit]:
    ordered = sorted(rows, key=lambda row: (-row[0], row[1], row[2]))
    hits = [Hit(key, score, rank) for rank, (score, _, key) in enumerate(ordered, start=1)]
    try:
        refuse_duplicates(query, hits)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return hits


def refuse_duplicates(query: str, hits: Sequence[Hit]) -> None:
    """Raise InputError when a document stands twice in an answer (nDCG could exceed 1)."""
    ranks: dict[str, int] = {}
    for rank, hit in enumerate(hits, start=1):
        first = ranks.setdefault(hit.key, rank)
        if first != rank:
            raise InputError(
                f"query {query!r}: document {hit.key!r} is returned twice, at ranks {first} and "
                f"{rank}; a run must name a document once"
            )
