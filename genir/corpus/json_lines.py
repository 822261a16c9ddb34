"""JSON lines: parsing with line numbers, and short representations for messages."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from genir.errors import InputError
from genir.json_parser import JsonError, parse_json
from genir.text_files import Lines


def json_records(lines: Lines, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the JSON object of each non-blank line. Raises InputError for an invalid line."""
    for number, text in lines:
        if text.strip():
            yield number, _object(text, f"{name}:{number}")


def _object(text: str, where: str) -> dict[str, Any]:
    try:
        record = parse_json(text)
        if "\\ud" in text or "\\uD" in text:  # an escape may be an unpaired surrogate
            json.dumps(record, ensure_ascii=False).encode()
    except JsonError as error:
        fix = "write one JSON object a line" if error.malformed else error.fix
        raise InputError(f"{where}: {error.problem}{error.place}: {shorten(text)}; {fix}") from None
    except UnicodeEncodeError:
        raise InputError(
            f"{where}: an unpaired surrogate, e.g. \\ud800: {shorten(text)}; "
            "write the whole character"
        ) from None
    if not isinstance(record, dict):
        raise InputError(f"{where}: not a JSON object: {shorten(text)}; write {{...}}")
    return record


def shorten(value: object, width: int = 80) -> str:
    """Return the repr of a value, cut to a width, in time independent of the value's length."""
    shown, length = [], 0
    for piece in _repr_pieces(value, width):
        shown.append(piece)
        length += len(piece)
        if length > width:
            return "".join(shown)[: width - 1] + "…"
    return "".join(shown)


def _repr_pieces(value: object, width: int) -> Iterator[str]:
    """Yield the repr of a JSON value in pieces, so that the caller can stop early."""
    if isinstance(value, dict):
        yield "{"
        for number, (name, one) in enumerate(value.items()):
            yield ", " if number else ""
            yield from _repr_pieces(name, width)
            yield ": "
            yield from _repr_pieces(one, width)
        yield "}"
    elif isinstance(value, list):
        yield "["
        for number, one in enumerate(value):
            yield ", " if number else ""
            yield from _repr_pieces(one, width)
        yield "]"
    else:
        yield repr(value[:width] if isinstance(value, str | bytes) else value)


def check_byte_order_mark(key: str, where: str) -> None:
    """Raise InputError for a key that starts with a byte order mark, which is invisible."""
    if key.startswith("\ufeff"):
        raise InputError(
            f"{where}: the key {key!a} begins with a byte order mark, as where files were joined; "
            "remove the mark"
        )


def string_advice(value: Any) -> str:
    """Return the remedy for a value of a record that should be a string."""
    if isinstance(value, list | tuple):
        return "join its parts into one string"
    if isinstance(value, Mapping) or value is None:
        return "give it a string"
    return "write it in quotes"
