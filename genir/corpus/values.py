"""What a document's fields may hold: JSON values, in characters that UTF-8 can encode."""

import math
from typing import Any

from genir.errors import InputError

MAX_BITS = 10_000
"""Of an integer; Python writes no longer ones as text."""
MAX_DEPTH = 64
MAX_VALUES = 100_000
"""Values in one field; aliases in YAML can write many in few bytes."""


def check_value(value: Any, place: str) -> None:
    """Raise InputError, opened by `place`, unless a value is JSON that is stored unchanged."""
    waiting: list[tuple[Any, int]] = [(value, 1)]
    seen = 0
    while waiting:
        one, depth = waiting.pop()
        seen += 1
        if depth > MAX_DEPTH or seen > MAX_VALUES:
            raise InputError(
                f"{place} holds more than {MAX_VALUES:,} values or {MAX_DEPTH} levels; shorten it"
            )
        if isinstance(one, dict):
            waiting += [(key, depth + 1) for key in one]
            waiting += [(inner, depth + 1) for inner in one.values()]
            _check_names(one, place)
        elif isinstance(one, list | tuple):
            waiting += [(inner, depth + 1) for inner in one]
        else:
            _check_scalar(one, place)


def _check_names(fields: dict[Any, Any], place: str) -> None:
    for name in fields:
        if not isinstance(name, str):
            raise InputError(f"{place}: the name {name!r:.80} is not a string; write it in quotes")


def _check_scalar(value: Any, place: str) -> None:
    if isinstance(value, str):
        if not is_whole(value):
            raise InputError(
                f"{place}: {value!a:.60} cannot be stored: an unpaired surrogate such as "
                "\\ud800, half a character; write the whole character"
            )
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise InputError(f"{place}: {value} cannot be stored: not a JSON number; write null")
    elif isinstance(value, int):
        if value.bit_length() > MAX_BITS:
            raise InputError(
                f"{place}: an integer of more than {MAX_BITS:,} bits; write it as a string"
            )
    elif value is not None:
        raise InputError(
            f"{place}: {value!a:.60} cannot be stored: JSON has no {type(value).__name__}; "
            "write it as a string"
        )


def is_whole(text: str) -> bool:
    """Return whether UTF-8 can encode a text: no unpaired surrogate, as "\\ud800" in JSON."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
