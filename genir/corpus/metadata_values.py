"""Validation of field values: JSON values whose strings UTF-8 can encode."""

import math
from typing import Any

MAX_NUMBER = 1.7976931348623157e308
"""Maximum absolute value of an integer: the largest double; filters compare numbers as doubles."""
MAX_DEPTH = 64
MAX_VALUES = 100_000
"""Maximum number of values in one field; YAML aliases can expand to many."""


def check_value(value: Any) -> None:
    """Check that a value can be stored as JSON without change.

    Raises:
        ValueError: It cannot; the message says why and how to fix it.
    """
    waiting: list[tuple[Any, int]] = [(value, 1)]
    seen = 0
    while waiting:
        one, depth = waiting.pop()
        seen += 1
        if depth > MAX_DEPTH or seen > MAX_VALUES:
            raise ValueError(
                f"more than {MAX_VALUES:,} values or {MAX_DEPTH} levels, too many; shorten it"
            )
        if isinstance(one, dict):
            waiting += [(inner, depth + 1) for inner in one.values()]
            for name in one:
                check_name(name)
        elif isinstance(one, list | tuple):
            waiting += [(inner, depth + 1) for inner in one]
        else:
            _check_scalar(one)


def check_name(name: Any) -> None:
    """Check that a field name is a string. Raises ValueError like `check_value`."""
    if not isinstance(name, str):
        raise ValueError(f"the name {name!r:.80} is not a string; write it in quotes")
    check_text(name)


def check_text(text: str) -> None:
    """Check that UTF-8 can encode a text. Raises ValueError like `check_value`."""
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(
            f"{text!a:.60} cannot be stored: an unpaired surrogate, e.g. \\ud800; "
            "write the whole character"
        ) from None


def _check_scalar(value: Any) -> None:
    if isinstance(value, str):
        check_text(value)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} cannot be stored: not a JSON number; write null")
    elif isinstance(value, int):
        if abs(value) > MAX_NUMBER:
            raise ValueError("an integer of more than 308 digits; write it as a string")
    elif value is not None:
        fix = "give its .item()" if getattr(value, "ndim", None) == 0 else "write it as a string"
        fix = "give its .tolist()" if getattr(value, "ndim", 0) > 0 else fix
        raise ValueError(
            f"{value!a:.60} cannot be stored: JSON has no {type(value).__name__}; {fix}"
        )
