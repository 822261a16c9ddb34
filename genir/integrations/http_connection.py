"""Connection of the HTTP client: addresses, proxies of the environment, error messages."""

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx2

from genir.errors import InputError

TIMEOUT_S = 30.0
"""Timeout of a request in seconds."""
MAX_NAME, MAX_LABEL = 254, 63
"""Bytes of a host name with its last dot, and of a label between dots."""


@dataclass(frozen=True)
class Proxy:
    """A proxy of the environment. name: its variable; url: http where it has no scheme."""

    name: str
    url: str

    def __str__(self) -> str:
        return f"the proxy {without_password(self.url)!r:.80} of {self.name}"

    def refusal(self, reason: object, remedy: str) -> InputError:
        """Return the error for a proxy that cannot be used."""
        return InputError(f"{self}: {reason}; {remedy}, or unset {self.name}")


def open_client(address: str, token: str, proxy: Proxy | None) -> httpx2.Client:
    """Return an HTTP client. Raises InputError for a bad token, proxy or certificate file."""
    if not token.isascii() or any(letter <= " " for letter in token):
        raise InputError(
            "token: contains an invalid character; pass it as genir token new printed it"
        )
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        if proxy is not None:
            _check_url(proxy.url)
        # With an explicit transport, httpx uses no other proxies.
        transport = httpx2.HTTPTransport(proxy=proxy.url if proxy else None)
    except OSError as error:
        raise InputError(
            f"the certificates of SSL_CERT_FILE or SSL_CERT_DIR cannot be read ({error.strerror}); "
            "correct the variable, or unset it"
        ) from None
    except (ImportError, httpx2.InvalidURL, ValueError) as error:
        if proxy is None:
            raise
        if isinstance(error, ImportError):  # SOCKS is in an optional package
            raise proxy.refusal("SOCKS needs a package", "pip install 'httpx2[socks]'") from None
        raise proxy.refusal("not an address", "write it like http://host:3128") from None
    return httpx2.Client(base_url=address, headers=headers, timeout=TIMEOUT_S, transport=transport)


def proxy_of(address: str) -> Proxy | None:
    """Return the proxy for an address by HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY.

    None for this machine, which a proxy cannot reach.
    """
    parts = urlsplit(address)
    host = str(parts.hostname)
    # NO_PROXY may name a port; the standard library compares it if it is given one.
    place = f"{host}:{parts.port}" if parts.port else host
    if _is_loopback(host) or proxy_bypass(place):
        return None
    proxies = getproxies()
    kind = next((kind for kind in (parts.scheme, "all") if proxies.get(kind)), None)
    if kind is None:
        return None
    url = proxies[kind]
    return Proxy(f"{kind.upper()}_PROXY", url if "://" in url else f"http://{url}")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def check_address(address: Any) -> str:
    """Return an http(s) URL of a host without a query. Raises InputError for any other value."""
    try:
        if not isinstance(address, str) or urlsplit(address).scheme not in ("http", "https"):
            raise ValueError
        _check_url(address)
    except (httpx2.InvalidURL, ValueError):
        raise InputError(
            f"{without_password(address)!r:.80}: not an address; write it like http://127.0.0.1:8000"
        ) from None
    return address


def _check_url(url: str) -> None:
    """Raise InvalidURL or ValueError unless a URL has a valid host."""
    if any(letter <= " " or letter in "?#" for letter in url):
        raise ValueError
    urlsplit(url).port  # noqa: B018 - raises ValueError if out of range
    host = httpx2.URL(url).raw_host
    labels = host.removesuffix(b".").split(b".")
    if len(host) > MAX_NAME or not all(0 < len(label) <= MAX_LABEL for label in labels):
        raise ValueError


def without_password(address: Any) -> Any:
    """Return an address for messages, without user name and password."""
    return re.sub(r"//.*@", "//", address) if isinstance(address, str) else address


def error_detail(response: httpx2.Response) -> str:
    """Return the server's error message, or the status if it is not a genir server."""
    try:
        return str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return f"status {response.status_code}; check that the address is a genir server"
