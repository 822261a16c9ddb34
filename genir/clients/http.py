"""HTTP client of a genir server as a `Searcher`, without torch."""

from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlsplit

import httpx2

from genir.arguments import as_count, as_keys, as_text, as_texts
from genir.corpus.documents import document_of
from genir.errors import InputError
from genir.records import Document, Filter, Hit, as_filter

PATIENCE = 30.0
"""Timeout of a request in seconds."""
STRANGER = "the response is not from a genir server; check the address"


class RemoteSearcher:
    """A genir server at an address like http://127.0.0.1:8000; also its own `documents`.

    Raises:
        InputError: The address or token is malformed, the server cannot be reached, or it answers
            with an error, whose message is passed on.
    """

    def __init__(
        self, address: str, token: str | None = "", http: httpx2.Client | None = None
    ) -> None:
        self._http = http or _client(address, as_text("" if token is None else token, "token"))

    @property
    def documents(self) -> Self:
        """The searcher itself, which has `fetch` like a document store."""
        return self

    def search(
        self, queries: str | Iterable[str], k: int = 10, where: Filter | None = None
    ) -> list[list[Hit]]:
        """Return the hits of each query, best first.

        Args:
            queries: Query texts; a string is one query.
            k: Number of hits per query.
            where: Filter: metadata field -> value, list of values, or operators.

        Raises:
            InputError: An argument is invalid, or the request fails.
        """
        texts, count = as_texts(queries), as_count(k, "k")
        where = None if where is None else as_filter(where)
        return [self._search(query, count, where) for query in texts]

    def _search(self, query: str, k: int, where: Filter | None) -> list[Hit]:
        asked: dict[str, Any] = {"query": query, "k": k}
        if where:
            asked["where"] = dict(where)
        answer = self._json("POST", "/v1/search", json=asked)
        try:
            return [Hit(**hit) for hit in answer["hits"]]
        except (TypeError, KeyError):
            raise InputError(f"{self._http.base_url}: {STRANGER}") from None

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
            response = self._http.request(method, path, **options)
        except httpx2.HTTPError as error:
            raise InputError(
                f"{self._http.base_url}: no response ({error}); check the address and the server"
            ) from None
        except httpx2.InvalidURL as error:
            raise InputError(
                f"{str(self._http.base_url)!r:.80}: not an address ({error}); write it like http://127.0.0.1:8000"
            ) from None
        except (TypeError, ValueError) as error:  # an unpaired surrogate, NaN, bytes
            raise InputError(f"the request cannot be written as JSON: {error}") from None
        if response.is_error:
            raise InputError(f"{self._http.base_url}: {_detail(response)}")
        try:
            return response.json()
        except ValueError:  # for example a proxy's page
            raise InputError(f"{self._http.base_url}: {STRANGER}") from None

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


def _client(address: str, token: str) -> httpx2.Client:
    """Return an HTTP client. Raises InputError for a malformed address or token."""
    if not token.isascii() or any(letter <= " " for letter in token):
        raise InputError(
            "token: contains an invalid character; pass it as genir token new printed it"
        )
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    _check_address(address)
    try:
        return httpx2.Client(base_url=address, headers=headers, timeout=PATIENCE)
    except (httpx2.InvalidURL, TypeError, ValueError) as error:
        raise InputError(
            f"{address!r:.80}: not an address ({error}); write it like http://127.0.0.1:8000"
        ) from None


def _check_address(address: Any) -> None:
    """Raise InputError unless the address is an http(s) URL of a host without a query."""
    try:
        parts = urlsplit(address)
        whole = parts.scheme in ("http", "https") and bool(parts.hostname)
        whole = whole and isinstance(address, str) and not (parts.query or parts.fragment)
    except (AttributeError, TypeError, ValueError):
        whole = False
    if not whole:
        raise InputError(f"{address!r:.80}: not an address; write it like http://127.0.0.1:8000")


def _detail(response: httpx2.Response) -> str:
    """Return the server's error message, or the status if it is not a genir server."""
    try:
        return str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return f"status {response.status_code}; check that the address is a genir server"
