"""Requests in UTF-8: refuse what is encoded otherwise, with the encoding's name and the fix."""

import json
import re
from urllib.parse import unquote_to_bytes

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from genir.serving.problems import problem

_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([^\";\s]*)", re.IGNORECASE)
UTF8 = ("utf-8", "utf8", "us-ascii", "ascii", "")
PLAIN = ("identity", "")
SAFE = ("GET", "HEAD", "OPTIONS")
"""Methods without a body that counts."""
MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"PK\x03\x04": "zip"}
"""How compressed bodies begin that are sent without Content-Encoding."""
_STRAY_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")


class Utf8Requests:
    """Refuse paths, query strings and bodies that are not UTF-8, and bodies that are too long.

    Bodies are read whole before the application is called, and never decompressed: a small
    compressed body can hold an unbounded text. The body of a safe method is not read.
    """

    def __init__(self, app: ASGIApp, most: int) -> None:
        """Surround an application. most: bytes that a body may have."""
        self.app = app
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it with 400, 413 or 415."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refusal = _bad_address(scope)
        if not refusal and scope["method"] not in SAFE:
            body = await _read(receive, self._most)
            refusal = self._bad_body(Headers(scope=scope), body)
            receive = _replaying(body or b"", receive)
        if refusal:
            await refusal(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _bad_body(self, headers: Headers, body: bytes | None) -> Response | None:
        if body is None:
            return problem(400, "the client left before the body was whole")
        if len(body) > self._most:
            detail = f"the body exceeds {self._most:,} bytes; send fewer or shorter texts"
            return problem(413, detail)
        return check_headers(headers) or check_body(body)


async def _read(receive: Receive, most: int) -> bytes | None:
    """Return the body, or as much of it as shows that it is too long; None if the client left."""
    body, more = bytearray(), True
    while more and len(body) <= most:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return bytes(body)


def _replaying(body: bytes, receive: Receive) -> Receive:
    """Return a channel that gives a body that was read already, then what comes after it."""
    messages: list[Message] = [{"type": "http.request", "body": body}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay


def check_headers(headers: Headers) -> Response | None:
    """Return a 415 for a body that is declared as compressed or not as UTF-8."""
    coding = ", ".join(headers.getlist("content-encoding")).strip().lower()
    if coding not in PLAIN:
        detail = f"Content-Encoding {coding!r:.60} is not supported; send the body uncompressed"
        return problem(415, detail, {"Accept-Encoding": "identity"})
    for name in _CHARSET.findall(", ".join(headers.getlist("content-type"))):
        if name.lower() not in UTF8:
            return problem(415, f"charset {name!r:.60} is not supported; send JSON in UTF-8")
    return None


def check_body(body: bytes) -> Response | None:
    """Return a 400 for a body that is not UTF-8, saying what it seems to be."""
    packed = next((name for magic, name in MAGIC.items() if body.startswith(magic)), "")
    if packed:
        return problem(400, f"the body is {packed}-compressed; send it uncompressed")
    encoding = json.detect_encoding(body)
    if not encoding.startswith("utf-8"):
        return problem(400, f"the body is {encoding.upper()}; send JSON in UTF-8")
    detail = _not_utf8(body)
    return problem(400, f"the body {detail}; send JSON in UTF-8") if detail else None


def _bad_address(scope: Scope) -> Response | None:
    """Return a 400 for a path or query string that is not percent-encoded UTF-8."""
    parts = {"path": scope.get("raw_path") or b"", "query string": scope.get("query_string", b"")}
    for name, raw in parts.items():
        stray = _STRAY_PERCENT.search(raw)
        if stray:
            detail = f"the {name} holds a stray % at byte {stray.start()}; write % as %25"
            return problem(400, detail)
        detail = _not_utf8(unquote_to_bytes(raw))
        if detail:
            fix = "percent-encode it as UTF-8, such as é as %C3%A9"
            return problem(400, f"the {name} {detail}; {fix}")
    return None


def _not_utf8(text: bytes) -> str:
    """Return where a text stops being UTF-8, or ""."""
    try:
        text.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = text[error.start]
        return f"is not UTF-8 (byte 0x{byte:02x} at {error.start}; perhaps Latin-1 or Windows-1252)"
    return ""
