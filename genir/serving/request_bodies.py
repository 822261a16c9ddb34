"""Request bodies: limited in size and number of values, and parsed outside of the event loop.

Python's JSON parser holds the interpreter lock: a body of 8 MiB of empty lists takes seconds and
gigabytes. Bodies are therefore checked for the number and depth of their values first, which takes
milliseconds.
"""

from asyncio import Semaphore
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from genir.json_parser import JsonError, parse_json
from genir.serving.batching import QueueFull
from genir.serving.request_encoding import check_body, check_headers
from genir.serving.schemas import MAX_VALUES as MAX_FILTER_VALUES
from genir.serving.settings import Settings

MAX_VALUES = 100_000
"""Maximum number of values in a body with documents; they take at most 20 MB and 0.1 s to parse."""
INLINE_BYTES = 16_384
"""Bytes up to which a body is parsed on the event loop and not counted in `MAX_LARGE_BODIES`."""
MAX_DIGITS = 400
"""Maximum number of digits of an integer in a body."""
MAX_LARGE_BODIES = 8
"""Maximum total size of all larger bodies in memory, as a multiple of `--max-body`."""

_STRUCTURE = frozenset(b'",[]{}')
_TEXT = bytes(byte for byte in range(256) if byte not in _STRUCTURE)
"""Bytes that are not structural characters of JSON."""


class BodyRefused(Exception):
    """A request is rejected with a response."""

    def __init__(self, response: Response) -> None:
        self.response = response


class JsonRequest(Request):
    """A request whose body has been read and is parsed within limits."""

    def __init__(self, request: Request, body: bytes, values: int, parsing: Semaphore) -> None:
        super().__init__(request.scope, request.receive)
        self._body, self._values, self._parsing = body, values, parsing

    async def json(self) -> Any:
        """Return the parsed body. Raises HTTPException like `parse`."""
        if len(self._body) <= INLINE_BYTES:
            return parse(self._body, self._values)
        async with self._parsing:
            return await run_in_threadpool(parse, self._body, self._values)


class BodyReader:
    """Reads bodies, with a limit on the size of each and of all in memory."""

    def __init__(self, settings: Settings) -> None:
        self._large = settings.max_body
        self._small = min(settings.max_search_body, settings.max_body)
        # The values of all fields of a search together, with a margin for the fields themselves.
        self._values = 2 * settings.max_keys + settings.max_queries + 3 * MAX_FILTER_VALUES
        self._held, self._most = 0, MAX_LARGE_BODIES * settings.max_body
        self._parsing = Semaphore(1)

    @asynccontextmanager
    async def read(self, request: Request, large: bool) -> AsyncIterator[JsonRequest]:
        """Read the body of a request and count it as in memory until the block ends.

        Args:
            request: The request.
            large: Whether `--max-body` is the limit instead of `--max-search-body`.

        Raises:
            BodyRefused: The body is not UTF-8 or is compressed.
            HTTPException: 413 if it is too large, 400 if the client disconnected.
            QueueFull: Too many bodies are in memory.
        """
        counted = 0
        try:
            parts = bytearray()
            async for part in _parts(request, self._large if large else self._small):
                parts += part
                if len(parts) > INLINE_BYTES:
                    self._held += len(parts) - counted
                    counted = len(parts)
                    if self._held > self._most:
                        raise QueueFull
            body = bytes(parts)
            del parts
            _refuse(check_body(body))
            values = MAX_VALUES if large else self._values
            yield JsonRequest(request, body, values, self._parsing)
        finally:
            self._held -= counted


async def _parts(request: Request, limit: int) -> AsyncIterator[bytes]:
    """Yield the chunks of a body; raise as soon as it is known to be too long."""
    declared, size = request.headers.get("content-length", ""), 0
    too_long = HTTPException(413, f"the body exceeds {limit:,} bytes; send fewer or shorter texts")
    if declared.isdecimal() and int(declared[:20]) > limit:
        raise too_long
    _refuse(check_headers(request.headers))
    try:
        async for part in request.stream():
            size += len(part)
            if size > limit:
                raise too_long
            yield part
    except ClientDisconnect:
        raise HTTPException(400, "the client disconnected before the body was complete") from None


def _refuse(response: Response | None) -> None:
    if response is not None:
        raise BodyRefused(response)


def parse(body: bytes, values: int = MAX_VALUES) -> Any:
    """Parse a JSON text of at most `values` values.

    Raises:
        HTTPException: 413 for too many values, 422 for a repeated field, 400 for any other error of
            `parse_json`.
    """
    check_structure(body, values)
    try:
        return parse_json(body.decode("utf-8-sig"), MAX_DIGITS)
    except JsonError as error:
        # A repeated field has no position: it is valid JSON, but ambiguous.
        detail = f"the body is not valid JSON: {error}" if error.place else f"the body: {error}"
        raise HTTPException(400 if error.place else 422, detail) from None


def check_structure(body: bytes, values: int = MAX_VALUES) -> None:
    """Raise HTTPException 413 for a JSON text with too many values.

    The count of invalid JSON may be wrong, but only after its first error, where parsing stops.
    Each step is one pass in C that allocates nothing per value.
    """
    # Remove escaped quotes, which do not end a string; pairs of backslashes first, from the left.
    bare = body.replace(rb"\\", b"").replace(rb"\"", b"").translate(None, _TEXT)
    if bare.count(b'"') > 4 * values + 2:
        raise _too_many(values)
    outside = b"".join(bare.split(b'"')[::2])
    if outside.count(b",") + outside.count(b"[") + outside.count(b"{") > values:
        raise _too_many(values)


def _too_many(values: int) -> HTTPException:
    return HTTPException(
        413, f"the body has more than {values:,} values; send fewer in one request"
    )
