"""Reverse proxies: forwarded headers of trusted proxies, and detection of cross-origin requests."""

from collections.abc import Collection
from ipaddress import ip_address

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from genir.serving.origins import ANY, PORTS, network_of, origin_of


class TrustedProxies:
    """ASGI middleware that applies the forwarded headers of trusted proxies.

    X-Forwarded-For replaces the client's address and X-Forwarded-Proto the scheme.
    X-Forwarded-Host is stored in `scope["state"]["forwarded_host"]`; it never replaces Host, which
    is checked against `--hosts`. The headers are ignored if another address sends them.
    """

    def __init__(self, app: ASGIApp, proxies: Collection[str]) -> None:
        """Wrap an application. `proxies` are IP addresses and networks, or '*' for any."""
        self._any = ANY in proxies
        self._networks = [network_of(one) for one in proxies if one != ANY]
        self._app = app
        trusted = ANY if self._any else list(proxies)
        self._replacing = ProxyHeadersMiddleware(app, trusted)  # type: ignore[arg-type]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with the client, scheme and host that the first proxy received."""
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
    """Return whether a page of another origin has sent a request.

    Browsers report this in Sec-Fetch-Site, which a page cannot set. They omit it for pages served
    without TLS. Then Origin must match the Host header, the X-Forwarded-Host of a trusted proxy, or
    one of `names` with the default port of the scheme. A request without either header does not
    come from a browser.
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
