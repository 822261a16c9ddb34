"""Strict parsing of JSON from users: duplicate fields, NaN, infinities and deep nesting are errors.

The standard library accepts the first three, and its errors for long integers and deep nesting have
no position.
"""

import json
import re
import sys
from collections import Counter
from typing import Any

MAX_DEPTH = 100
"""Maximum nesting; a metadata field may use 64 levels of it (`corpus.metadata_values`)."""
MALFORMED = "malformed JSON"
_STRING = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?'
"""A JSON string, perhaps unterminated; unrolled: a match holds the GIL (4 MB took 0.1 s)."""
_TOKEN = re.compile(rf"{_STRING}|(?P<open>[\[{{])|(?P<close>[\]}}])", re.DOTALL)


class JsonError(ValueError):
    """A text is not acceptable JSON. The message has problem, place and fix.

    Attributes:
        problem: Description of the problem.
        place: Position, e.g. " at column 7"; "" if a field name identifies it.
        fix: Advice to the user.
        malformed: Whether the text is not JSON at all.
    """

    def __init__(self, problem: str, place: str, fix: str) -> None:
        super().__init__(f"{problem}{place}; {fix}")
        self.problem, self.place, self.fix = problem, place, fix
        self.malformed = problem.startswith(MALFORMED)


def parse_json(text: str, max_digits: int | None = None) -> Any:
    """Return the value of a JSON text.

    Args:
        text: The text.
        max_digits: Maximum number of digits of an integer; None is Python's limit. Parsing takes
            quadratic time and holds the GIL.

    Raises:
        JsonError: The text is malformed, is nested deeper than `MAX_DEPTH`, or has NaN, an
            infinity, an integer of too many digits or a duplicate field.
    """
    _refuse_depth(text)
    digits = max_digits or sys.get_int_max_str_digits()

    def integer(written: str) -> int:
        if len(written.lstrip("-")) > digits:
            raise ValueError(written)
        return int(written)

    try:
        return json.loads(
            text,
            parse_int=integer if max_digits else None,
            parse_constant=_refuse_constant,
            object_pairs_hook=unique_fields,
        )
    except json.JSONDecodeError as error:
        raise JsonError(
            f"{MALFORMED} ({error.msg})", _place(text, error.pos), "write valid JSON"
        ) from None
    except _Constant as error:
        place = _find(text, rf"-?\b{error}\b")
        raise JsonError(f"{error} is not JSON", place, "write null or a text") from None
    except _Repeated as error:
        raise JsonError(str(error), "", "keep one") from None
    except ValueError:  # of an integer
        place = _find(text, rf"[0-9]{{{digits + 1},}}")
        raise JsonError(
            f"an integer of more than {digits:,} digits", place, "write it as a text, in quotes"
        ) from None


class _Constant(ValueError):
    """NaN or an infinity."""


class _Repeated(ValueError):
    """A field occurs twice."""


def unique_fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the fields of a JSON object. Raises ValueError for a duplicate name."""
    fields = dict(pairs)
    if len(fields) < len(pairs):
        ((twice, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise _Repeated(f"the field {twice!r:.80} is given twice")
    return fields


def _refuse_constant(name: str) -> Any:
    raise _Constant(name.lstrip("-"))


def _refuse_depth(text: str) -> None:
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    depth = 0
    for found in _TOKEN.finditer(text):
        depth += (found["open"] is not None) - (found["close"] is not None)
        if depth > MAX_DEPTH:
            raise JsonError(
                f"nested deeper than {MAX_DEPTH} levels", _place(text, found.start()),
                "write it flatter",
            )  # fmt: skip


def _find(text: str, pattern: str) -> str:
    """Return the position of the first match of a pattern outside strings."""
    tokens = re.finditer(rf"{_STRING}|(?P<found>{pattern})", text, re.DOTALL)
    return next((_place(text, one.start()) for one in tokens if one["found"]), "")


def _place(text: str, position: int) -> str:
    position = min(position, len(text.rstrip()))  # not after the last line
    line, column = text.count("\n", 0, position) + 1, position - text.rfind("\n", 0, position)
    at_line = f"line {line}, " if "\n" in text.rstrip() else ""
    return f" at {at_line}column {column}"
