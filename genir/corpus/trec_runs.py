"""TREC run files: `qid Q0 key rank score tag`, ranks from 1, no duplicate document.

White space separates the fields, so white space in keys is escaped: a space as ␠ (U+2420); other
white space, and these two signs, as ␛ (U+241B) and four hexadecimal digits. Reading unescapes it.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path

from genir.corpus.json_lines import check_byte_order_mark, shorten
from genir.errors import InputError
from genir.outputs import write_text
from genir.plurals import counted
from genir.text_files import read_lines
from genir.types import Hit, Query


def tag_with_digest(name: str, queries: Iterable[Query]) -> str:
    """Return a tag with a digest of the queries' keys and texts: `genir-q0123456789abcdef`.

    It distinguishes runs of different queries with equal keys, for example 1 to n.
    """
    pairs = sorted((query.key, " ".join(query.text.split())) for query in queries)
    text = json.dumps(pairs, ensure_ascii=True)
    return f"{name}-q{blake2b(text.encode(), digest_size=8).hexdigest()}"


def read_digest(path: Path) -> str:
    """Return the digest in the tags of a run file, "" if there is none or more than one."""
    tags = {line.split()[-1] for _, line in read_lines(path) if line.strip()}
    found = re.search(r"-q([0-9a-f]{16})$", tags.pop()) if len(tags) == 1 else None
    return found[1] if found else ""


def write_run(path: Path, answers: Mapping[str, Sequence[Hit]], tag: str = "genir") -> None:
    """Write query key -> hits, best first, as a run file.

    Raises:
        InputError: An empty key, a tag with white space, or a duplicate document (nothing is
            written then); or the file cannot be written.
    """
    if tag.split() != [tag]:
        raise InputError(f"tag {tag!r}: empty or with white space; choose another tag")
    write_text(path, "".join(_lines(answers, tag)))


def _lines(answers: Mapping[str, Sequence[Hit]], tag: str) -> Iterator[str]:
    for query, hits in answers.items():
        own = escape_key(query)
        refuse_duplicates(query, hits)
        for rank, hit in enumerate(hits, start=1):
            yield f"{own} Q0 {escape_key(hit.key)} {rank} {float(hit.score)!r} {tag}\n"


def escape_key(key: str) -> str:
    """Return a key without white space. Raises InputError for an empty one."""
    if not key:
        raise InputError("an empty key: a TREC run file cannot hold one; give it another key")
    return re.sub(r"[\s␠␛]", lambda found: _escape(found[0]), key)


def _escape(character: str) -> str:
    return "␠" if character == " " else f"␛{ord(character):04x}"


def unescape_key(text: str) -> str:
    """Return the key that `escape_key` has written."""
    return re.sub(
        "␠|␛([0-9a-f]{4})", lambda found: chr(int(found[1], 16)) if found[1] else " ", text
    )


def read_run(path: Path) -> dict[str, list[Hit]]:
    """Read a run file: query key -> hits, ranked from 1 by score, ties by the file's rank.

    Raises:
        InputError: The file is missing, a line does not have six fields, a rank or score is not a
            number, or a document occurs twice; the message names file and line.
    """
    rows: dict[str, list[tuple[float, int, str]]] = {}
    for number, line in read_lines(path):
        if line.strip():
            query, row = _row(line, f"{path}:{number}")
            rows.setdefault(query, []).append(row)
    return {query: _ranked(query, own, path) for query, own in rows.items()}


def _row(line: str, where: str) -> tuple[str, tuple[float, int, str]]:
    fields = line.split()
    if len(fields) != 6:
        raise InputError(
            f"{where}: {counted(len(fields), 'field')} instead of 6; write it as: "
            "qid Q0 key rank score tag"
        )
    query, _, key, rank, score, _ = fields
    for given in (query, key):
        check_byte_order_mark(given, where)
    try:
        value, place = float(score), int(rank)
        written = rank + score  # Python also parses 1_000 and digits of all scripts
        if "_" in written or not written.isascii():
            raise ValueError
    except ValueError:
        raise InputError(
            f"{where}: rank {shorten(rank)} or score {shorten(score)} is not a number"
        ) from None
    if not math.isfinite(value):
        raise InputError(f"{where}: score {shorten(score)} is not a finite number")
    return unescape_key(query), (value, place, unescape_key(key))


def _ranked(query: str, rows: Sequence[tuple[float, int, str]], path: Path) -> list[Hit]:
    ordered = sorted(rows, key=lambda row: (-row[0], row[1], row[2]))
    hits = [Hit(key, score, rank) for rank, (score, _, key) in enumerate(ordered, start=1)]
    try:
        refuse_duplicates(query, hits)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return hits


def refuse_duplicates(query: str, hits: Sequence[Hit]) -> None:
    """Raise InputError if a document occurs twice in an answer (nDCG could exceed 1)."""
    ranks: dict[str, int] = {}
    for rank, hit in enumerate(hits, start=1):
        first = ranks.setdefault(hit.key, rank)
        if first != rank:
            raise InputError(
                f"query {query!r}: document {hit.key!r} is returned twice, at ranks {first} and "
                f"{rank}; a run must name a document once"
            )
