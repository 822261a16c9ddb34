"""Pydantic's errors as sentences: the name, what is wrong, the value."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from genir.corpus.lines import shorten
from genir.errors import nearest


def complaint(item: Mapping[str, Any], place: Sequence[Any], known: Iterable[str]) -> str:
    """Return a sentence on one error.

    Args:
        item: One of the `errors()` of a ValidationError.
        place: The names that lead to the value, from the outside in.
        known: The fields that there are, for a hint on one that is unknown.
    """
    name = ".".join(str(part)[:100] for part in place) or "the body"
    if item["type"] == "value_error":
        message = str(item["ctx"]["error"])
        return f"{name}: {message}" if place else message
    if item["type"] == "extra_forbidden":
        return f"unknown field {name!r}{nearest(name, known)}"
    if item["type"] == "missing":
        return f"{name}: is missing; give one"
    return f"{name}: {item['msg']}; got {shorten(item['input'], 60)}"
