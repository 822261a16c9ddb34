"""Validation of metadata values: JSON values whose strings can be encoded in UTF-8."""

import math
from typing import Any

MAX_NUMBER = 1.7976931348623157e308
"""Maximum absolute value of an integer: the largest double; filters compare numbers as doubles."""
MAX_DEPTH = 64
"""Maximum nesting of one value."""
MAX_VALUES = 100_000
"""Maximum number of values in one field; YAML aliases can expand to many."""


def check_value(value: Any) -> None:
    """Check that a value can be stored as JSON without change.

    Raises:
        ValueError: The value cannot be stored; the message has the reason and the remedy.
    """
    stack: list[tuple[Any, int]] = [(value, 1)]
    count = 0
    while stack:
        item, depth = stack.pop()
        count += 1
        if depth > MAX_DEPTH or count > MAX_VALUES:
            raise ValueError(
                f"more than {MAX_VALUES:,} values or {MAX_DEPTH} levels of nesting; "
                "shorten or flatten it"
            )
        if isinstance(item, dict):
            stack += [(inner, depth + 1) for inner in item.values()]
            for name in item:
                check_name(name)
        elif isinstance(item, list | tuple):
            stack += [(inner, depth + 1) for inner in item]
        else:
            _check_scalar(item)


def check_name(name: Any) -> None:
    """Raise ValueError unless a field name is a string."""
    if not isinstance(name, str):
        raise ValueError(f"the field name {name!r:.80} is not a string; write it in quotes")
    check_text(name)


def check_text(text: str) -> None:
    """Raise ValueError unless UTF-8 can encode a text: it may have no unpaired surrogate."""
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
            raise ValueError(f"{value} cannot be stored: JSON has no NaN or infinity; write null")
    elif isinstance(value, int):
        if abs(value) > MAX_NUMBER:
            raise ValueError("an integer of more than 308 digits; write it as a string")
    elif value is not None:
        fix = "write it as a string"
        fix = "convert it with .item()" if getattr(value, "ndim", None) == 0 else fix
        fix = "convert it with .tolist()" if getattr(value, "ndim", 0) > 0 else fix
        raise ValueError(
            f"{value!a:.60} cannot be stored: JSON has no {type(value).__name__}; {fix}"
        )
