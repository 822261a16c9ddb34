"""Validation and conversion of public API arguments: texts, keys, counts and filters.

A string is one text or one key, never a list of characters.
"""

import os
from collections.abc import Iterable, Mapping, Set
from contextlib import suppress
from operator import index
from pathlib import Path
from typing import Any

from genir.console import BLANK
from genir.errors import InputError
from genir.plurals import counted
from genir.vector_query import VectorQuery

MAX_CONDITION_DEPTH = 64


def as_texts(value: Any, name: str = "queries") -> list[str]:
    """Return an ordered collection of texts as a list; a string is a list of one.

    Args:
        value: A string, or an ordered iterable of strings: a list, tuple, generator, array or
            column.
        name: Name of the argument, for messages.

    Raises:
        InputError: The value is bytes, a mapping, a set or None, or an element is not a string.
    """
    if isinstance(value, Set):
        raise InputError(f"{name}: got a {_kind(value)}, which is unordered; give a list of texts")
    return _texts(value, name)


def as_keys(value: Any, name: str = "keys") -> list[str]:
    """Return a collection of keys as a list, sets included; a string is one key.

    Args:
        value: A string, or an iterable of strings.
        name: Name of the argument, for messages.

    Raises:
        InputError: The value is bytes, a mapping or None, or an element is not a string.
    """
    return _texts(value, name)


def as_text(value: Any, name: str) -> str:
    """Return one text as a plain string, or as a query with a vector.

    Raises:
        InputError: The value is not a string, or has an unpaired surrogate.
    """
    if isinstance(value, bytes | bytearray):
        raise InputError(f"{name}: got bytes, {bytes(value)!r:.60}; decode them to a str first")
    if not isinstance(value, str):
        raise InputError(f"{name}: got {value!r:.60} ({_kind(value)}); give a str")
    if not is_unicode(value):
        raise InputError(
            f"{name}: {value!a:.60} holds an unpaired surrogate, which is not a character; "
            "read the text as UTF-8"
        )
    return value if isinstance(value, VectorQuery) else str(value)


def as_path(value: Any, name: str) -> Path:
    """Return a path, existing or new, that the system can look up.

    The working folder and folders above it are returned as absolute paths: a verb may replace them.

    Raises:
        InputError: The value is neither a string nor a path, is empty, or cannot be looked up: no
            permission, a name that is too long, a NUL.
    """
    if not isinstance(value, str | os.PathLike):
        raise InputError(f"{name}: got {value!r:.60} ({_kind(value)}); give a path")
    if not os.fspath(value):
        raise InputError(f"{name}: the path is empty; give a path")
    path = Path(value)
    try:
        with suppress(FileNotFoundError, NotADirectoryError):
            os.scandir(path).close()  # a folder needs the permissions to read and to search it
            os.stat(path / "_")
        if path.is_absolute():
            return path
        place, here = path.resolve(), Path.cwd()
        return place if place == here or place in here.parents else path
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: a loop of links
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"{name} {str(path)!r:.200}: cannot be reached ({reason}); check the path and its "
            "permissions"
        ) from None


def as_count(value: Any, name: str, minimum: int = 1) -> int:
    """Return an integer of at least `minimum` as an int; NumPy integers are accepted.

    Raises:
        InputError: A boolean, a fraction, a text, or a number below `minimum`.
    """
    try:
        number = index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise InputError(f"{name} = {value!r:.60}: give a whole number")
    if number < minimum:
        raise InputError(f"{name} = {number}: give at least {minimum}")
    return number


def as_counts(values: Any, name: str, length: int) -> list[int]:
    """Return one integer per query; a single number applies to all `length` queries.

    Raises:
        InputError: The list has another length, or `as_count` refuses a number.
    """
    if isinstance(values, str | Mapping) or not is_listable(values):
        return [as_count(values, name)] * length
    counts = [as_count(one, f"{name}[{place}]") for place, one in enumerate(values)]
    if len(counts) != length:
        raise InputError(
            f"{name}: got {counted(len(counts), 'number')} for "
            f"{counted(length, 'query', 'queries')}; give one each"
        )
    return counts


def is_unicode(text: str) -> bool:
    """Return whether a string has no unpaired surrogate, so UTF-8 can encode it."""
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)


def is_blank(text: str) -> bool:
    """Return whether a text has only white space, invisible characters and controls."""
    return BLANK.fullmatch(text) is not None


def is_listable(value: Any) -> bool:
    """Return whether a value can be iterated; a 0-dimensional array cannot."""
    return isinstance(value, Iterable) and getattr(value, "ndim", 1) > 0


def _texts(given: Any, name: str) -> list[str]:
    if isinstance(given, str | bytes | bytearray):
        return [as_text(given, name)]
    if isinstance(given, Mapping):
        raise InputError(f"{name}: got a {_kind(given)}; give a list of its keys or its values")
    if not is_listable(given):
        raise InputError(f"{name}: got {given!r:.60} ({_kind(given)}); give a str or a list of str")
    if getattr(given, "ndim", 1) != 1:  # iterating a DataFrame yields its column names
        raise InputError(
            f"{name}: got a {_kind(given)} of {given.ndim} dimensions; give one column"
        )
    return [as_text(part, f"{name}[{place}]") for place, part in enumerate(given)]


def _kind(value: Any) -> str:
    return type(value).__name__


def as_condition(given: Any, field: str, depth: int = MAX_CONDITION_DEPTH) -> Any:
    """Return a filter condition as dicts, lists and plain values; NumPy scalars are converted.

    Raises:
        InputError: A value is not text, number, boolean or None, an operator is not text, or
            conditions are nested deeper than `depth`.
    """
    if not depth:
        raise InputError(
            f"filter {field!r}: conditions nested deeper than {MAX_CONDITION_DEPTH}; "
            "write it flatter"
        )
    if isinstance(given, Mapping):
        wrong = next((name for name in given if not isinstance(name, str)), "")
        if wrong != "":
            raise InputError(f"filter {field!r}: unknown operator {wrong!r:.60}; give a text")
        return {name: as_condition(one, field, depth - 1) for name, one in given.items()}
    if isinstance(given, list | tuple):
        return [as_condition(one, field, depth - 1) for one in given]
    value = given.item() if getattr(given, "ndim", None) == 0 else given
    if value is None or isinstance(value, str | int | float):
        return value
    listed = is_listable(value) and not isinstance(value, bytes)
    fix = "a list" if listed else "text, a number, true or false"
    raise InputError(f"filter {field!r}: {value!r:.80} cannot be compared; give {fix}")
