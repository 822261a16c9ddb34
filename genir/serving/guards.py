"""What surrounds every request: headers that keep the page to itself, hosts and origins."""

from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from genir.serving.encodings import SAFE
from genir.serving.origins import ANY, host_and_port
from genir.serving.problems import problem
from genir.serving.proxies import is_foreign

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
"""On every answer: the page may load its own files and nothing else."""
SINGLE = ("host", "origin", "sec-fetch-site", "content-type", "authorization")
"""Headers that decide who asks, and how a body is read: a second one would not be looked at."""
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class WithHeaders:
    """Add `HEADERS` to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and the answer back with the headers."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await self.app(scope, receive, send_with_headers)


class OwnHosts:
    """Refuse requests for other host names (421), and those that foreign pages send (403).

    A page elsewhere can give its own host name this machine's address (DNS rebinding), and then
    reads what only this machine may. And it can send a form here without asking first.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str], origins: Collection[str]) -> None:
        """Surround an application. hosts: names without ports; none means any."""
        self.app = app
        self._hosts = set(hosts)
        # Other servers of this machine have the same names, and their pages are foreign.
        self._names = self._hosts.difference(LOOPBACK)
        self._origins = set(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        if refusal is not None:
            await problem(*refusal)(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers = Headers(scope=scope)
        for name in SINGLE:
            if len(headers.getlist(name)) > 1:
                return 400, f"the header {name!r} is given twice; send it once"
        host, origin = headers.get("host", ""), headers.get("origin")
        named = host_and_port(host)
        if self._hosts and (named is None or named[0] not in self._hosts):
            return 421, (
                f"the Host header says {host!r:.80}, which is no name of this server; start it "
                "with --hosts and that name if it is, or let the proxy pass another on"
            )
        if host and named is None:
            return 400, f"the Host header {host!r:.80} is malformed; send a name and a port"
        if scope["method"] in SAFE or origin in self._origins or ANY in self._origins:
            return None
        if is_foreign(scope, self._names):
            return 403, (
                f"a page of {origin or 'another origin'!r:.80} may not send to this server; if it "
                "is this server's own behind a proxy, name its host with --hosts and let the proxy "
                "pass the Host header on; if it is another that may, name its origin with --cors"
            )
        return None
