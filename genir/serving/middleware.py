"""Middleware for every request: security headers, and checks of Host and Origin."""

from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from genir.serving.errors import problem
from genir.serving.origins import ANY, host_and_port
from genir.serving.request_encoding import SAFE
from genir.serving.trusted_proxies import is_foreign

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
"""Headers of every response, unless its route sets them: the page may load its own files only."""
SINGLE_VALUE_HEADERS = ("host", "origin", "sec-fetch-site", "content-type", "authorization")
"""Headers that must not be repeated: they decide authorization and the reading of the body."""
LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "::1")


class SecurityHeaders:
    """ASGI middleware that adds `SECURITY_HEADERS` to every response."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and add the headers to its response."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, send_with_headers)


class TrustedHost:
    """ASGI middleware that rejects other host names (421) and cross-origin requests (403).

    A foreign page can point its own host name to this machine's address (DNS rebinding) and then
    read as if from this machine. It can also submit a form without a preflight request.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str], origins: Collection[str]) -> None:
        """Wrap an application. `hosts` are names without ports; empty for any host."""
        self.app = app
        self._hosts = set(hosts)
        # Other servers on this machine share these names, but their pages are foreign.
        self._names = self._hosts.difference(LOOPBACK_HOSTS)
        self._origins = set(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on or reject it."""
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        if refusal is not None:
            await problem(*refusal)(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers = Headers(scope=scope)
        for name in SINGLE_VALUE_HEADERS:
            if len(headers.getlist(name)) > 1:
                return 400, f"the header {name!r} is given twice; send it once"
        host, origin = headers.get("host", ""), headers.get("origin")
        named = host_and_port(host)
        if self._hosts and (named is None or named[0] not in self._hosts):
            return 421, (
                f"the Host header says {host!r:.80}, which is not a name of this server; if it "
                "is, start the server with --hosts and that name, or let the proxy send another one"
            )
        if host and named is None:
            return 400, f"the Host header {host!r:.80} is malformed; send a name and a port"
        if scope["method"] in SAFE or origin in self._origins or ANY in self._origins:
            return None
        if is_foreign(scope, self._names):
            return 403, (
                f"pages of {origin or 'another origin'!r:.80} may not send requests here; if it "
                "is this server behind a proxy, name its host with --hosts and let the proxy "
                "forward the Host header; to allow another origin, name it with --cors"
            )
        return None
