"""JSON lines: one object a line, each with the number of its line. Knows no documents."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from genir.errors import InputError
from genir.text_files import Lines


def json_records(lines: Lines, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the JSON object of each line that is not blank. Raises InputError for a bad line."""
    for number, text in lines:
        if text.strip():
            yield number, _object(text, f"{name}:{number}")


def _object(text: str, where: str) -> dict[str, Any]:
    try:
        record = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=unique_fields)
        if "\\ud" in text or "\\uD" in text:  # an escape may name half of a character
            json.dumps(record, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise InputError(
            f"{where}: malformed JSON ({error.msg} at column {error.colno}): {shorten(text)}; "
            "write one JSON object a line"
        ) from None
    except UnicodeEncodeError:
        raise InputError(
            f"{where}: an unpaired surrogate such as \\ud800: {shorten(text)}; "
            "write the whole character"
        ) from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: {error}: {shorten(text)}; mend the line") from None
    if not isinstance(record, dict):
        raise InputError(f"{where}: not a JSON object: {shorten(text)}; write {{...}}")
    return record


def unique_fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the fields of a JSON object. Raises ValueError for a name that is given twice."""
    fields = dict(pairs)
    if len(fields) < len(pairs):
        ((twice, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the field {shorten(twice)} is given twice")
    return fields


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def shorten(value: object, width: int = 80) -> str:
    """Return the repr of a value, cut to a width; long values cost no more than short ones."""
    shown, length = [], 0
    for piece in _repr_pieces(value, width):
        shown.append(piece)
        length += len(piece)
        if length > width:
            return "".join(shown)[: width - 1] + "…"
    return "".join(shown)


def _repr_pieces(value: object, width: int) -> Iterator[str]:
    """Yield the repr of a JSON value piece by piece, so that a reader may stop early."""
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


def check_mark(key: str, where: str) -> None:
    """Raise InputError for a key behind a byte order mark, which nobody sees or types."""
    if key.startswith("\ufeff"):
        raise InputError(
            f"{where}: the key {key!a} begins with a byte order mark, as where files were joined; "
            "remove the mark"
        )
