"""A server of genir as a `Searcher`, over HTTP. Needs no model and no torch."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx2

from genir.arguments import as_count, as_keys, as_text, as_texts
from genir.corpus.documents import document_of
from genir.errors import InputError
from genir.records import Document, Filter, Hit, as_filter

PATIENCE = 30.0
"""Seconds to wait for an answer."""
MAX_NAME, MAX_LABEL = 254, 63
"""Bytes of a host's name with its last dot, and of a part of it between dots."""
STRANGER = "it answers, but not as a server of genir does; check the address"


class RemoteSearcher:
    """Ask a server at an address such as http://127.0.0.1:8000; its own `documents`.

    Raises InputError with the server's own sentence where it refuses, where it does not answer or
    answers something else, and for an address, a token or a proxy that cannot be one. Proxies are
    taken from the environment; a server on this machine is asked without.
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
        """Return what looks documents up, as a retriever's own `documents` does."""
        return self

    def search(
        self, queries: str | Iterable[str], k: int = 10, where: Filter | None = None
    ) -> list[list[Hit]]:
        """Return the best hits of each query, best first; a string is one query.

        Raises:
            InputError: Queries that are no texts, k below 1, and a filter that is no mapping.
        """
        texts, count = as_texts(queries), as_count(k, "k")
        where = None if where is None else as_filter(where)
        return [self._search(query, count, where) for query in texts]

    def _search(self, query: str, k: int, where: Filter | None) -> list[Hit]:
        asked: dict[str, Any] = {"query": query, "k": k}
        if where:
            asked["where"] = dict(where)
        told = self._json("POST", "/v1/search", json=asked)
        try:
            return [Hit(**hit) for hit in told["hits"]]
        except (TypeError, KeyError):
            raise InputError(f"{self._place}: {STRANGER}") from None

    def fetch(self, keys: str | Iterable[str]) -> dict[str, Document]:
        """Return documents by their keys; a string is one key.

        Raises InputError for a key that is not there.
        """
        return {key: self._document(key) for key in as_keys(keys)}

    def _document(self, key: str) -> Document:
        # As dots, "." and ".." would be resolved as steps of the path.
        name = key.replace(".", "%2E") if key in (".", "..") else quote(key, safe="")
        path = f"/v1/documents/{name}"
        return document_of(self._json("GET", path), path)

    def _json(self, method: str, path: str, **options: Any) -> Any:
        try:
            request = self._http.build_request(method, path, **options)
        except (TypeError, ValueError) as error:  # an unpaired surrogate, no number, bytes
            raise InputError(f"the request cannot be written as JSON: {error}") from None
        try:
            response = self._http.send(request)
        except (httpx2.HTTPError, httpx2.InvalidURL, UnicodeError) as error:
            raise InputError(f"{self._place} does not answer{self._through}: {error}") from None
        if response.is_error:
            raise InputError(f"{self._place}{self._through}: {_detail(response)}")
        try:
            return response.json()
        except ValueError:  # a proxy's page, say
            raise InputError(f"{self._place}{self._through}: {STRANGER}") from None

    @property
    def _place(self) -> str:
        """Return the server's address for messages."""
        return str(_shown(str(self._http.base_url)))

    def close(self) -> None:
        """Give the connections back."""
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
    """A proxy that the environment asks for. name: its variable; url: without a scheme, http."""

    name: str
    url: str

    def __str__(self) -> str:
        return f"the proxy {_shown(self.url)!r:.80} of {self.name}"

    def refusal(self, reason: object, mend: str) -> InputError:
        """Return the error for a proxy that cannot be used."""
        return InputError(f"{self}: {reason}; {mend}, or unset {self.name}")


def _client(address: str, token: str, proxy: _Proxy | None) -> httpx2.Client:
    """Return a client. Raises InputError for a token, a proxy or certificates that cannot be."""
    if not token.isascii() or any(letter <= " " for letter in token):
        raise InputError("the token holds a character that none has; give it as it was printed")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        if proxy is not None:
            _check_url(proxy.url)
        # With a transport of its own, httpx looks for no other proxies.
        transport = httpx2.HTTPTransport(proxy=proxy.url if proxy else None)
    except OSError as error:
        raise InputError(
            f"the certificates of SSL_CERT_FILE or SSL_CERT_DIR cannot be read ({error.strerror}); "
            "correct the variable, or unset it"
        ) from None
    except (ImportError, httpx2.InvalidURL, ValueError) as error:
        if proxy is None:
            raise
        if isinstance(error, ImportError):  # it takes SOCKS by an optional package
            raise proxy.refusal("SOCKS needs a package", "pip install 'httpx2[socks]'") from None
        raise proxy.refusal("is no address", "write one such as http://host:3128") from None
    return httpx2.Client(base_url=address, headers=headers, timeout=PATIENCE, transport=transport)


def _proxy_of(address: str) -> _Proxy | None:
    """Return the proxy for an address by HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY.

    None for this machine itself, which no proxy can reach.
    """
    parts = urlsplit(address)
    host = str(parts.hostname)
    if _is_loopback(host) or proxy_bypass(host):
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
    """Return an http(s) address of a host, without a query. Raises InputError for anything else."""
    try:
        if not isinstance(address, str) or urlsplit(address).scheme not in ("http", "https"):
            raise ValueError
        _check_url(address)
    except (httpx2.InvalidURL, ValueError):
        raise InputError(
            f"{_shown(address)!r:.80} is no address; write one such as http://127.0.0.1:8000"
        ) from None
    return address


def _check_url(url: str) -> None:
    """Raise InvalidURL or ValueError unless a URL leads to a host that can be asked for."""
    if any(letter <= " " or letter in "?#" for letter in url):
        raise ValueError
    urlsplit(url).port  # noqa: B018 - of another range, it is an error here alone
    host = httpx2.URL(url).raw_host
    labels = host.removesuffix(b".").split(b".")
    if len(host) > MAX_NAME or not all(0 < len(label) <= MAX_LABEL for label in labels):
        raise ValueError


def _shown(address: Any) -> Any:
    """Return an address for a message: without a user's name and password."""
    return re.sub(r"//.*@", "//", address) if isinstance(address, str) else address


def _detail(response: httpx2.Response) -> str:
    """Return what the server says of a refusal, or its status where it is no server of genir."""
    try:
        return str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return f"status {response.status_code}; is this a server of genir?"
