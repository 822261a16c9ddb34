"""Reverse proxies: whose forwarded headers are believed, and which pages are the server's own."""

from collections.abc import Collection
from ipaddress import ip_address

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from genir.serving.origins import ANY, PORTS, network_of, origin_of


class TrustedProxies:
    """Take client, scheme and host of requests over from the headers of trusted proxies.

    X-Forwarded-For replaces the client's address and X-Forwarded-Proto the scheme.
    X-Forwarded-Host is noted as `scope["state"]["forwarded_host"]`; it never replaces Host, which
    `--hosts` is compared with. Other addresses may send these headers: they count for nothing.
    """

    def __init__(self, app: ASGIApp, proxies: Collection[str]) -> None:
        """Surround an application. proxies: IP addresses and networks, or '*' for any."""
        self._any = ANY in proxies
        self._networks = [network_of(one) for one in proxies if one != ANY]
        self._app = app
        trusted = ANY if self._any else list(proxies)
        self._replacing = ProxyHeadersMiddleware(app, trusted)  # type: ignore[arg-type]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on as the first proxy has received it."""
        if scope["type"] != "http" or not self._trusts(scope):
            await self._app(scope, receive, send)
            return
        host = Headers(scope=scope).get("x-forwarded-host", "").partition(",")[0].strip()
        scope.setdefault("state", {})["forwarded_host"] = host
        await self._replacing(scope, receive, send)  # type: ignore[arg-type]

    def _trusts(self, scope: Scope) -> bool:
        try:
            address = ip_address((scope.get("client") or ("",))[0])
        except ValueError:  # no address: a Unix socket
            return self._any
        return self._any or any(address in network for network in self._networks)


def is_foreign(scope: Scope, names: Collection[str] = ()) -> bool:
    """Tell whether a page of another origin has sent a request.

    Browsers say so themselves in Sec-Fetch-Site, which no page can set and which a proxy need not
    know. They leave it out where the page is served without TLS; then Origin must name the host
    that the request was sent to, by Host or by a trusted proxy's X-Forwarded-Host, or one of the
    server's `names` at the scheme's own port. A request without either header is no browser's.
    """
    headers = Headers(scope=scope)
    site = headers.get("sec-fetch-site", "")
    if site:
        return site not in ("same-origin", "none")
    given = headers.get("origin")
    if given is None:
        return False
    origin = origin_of(given)
    if origin is None:
        return True
    if origin.host in names and origin.port == PORTS[origin.scheme]:
        return False
    own = (headers.get("host", ""), scope.get("state", {}).get("forwarded_host", ""))
    return not any(origin.is_at(host) for host in own if host)
