"""Files of identifiers: the identifiers of documents, as texts or as token ids.

JSON lines `{"document": key, "identifier": text or list of token ids}`, or TSV lines
`key<tab>identifier`. The identifiers of a TSV file are token ids if each is a list of whole numbers
separated by commas, else texts.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from genir.arguments import is_blank
from genir.corpus.json_lines import json_records, shorten
from genir.errors import InputError
from genir.progress import tracked
from genir.text_files import Lines, read_lines

Given = str | list[int]
"""An identifier of a file: a text, or token ids."""
TOKEN_IDS = re.compile(r"[0-9]{1,9}( *, *[0-9]{1,9})*")
MAX_TOKEN_ID = 2**31 - 1
JSON_FORM = '{"document": key, "identifier": text or [token ids]}'


def read_identifiers(path: Path) -> dict[str, list[Given]]:
    """Return the identifiers of each document by its key, in the order of the file.

    Raises:
        InputError: The file is missing, empty, or has a line that is not of its format.
    """
    lines = list(read_lines(path))
    first = next((text for _, text in lines if text.strip()), "")
    read = _json_lines if first.lstrip().startswith("{") else _tsv
    found: dict[str, list[Given]] = {}
    for key, given in read(tracked(lines, "reading identifiers"), str(path)):
        found.setdefault(key, []).append(given)
    if not found:
        raise InputError(f"{path}: no identifiers; write a line {JSON_FORM} per document")
    return found


def _json_lines(lines: Lines, name: str) -> Iterator[tuple[str, Given]]:
    for number, record in json_records(lines, name):
        key, given = record.get("document"), _identifier(record.get("identifier"))
        if not isinstance(key, str) or given is None:
            raise InputError(f"{name}:{number}: {shorten(record)}; write {JSON_FORM}")
        yield key, given


def _identifier(value: Any) -> Given | None:
    """Return a text or token ids; None for anything else."""
    if isinstance(value, str):
        return None if is_blank(value) else value
    if not isinstance(value, list) or not value:
        return None
    valid = all(type(one) is int and 0 <= one <= MAX_TOKEN_ID for one in value)
    return value if valid else None


def _tsv(lines: Lines, name: str) -> Iterator[tuple[str, Given]]:
    rows = [_columns(number, text, name) for number, text in lines if text.strip()]
    odd = [row for row in rows if not TOKEN_IDS.fullmatch(row[1])]
    lists = any(TOKEN_IDS.fullmatch(text) and "," in text for _, text in rows)
    if odd and lists:
        key, text = odd[0]
        raise InputError(
            f"{name}: the identifier {shorten(text)} of {shorten(key)} is a text, but others are "
            f"token ids; correct it, or write JSON lines {JSON_FORM}"
        )
    for key, text in rows:
        yield key, [int(one) for one in text.split(",")] if not odd else text


def _columns(number: int, line: str, name: str) -> tuple[str, str]:
    key, tab, text = line.partition("\t")
    text = text.strip()
    if not key or not tab or not text or "\t" in text:
        raise InputError(
            f"{name}:{number}: {shorten(line)} is not two columns; write key<tab>identifier, or "
            f"JSON lines {JSON_FORM}"
        )
    return key, text
