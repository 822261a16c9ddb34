"""Decoding and decompression of text files from users.

Accepted: UTF-8 with or without a byte order mark, UTF-16 and UTF-32 with one, each plain or gzip.
gzip is detected by its first bytes, not by the name. Anything else is an InputError with the file,
the line and a command that converts it.
"""

import codecs
import gzip
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import IO, cast

from genir.console import command
from genir.errors import InputError

Lines = Iterable[tuple[int, str]]
"""Lines without line ends, each with its number, from 1."""

GZIP = b"\x1f\x8b"
BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
BINARY_FORMATS = (
    (GZIP, "gzip"),
    (b"PK\x03\x04", "a zip archive"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"PAR1", "Parquet"),
    (b"%PDF-", "PDF"),
    (b"SQLite format 3\x00", "an SQLite database"),
)
MAX_LINE_BYTES = 64 * 2**20
"""Maximum length of a line, which is held in memory several times. All sizes are unpacked."""
MAX_FILE_BYTES = 2**40
MAX_PACKED_RATIO = 200
"""Maximum ratio of unpacked to packed bytes of gzip; texts reach 3 to 30, zeros 1,000."""
FREE_BYTES = 64 * 2**20
"""Unpacked bytes up to which the ratio is not checked."""
WIDE_ENCODINGS = {"UTF-32LE": 4, "UTF-32BE": 4, "UTF-16LE": 2, "UTF-16BE": 2}
"""Bytes of a unit of each encoding whose Latin letters hold NUL bytes."""
MIN_LATIN_SHARE = 0.7
"""Share of Latin characters from which on a line is taken to be of a wide encoding."""


def read_text(path: Path, most: int = MAX_LINE_BYTES) -> str:
    """Return a text file's content with line feeds as line ends.

    Args:
        path: The file.
        most: Maximum number of characters.

    Raises:
        InputError: the file is longer, or as `read_lines`.
    """
    lines, size = list[str](), 0
    for _, line in read_lines(path):
        size += len(line) + 1
        if size > most + 1:  # a line feed was added to the last line
            raise InputError(
                f"{path}: more than {most:,} characters, unpacked; split it, or remove it"
            )
        lines.append(line)
    return "".join(f"{line}\n" for line in lines).replace("\r", "\n")


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a text file with their numbers. Only a line feed ends a line.

    Raises:
        InputError: the file is missing, unreadable, damaged, in an unknown encoding, or exceeds
            `MAX_LINE_BYTES`, `MAX_FILE_BYTES` or `MAX_PACKED_RATIO`.
    """
    with _opened(path) as chunks:
        yield from _numbered(chunks, str(path))


def number_lines(stream: IO[bytes], name: str) -> Iterator[tuple[int, str]]:
    """Yield the lines of an open binary file with their numbers.

    Args:
        stream: Binary file, e.g. a member of an archive.
        name: Name of the file, for messages.

    Raises:
        InputError: the encoding is unknown, or a line is too long.
    """
    return _numbered(_chunks(stream), name)


def _chunks(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield pieces that end in a line feed byte, or at the maximum length of a line."""
    return iter(partial(stream.readline, MAX_LINE_BYTES + 1), b"")


def _numbered(chunks: Iterator[bytes], name: str) -> Iterator[tuple[int, str]]:
    first = next(chunks, b"")
    for magic, kind in BINARY_FORMATS:
        if first.startswith(magic):
            raise InputError(f"{name}: is {kind}, not a text file; unpack or convert it first")
    mark, encoding = next(
        (pair for pair in BYTE_ORDER_MARKS if first.startswith(pair[0])), (b"", "utf-8")
    )
    head = first.removeprefix(mark)
    stream = chain([head] if head else [], chunks)
    return _utf8_lines(stream, name) if encoding == "utf-8" else _wide(stream, encoding, name)


@contextmanager
def _opened(path: Path) -> Iterator[Iterator[bytes]]:
    """Open a file, through gzip if detected; convert errors to InputError."""
    try:
        if path.exists() and not path.is_file():  # opening a pipe would block
            raise InputError(f"{path}: not a regular file; write its content to a file first")
        with path.open("rb") as stream:
            if stream.peek(2)[:2] != GZIP:
                yield _bounded(_chunks(stream), path)
                return
            with gzip.open(stream, "rb") as unpacked:
                chunks = _chunks(cast(IO[bytes], unpacked))
                yield _bounded(chunks, path, path.stat().st_size)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; check the path") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{path}: damaged gzip ({error}); fetch or compress it again") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", error)
        raise InputError(f"{path}: cannot be read ({reason}); check the path") from None


