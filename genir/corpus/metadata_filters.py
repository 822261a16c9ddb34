"""Metadata filters, translated to SQL tests of single values.

A condition on a field is a value (equality), a list (any of its values), or a mapping of operators
that are joined by AND: `gt`, `gte`, `lt`, `lte` (numbers with numbers, strings with strings),
`prefix` (strings) and `not` (any condition). Booleans equal only booleans: `true` is not 1. A list
in the metadata passes if one of its elements does. A document without the field passes only `not`.
"""

import json
import re
from collections.abc import Callable, Collection, Mapping
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genir.corpus.json_lines import shorten
from genir.corpus.metadata_values import MAX_NUMBER
from genir.errors import InputError, did_you_mean

COLUMNS = ("title", "url")
"""Filterable fields of every document besides its metadata."""

RANGES = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
"""SQL operators of range conditions."""
OPERATORS = (*RANGES, "not", "prefix")
NAMES = {"boolean": "true or false", "number": "a number", "text": "a text"}
"""Descriptions of value types in messages."""
NUMBER = re.compile(r"[+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][+-]?[0-9]+)?")
"""A number in a command-line filter."""
BOOLEANS = (b"\x00", b"\x01")
"""Index values of false and true."""
JSON_PREFIX = b"{"
"""Index value of anything that cannot be filtered, for example an object. Sorts last."""
MAX_CHARACTER = "\U0010ffff"
"""The last code point; a text may hold it like any other."""
MAX_SQL_PARAMETERS = 10_000
"""Maximum number of parameters of one SQL statement; SQLite allows 32,766."""

MatchingRows = NDArray[np.bool_]
FieldRows = Callable[[str, str, list[Any]], MatchingRows]
"""(field, SQL test of `value`, parameters) -> documents with a value that passes, bool [documents].
"""


def matching_rows(field: str, condition: Any, having: FieldRows) -> MatchingRows:
    """Return the mask of documents that fulfil a condition on a field, bool [documents].

    Raises:
        InputError: Unknown operator (the message suggests the nearest) or incomparable value.
    """
    if not isinstance(condition, Mapping):
        return _any_of(field, condition, having)
    if not condition:
        raise InputError(
            f"filter {field!r}: {{}} is an empty condition; give a value or an operator"
        )
    tests = [_test(field, name, value) for name, value in condition.items() if name != "not"]
    parts = []
    if tests:  # one test, so that a single value of a list must lie in the range
        sql = " AND ".join(test for test, _ in tests)
        parts.append(having(field, sql, [value for _, values in tests for value in values]))
    if "not" in condition:
        parts.append(~matching_rows(field, condition["not"], having))
    return np.logical_and.reduce(parts)


def read_value(field: str, text: str, types: Collection[str]) -> list[Any]:
    """Parse a command-line text into the values that it may mean for a field of these types.

    In a field of numbers, `007` is 7; if the field also has strings, it is the string, and `7` is
    both.

    Raises:
        InputError: The text has none of the types.
    """
    values: list[Any] = []
    if "boolean" in types and text.lower() in ("true", "false"):
        values.append(text.lower() == "true")
    number = _number(text) if "number" in types else None
    if number is not None and ("text" not in types or str(number) == text):
        values.append(number)
    if "text" in types or not types:
        values.append(text)
    if not values:
        names = " or ".join(NAMES[name] for name in sorted(types))
        raise InputError(
            f"filter {field!r}: {shorten(text)} is not {names}, the type of this field in the "
            "corpus; give a value of that type"
        )
    return values


def read_texts(field: str, condition: Any, types: Collection[str]) -> Any:
    """Parse the strings of a condition for a field without string values."""
    if "text" in types or not types:
        return condition
    if isinstance(condition, str):
        return read_value(field, condition, types)[0]
    if isinstance(condition, list | tuple):
        return [read_texts(field, value, types) for value in condition]
    if isinstance(condition, Mapping):
        return {
            name: value if name == "prefix" else read_texts(field, value, types)
            for name, value in condition.items()
        }
    return condition


def _number(text: str) -> int | float | None:
    if not NUMBER.fullmatch(text) or not isfinite(number := float(text)):
        return None
    return int(text) if text.lstrip("+-").isdecimal() else number


def index_values(value: Any) -> list[str | int | float | bytes]:
    """Return the index values of a field: its value, or the elements of its list.

    A value that cannot be filtered, for example an object or an empty list, is indexed as
    `JSON_PREFIX`.
    """
    elements = value if isinstance(value, list | tuple) else [value]
    found = [
        _bound(one)
        for one in elements
        if isinstance(one, str | int | float) and not _is_beyond_double(one)
    ]
    return found or ([] if value is None else [JSON_PREFIX])


def _any_of(field: str, condition: Any, having: FieldRows) -> MatchingRows:
    values = condition if isinstance(condition, list | tuple) else [condition]
    for value in values:
        _refuse_incomparable(field, value)
    parts = []
    for start in range(0, max(1, len(values)), MAX_SQL_PARAMETERS):
        some = [_bound(value) for value in values[start : start + MAX_SQL_PARAMETERS]]
        parts.append(having(field, f"value IN ({', '.join('?' * len(some))})", some))
    return np.logical_or.reduce(parts)


def _test(field: str, name: Any, value: Any) -> tuple[str, list[Any]]:
    if name not in OPERATORS:
        raise InputError(
            f"filter {field!r}: unknown operator {name!r}{did_you_mean(str(name), OPERATORS)}"
        )
    _refuse_incomparable(field, value)
    text = isinstance(value, str)
    if isinstance(value, bool) and name != "prefix":
        raise InputError(
            f"filter {field!r}: true and false have no order, so {name} cannot compare them; "
            f"filter by the value itself: {{{json.dumps(field)}: {json.dumps(value)}}}"
        )
    if name == "prefix":
        if not text:
            raise InputError(f"filter {field!r}: prefix {shorten(value)} is not a text; quote it")
        end = _end_of_prefix(value)
        below, values = ("", [value]) if end is None else (" AND value < ?", [value, end])
        return f"typeof(value) = 'text' AND value >= ?{below}", values
    kinds = "'text'" if text else "'integer', 'real'"
    return f"typeof(value) IN ({kinds}) AND value {RANGES[name]} ?", [_bound(value)]


def _end_of_prefix(prefix: str) -> str | None:
    """Return the first text behind all that begin with `prefix`, None where there is none.

    SQLite orders texts by code point, as their bytes in UTF-8; surrogates are none of these.
    """
    stem = prefix.rstrip(MAX_CHARACTER)
    if not stem:
        return None
    after = ord(stem[-1]) + 1
    return stem[:-1] + chr(0xE000 if after == 0xD800 else after)


def _bound(value: Any) -> Any:
    if isinstance(value, bool):
        return BOOLEANS[value]
    return float(value) if isinstance(value, int) and abs(value) >= 2**63 else value


def _refuse_incomparable(field: str, value: Any) -> None:
    odd = not isinstance(value, str | int | float)
    if odd or (isinstance(value, float) and not isfinite(value)) or _is_beyond_double(value):
        raise InputError(
            f"filter {field!r}: {shorten(value)} cannot be compared; give text, a number, "
            "true or false"
        )
    if isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
        raise InputError(f"filter {field!r}: {value!a} holds half a character; give a whole text")


def _is_beyond_double(value: Any) -> bool:
    return isinstance(value, int) and abs(value) > MAX_NUMBER
