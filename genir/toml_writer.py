"""Serialization of a recipe as TOML."""

import json
import re
from collections.abc import Mapping
from typing import Any

from genir.console import UNSAFE

BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
"""Keys that TOML allows without quotes."""
LISTS = ("tasks", "losses")
"""Keys of a recipe that are arrays of sections."""


def lines_of(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return the TOML lines of a recipe or stage: values, sections, arrays of sections."""
    lines = [f"{key} = {_value(v)}" for key, v in values.items() if not _is_section(key, v)]
    for key in (key for key, value in values.items() if isinstance(value, dict)):
        section = values[key]
        inner = lines_of(section, f"{prefix}{key}.") if key == "passage_stage" else _pairs(section)
        lines += ["", *([] if key == "passage_stage" else [f"[{prefix}{key}]"]), *inner]
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