def _bounded(chunks: Iterator[bytes], path: Path, packed: int | None = None) -> Iterator[bytes]:
    """Yield chunks until a size or ratio limit is exceeded. packed: bytes of a gzip file."""
    most = MAX_FILE_BYTES
    if packed is not None:
        most = min(most, max(FREE_BYTES, MAX_PACKED_RATIO * packed))
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > most:
            raise InputError(
                f"{path}: more than {most:,} bytes{'' if packed is None else ' unpacked'}; give a "
                f"smaller file{'' if packed is None else ', or unpack it yourself if you trust it'}"
            )
        yield chunk


def _too_long(name: str, number: int) -> InputError:
    return InputError(
        f"{name}:{number}: a line of more than {MAX_LINE_BYTES:,} bytes; write one record per "
        "line, and split longer ones"
    )


def _utf8_lines(lines: Iterable[bytes], name: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(lines, start=1):
        if len(line) > MAX_LINE_BYTES:
            raise _too_long(name, number)
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise InputError(
                f"{name}:{number}: not UTF-8 (byte {error.object[error.start]:#04x} at "
                f"{error.start}); {_conversion(name)}"
            ) from None
        if "\0" in text:
            raise InputError(
                f"{name}:{number}: holds a NUL byte, so {_wide_conversion(line, name, number)}"
            )
        yield number, text.rstrip("\r\n")


def _wide_conversion(line: bytes, name: str, number: int) -> str:
    """Return how to convert a file with this line, which holds a NUL byte.

    A command is given only where the line is mostly Latin letters in its encoding: in a wrong one,
    iconv makes other text without an error. Only the first line begins with a whole character.
    """
    for encoding, width in WIDE_ENCODINGS.items() if number == 1 else ():
        try:
            text = line[: len(line) // width * width].decode(encoding).strip().replace("\t", " ")
        except UnicodeDecodeError:
            continue
        latin = sum(character < "\u0100" for character in text)
        if len(text) > 1 and text.isprintable() and latin >= MIN_LATIN_SHARE * len(text):
            return (
                f"it is {encoding} without a byte order mark; convert it: {_iconv(encoding, name)}"
            )
    return (
        "it is a binary file, or of an encoding such as UTF-16LE, or UTF-8 with stray NUL bytes; "
        f"remove those, or convert it from its encoding: {_iconv('ENCODING', name)}"
    )


def _conversion(name: str) -> str:
    """Return advice for converting a file that is not UTF-8.

    No encoding is guessed: text in one of Central Europe decodes as Windows-1252 without an error,
    into other letters.
    """
    return (
        f"convert it from its encoding: {_iconv('ENCODING', name)} (for Western Europe often "
        "WINDOWS-1252; a wrong one gives other letters without an error; uchardet guesses it)"
    )


def _iconv(encoding: str, name: str) -> str:
    return command("iconv", "-f", encoding, "-t", "UTF-8", Path(name)) + " > NEW"


def _wide(chunks: Iterable[bytes], encoding: str, name: str) -> Iterator[tuple[int, str]]:
    """Yield the lines of UTF-16 or UTF-32, where a line feed byte may be part of a character."""
    decoder = codecs.getincrementaldecoder(encoding)()
    number, parts, size = 1, list[str](), 0
    try:
        for chunk in chain(chunks, [None]):
            head, *tail = decoder.decode(chunk or b"", final=chunk is None).split("\n")
            parts.append(head)
            size += len(chunk or b"")
            if size > MAX_LINE_BYTES:
                raise _too_long(name, number)
            for piece in tail:
                yield number, "".join(parts).rstrip("\r")
                number, parts, size = number + 1, [piece], 0
    except UnicodeDecodeError as error:
        number += error.object[: error.start].decode(encoding).count("\n")
        raise InputError(
            f"{name}:{number}: not {encoding.upper()}, which its byte order mark announces "
            f"({error.reason}); convert it to UTF-8"
        ) from None
    if any(parts):
        yield number, "".join(parts).rstrip("\r")
