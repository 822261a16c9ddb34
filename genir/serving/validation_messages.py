"""Pydantic errors as sentences: field, error, value."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from genir.corpus.json_lines import shorten
from genir.errors import did_you_mean


def describe_error(item: Mapping[str, Any], place: Sequence[Any], known: Iterable[str]) -> str:
    """Return one error as a sentence.

    Args:
        item: An element of `ValidationError.errors()`.
        place: Path of field names to the value, outermost first.
        known: Known fields, for a hint on a misspelled one.
    """
    name = ".".join(str(part)[:100] for part in place) or "the body"
    if item["type"] == "value_error":
        message = str(item["ctx"]["error"])
        return f"{name}: {message}" if place else message
    if item["type"] == "extra_forbidden":
        return f"unknown field {name!r}{did_you_mean(name, known)}"
    if item["type"] == "missing":
        return f"{name}: is missing; give one"
    return f"{name}: {item['msg']}; got {shorten(item['input'], 60)}"
