"""Changes to nested values, one `key=value` each: what `--set` takes. Knows no recipe."""

import tomllib
from collections.abc import Sequence
from typing import Any

from genir.errors import InputError


def apply_settings(values: dict[str, Any], settings: Sequence[str]) -> None:
    """Set each `a.b=c` in nested values. Raises InputError for one that cannot be set."""
    for setting in settings:
        _apply(values, setting)


def _apply(values: dict[str, Any], setting: str) -> None:
    """Set `a.b=c` in the nested values; a list is indexed by number (`tasks.0.weight=2`)."""
    path, equals, raw = setting.partition("=")
    if not equals or not path.strip():
        raise InputError(f"--set {setting!r}: write it as key=value, such as training.epochs=1")
    node: Any = values
    *parents, last = path.strip().split(".")
    for part in parents:
        node = _child(node, part, setting)
    node[_place(node, last, setting)] = _parse(raw)


def _place(node: Any, part: str, setting: str) -> Any:
    if not isinstance(node, list):
        return part
    if not part.isdecimal() or int(part) >= len(node):
        raise InputError(f"--set {setting!r}: {part!r} is not an index below {len(node)}")
    return int(part)


def _child(node: Any, part: str, setting: str) -> Any:
    place = _place(node, part, setting)
    child = node[place] if isinstance(node, list) else node.setdefault(place, {})
    if not isinstance(child, dict | list):
        raise InputError(f"--set {setting!r}: {part!r} holds a value, not a section")
    return child


def _parse(raw: str) -> Any:
    """Read the right-hand side as a TOML value; anything that is not one is a string."""
    try:
        return tomllib.loads(f"value = {raw}")["value"]
    except tomllib.TOMLDecodeError:
        return raw
