"""TOML, parsed within bounds, and a recipe's values as lines of it.

Knows which keys of a recipe hold several sections, and no more of it.
"""

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from typing import Any

from genir.console import UNSAFE

BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
"""What TOML reads as a key without quotes."""
LISTS = ("tasks", "losses")
"""The keys of a recipe that hold several sections."""

NESTED_KEY = re.compile(r"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){100}""")
"""A dotted key of 100 parts: the parser's time grows with the square of their number."""


def parse_toml(text: str, parse_float: Callable[[str], Any] = float) -> dict[str, Any]:
    """Return the values of a TOML document. Takes time linear in the length of the text.

    Raises:
        tomllib.TOMLDecodeError: the text is no TOML, or has a dotted key of 100 parts.
        RecursionError: arrays or tables are nested too deeply.
        ValueError: an integer of too many digits.
    """
    if NESTED_KEY.search(text):
        raise tomllib.TOMLDecodeError("a dotted key of 100 parts; write it flatter")
    return tomllib.loads(text, parse_float=parse_float)


def lines_of(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Write a recipe, or the stage that `prefix` names: its values, its sections, its lists."""
    lines = [f"{key} = {_value(v)}" for key, v in values.items() if not _is_section(key, v)]
    for key in (key for key, value in values.items() if isinstance(value, dict)):
        section = values[key]
        inner = lines_of(section, f"{prefix}{key}.") if key == "first" else _pairs(section)
        lines += ["", *([] if key == "first" else [f"[{prefix}{key}]"]), *inner]
    for key in LISTS:
        for section in values[key]:
            lines += ["", f"[[{prefix}{key}]]", *_pairs(section)]
    return lines


def _is_section(key: str, value: Any) -> bool:
    return isinstance(value, dict) or key in LISTS


def _pairs(section: Mapping[str, Any]) -> list[str]:
    return [f"{_key(key)} = {_value(value)}" for key, value in section.items()]


def _key(key: str) -> str:
    return key if BARE_KEY.fullmatch(key) else _string(key)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items()) + "}"
    return repr(value)


def _string(text: str) -> str:
    return UNSAFE.sub(lambda found: _escape(ord(found[0])), json.dumps(text, ensure_ascii=False))


def _escape(code: int) -> str:
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
