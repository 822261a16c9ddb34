"""Parsing of TOML from users, with line numbers in errors."""

import re
import sys
import tomllib
from collections.abc import Callable
from typing import Any

MAX_NUMBER = sys.float_info.max
MAX_PARTS = 64
"""Maximum parts of a dotted key; the parser takes quadratic time in them."""
_PART = r"""(?:[A-Za-z0-9_-]++|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*"""
_LONG_KEY = re.compile(rf"(?:^|[\[{{,])[ \t]*(?:{_PART}){{{MAX_PARTS}}}", re.MULTILINE)
_LONG_INTEGER = re.compile(r"\b(?:0[xob][0-9a-fA-F_]{255,}|[0-9][0-9_]{308,})")


def parse_toml(text: str, parse_float: Callable[[str], Any] = float) -> dict[str, Any]:
    """Return the values of a TOML text.

    Args:
        parse_float: Converts a number with a point or an exponent.

    Raises:
        ValueError: The text is malformed or nested too deeply, or has a key of more than 64 parts
            or an integer beyond a double; the message has the line and advice.
    """
    key = _LONG_KEY.search(text)
    if key:
        line = text.count("\n", 0, key.end()) + 1
        raise ValueError(f"line {line}: a key of more than {MAX_PARTS} parts; write tables")
    try:
        values = tomllib.loads(text, parse_float=parse_float)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"not valid TOML ({error})") from None
    except RecursionError:
        raise ValueError("nested too deeply; write it flatter") from None
    except ValueError:  # of int()
        raise _long_integer(text) from None
    if _holds_long_integer(values):
        raise _long_integer(text)
    return values


def _holds_long_integer(value: Any) -> bool:
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return any(map(_holds_long_integer, inner))
    return isinstance(value, int) and abs(value) > MAX_NUMBER


def _long_integer(text: str) -> ValueError:
    found = _LONG_INTEGER.search(text)
    line = text.count("\n", 0, found.start()) + 1 if found else 1
    return ValueError(
        f"line {line}: an integer of more than 308 digits; write fewer, or a text in quotes"
    )
