"""Numbered lines of text files, plain or gzip. Knows no records."""

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from genir.errors import InputError

Lines = Iterable[tuple[int, str]]
"""Lines without their ends, each with its number from 1."""


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a UTF-8 text file; a name that ends in `.gz` is unpacked on the way.

    Raises InputError for a file that is missing, unreadable, no gzip or not UTF-8.
    """
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as stream:
            yield from number_lines(stream, str(path))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; check the path") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(
            f"{path}: damaged or not gzip ({error}); fetch it again, or drop .gz from its name"
        ) from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path") from None


def number_lines(stream: Iterable[bytes], name: str) -> Iterator[tuple[int, str]]:
    """Yield a binary stream's lines; only a line feed ends one, since texts may hold others."""
    for number, line in enumerate(stream, start=1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise InputError(
                f"{name}:{number}: not UTF-8 (byte {error.object[error.start]:#04x} at "
                f"{error.start}); convert the file to UTF-8"
            ) from None
        yield number, text.rstrip("\r\n")


def json_records(lines: Lines, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the JSON object of each line that is not blank. Raises InputError for a bad line."""
    for number, text in lines:
        if text.strip():
            yield number, _object(text, f"{name}:{number}")


def _object(text: str, where: str) -> dict[str, Any]:
    try:
        record = json.loads(text, parse_constant=_refuse_constant)
        if "\\ud" in text or "\\uD" in text:  # an escape may name half of a character
            json.dumps(record, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise InputError(
            f"{where}: malformed JSON ({error.msg} at column {error.colno}): {shorten(text)}; "
            "write one JSON object a line"
        ) from None
    except UnicodeEncodeError:
        raise InputError(
            f"{where}: an unpaired surrogate such as \\ud800: {shorten(text)}; "
            "write the whole character"
        ) from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: {error}: {shorten(text)}; mend the line") from None
    if not isinstance(record, dict):
        raise InputError(f"{where}: not a JSON object: {shorten(text)}; write {{...}}")
    return record


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def shorten(value: object, width: int = 80) -> str:
    """Return a value as an error shows it: its repr, cut."""
    shown = repr(value)
    return shown if len(shown) <= width else shown[: width - 1] + "…"
