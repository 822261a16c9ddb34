"""HTTP client of a genir server as a `Searcher`, without torch."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx2

from genir.arguments import as_count, as_keys, as_text
from genir.corpus.serialization import document_of
from genir.corpus.vectors import as_queries
from genir.errors import InputError
from genir.types import Document, Filter, Hit, Unit, as_filter
from genir.vector_query import VectorQuery

TIMEOUT_S = 30.0
"""Timeout of a request in seconds."""
MAX_NAME, MAX_LABEL = 254, 63
"""Bytes of a host name with its last dot, and of a label between dots."""
FOREIGN_SERVER = "the response is not from a genir server; check the address"


class RemoteSearcher:
    """A genir server at an address like http://127.0.0.1:8000; also its own `documents`.

    Proxies are taken from the environment, but not for a server on this machine.

    Raises:
        InputError: The address, token or a proxy is malformed, the server cannot be reached, or it
            answers with an error, whose message is passed on.
    """

    def __init__(
        self, address: str, token: str | None = "", http: httpx2.Client | None = None
    ) -> None:
        self._through = ""
        if http is None:
            secret = as_text("" if token is None else token, "token")
            proxy = _proxy_of(_check_address(address))
            self._through = f" through {proxy}" if proxy else ""
            http = _client(address, secret, proxy)
        self._http = http

    @property
    def documents(self) -> Self:
        """The searcher itself, which has `fetch` like a document store."""
        return self

    def search(
        self,
        queries: str | Iterable[str] | None,
        k: int = 10,
        where: Filter | None = None,
        vectors: Any = None,
    ) -> list[list[Hit]]:
        """Return the hits of each query, best first.

        Args:
            queries: Query texts; a string is one query.
            k: Number of hits per query.
            where: Filter: metadata field -> value, list of values, or operators.
            vectors: Vectors of the queries by the model's encoder, as for `Retriever.search`.

        Raises:
            InputError: An argument is invalid, or the request fails.
        """
        texts, count = as_queries(queries, vectors), as_count(k, "k")
        where = None if where is None else as_filter(where)
        return [self._search(query, count, where) for query in texts]

    def _search(self, query: str, k: int, where: Filter | None) -> list[Hit]:
        asked: dict[str, Any] = {"query": query, "k": k}
        if isinstance(query, VectorQuery):
            words = {"query": str(query)} if query else {}
            asked = {**words, "vector": query.vector.tolist(), "k": k}
        if where:
            asked["where"] = dict(where)
        answer = self._json("POST", "/v1/search", json=asked)
        try:
            return [_hit(hit) for hit in answer["hits"]]
        except (TypeError, KeyError):
            raise InputError(f"{self._place}: {FOREIGN_SERVER}") from None

    def fetch(self, keys: str | Iterable[str]) -> dict[str, Document]:
        """Return documents by key; a string is one key. Raises InputError for an unknown key."""
        return {key: self._document(key) for key in as_keys(keys)}

    def _document(self, key: str) -> Document:
        # Unescaped, "." and ".." would be resolved as path segments.
        name = key.replace(".", "%2E") if key in (".", "..") else quote(key, safe="")
        path = f"/v1/documents/{name}"
        return document_of(self._json("GET", path), path)

    def _json(self, method: str, path: str, **options: Any) -> Any:
        try:
            request = self._http.build_request(method, path, **options)
        except (TypeError, ValueError, httpx2.InvalidURL) as error:  # a surrogate, NaN, a long key
            raise InputError(f"the request cannot be written: {error}") from None
        try:
            response = self._http.send(request)
        except (httpx2.HTTPError, httpx2.InvalidURL, UnicodeError) as error:
            raise InputError(
                f"{self._place}: no response{self._through} ({error}); check the address and the "
                "server"
            ) from None
        if response.is_error:
            raise InputError(f"{self._place}{self._through}: {_detail(response)}")
        try:
            return response.json()
        except ValueError:  # for example a proxy's page
            raise InputError(f"{self._place}{self._through}: {FOREIGN_SERVER}") from None

    @property
    def _place(self) -> str:
        return str(_shown(str(self._http.base_url)))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


@dataclass(frozen=True)
class _Proxy:
    """A proxy of the environment. name: its variable; url: http where it has no scheme."""

    name: str
    url: str

    def __str__(self) -> str:
        return f"the proxy {_shown(self.url)!r:.80} of {self.name}"

    def refusal(self, reason: object, remedy: str) -> InputError:
        """Return the error for a proxy that cannot be used."""
        return InputError(f"{self}: {reason}; {remedy}, or unset {self.name}")


def _client(address: str, token: str, proxy: _Proxy | None) -> httpx2.Client:
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


def _proxy_of(address: str) -> _Proxy | None:
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
    return _Proxy(f"{kind.upper()}_PROXY", url if "://" in url else f"http://{url}")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _check_address(address: Any) -> str:
    """Return an http(s) URL of a host without a query. Raises InputError for any other value."""
    try:
        if not isinstance(address, str) or urlsplit(address).scheme not in ("http", "https"):
            raise ValueError
        _check_url(address)
    except (httpx2.InvalidURL, ValueError):
        raise InputError(
            f"{_shown(address)!r:.80}: not an address; write it like http://127.0.0.1:8000"
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


def _hit(fields: dict[str, Any]) -> Hit:
    unit = fields.get("unit")
    own = {
        "unit": None if unit is None else Unit(**unit),
        "breadcrumb": tuple(fields.get("breadcrumb", ())),
    }
    return Hit(**{**fields, **own})


def _shown(address: Any) -> Any:
    """Return an address for messages, without user name and password."""
    return re.sub(r"//.*@", "//", address) if isinstance(address, str) else address


def _detail(response: httpx2.Response) -> str:
    """Return the server's error message, or the status if it is not a genir server."""
    try:
        return str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return f"status {response.status_code}; check that the address is a genir server"
