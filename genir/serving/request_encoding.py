"""Encoding checks of requests: URLs and bodies must be UTF-8 and uncompressed."""

import json
import re
from urllib.parse import unquote_to_bytes

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from genir.serving.errors import problem

_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([^\";\s]*)", re.IGNORECASE)
UTF8 = ("utf-8", "utf8", "us-ascii", "ascii", "")
PLAIN = ("identity", "")
SAFE = ("GET", "HEAD", "OPTIONS")
"""HTTP methods whose body is ignored."""
MAX_HEADERS = 100
MAX_HEADER_BYTES = 32_768
"""Maximum total size of header names, header values, path and query string, in bytes."""
MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"PK\x03\x04": "zip"}
"""First bytes of compressed bodies that are sent without Content-Encoding."""
_STRAY_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")


class Utf8Addresses:
    """ASGI middleware that rejects non-UTF-8 paths and query strings, and too large headers."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an application."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 400 or 431."""
        refusal = None
        if scope["type"] == "http":
            refusal = _bad_header_block(scope) or _bad_address(scope)
        await (refusal or self.app)(scope, receive, send)


def _bad_header_block(scope: Scope) -> Response | None:
    """Return a 431 response for too many or too large headers, else None."""
    headers = scope["headers"]
    size = sum(len(name) + len(value) for name, value in headers)
    size += len(scope.get("raw_path") or b"") + len(scope.get("query_string", b""))
    if len(headers) <= MAX_HEADERS and size <= MAX_HEADER_BYTES:
        return None
    detail = (
        f"{len(headers)} headers of {size:,} bytes with the URL; send at most {MAX_HEADERS} of "
        f"{MAX_HEADER_BYTES:,} bytes"
    )
    return problem(431, detail)


def check_headers(headers: Headers) -> Response | None:
    """Return a 415 response for a body declared as compressed or as not UTF-8, else None."""
    coding = ", ".join(headers.getlist("content-encoding")).strip().lower()
    if coding not in PLAIN:
        detail = f"Content-Encoding {coding!r:.60} is not supported; send the body uncompressed"
        return problem(415, detail, {"Accept-Encoding": "identity"})
    for name in _CHARSET.findall(", ".join(headers.getlist("content-type"))):
        if name.lower() not in UTF8:
            return problem(415, f"charset {name!r:.60} is not supported; send JSON in UTF-8")
    return None


def check_body(body: bytes) -> Response | None:
    """Return a 400 response that names the detected encoding of a non-UTF-8 body, else None."""
    packed = next((name for magic, name in MAGIC.items() if body.startswith(magic)), "")
    if packed:
        return problem(400, f"the body is {packed}-compressed; send it uncompressed")
    encoding = json.detect_encoding(body)
    if not encoding.startswith("utf-8"):
        return problem(400, f"the body is {encoding.upper()}; send JSON in UTF-8")
    detail = _not_utf8(body)
    return problem(400, f"the body {detail}; send JSON in UTF-8") if detail else None


def _bad_address(scope: Scope) -> Response | None:
    """Return a 400 response for a URL that is not percent-encoded UTF-8, else None."""
    parts = {"path": scope.get("raw_path") or b"", "query string": scope.get("query_string", b"")}
    for name, raw in parts.items():
        stray = _STRAY_PERCENT.search(raw)
        if stray:
            detail = f"the {name} contains a stray % at byte {stray.start()}; write % as %25"
            return problem(400, detail)
        detail = _not_utf8(unquote_to_bytes(raw))
        if detail:
            fix = "percent-encode it as UTF-8, for example é as %C3%A9"
            return problem(400, f"the {name} {detail}; {fix}")
    return None


def _not_utf8(text: bytes) -> str:
    """Return the position of the first byte that is not UTF-8 as a phrase, or ""."""
    try:
        text.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = text[error.start]
        return f"is not UTF-8 (byte 0x{byte:02x} at {error.start}; perhaps Latin-1 or Windows-1252)"
    return ""
