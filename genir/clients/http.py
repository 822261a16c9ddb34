"""A server of genir as a `Searcher`, over HTTP. Needs no model and no torch."""

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
"""Seconds to wait for an answer."""
STRANGER = "it answers, but not as a server of genir does; check the address"


class RemoteSearcher:
    """Ask a server at an address such as http://127.0.0.1:8000; its own `documents`.

    Raises InputError with the server's own sentence where it refuses, where it does not answer or
    answers something else, and for an address or a token that cannot be one.
    """

    def __init__(
        self, address: str, token: str | None = "", http: httpx2.Client | None = None
    ) -> None:
        self._http = http or _client(address, as_text("" if token is None else token, "token"))

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
            raise InputError(f"{self._http.base_url}: {STRANGER}") from None

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
            response = self._http.request(method, path, **options)
        except httpx2.HTTPError as error:
            raise InputError(f"{self._http.base_url} does not answer: {error}") from None
        except httpx2.InvalidURL as error:
            raise InputError(f"{str(self._http.base_url)!r:.80} is no address ({error})") from None
        except (TypeError, ValueError) as error:  # an unpaired surrogate, no number, bytes
            raise InputError(f"the request cannot be written as JSON: {error}") from None
        if response.is_error:
            raise InputError(f"{self._http.base_url}: {_detail(response)}")
        try:
            return response.json()
        except ValueError:  # a proxy's page, say
            raise InputError(f"{self._http.base_url}: {STRANGER}") from None

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


def _client(address: str, token: str) -> httpx2.Client:
    """Return a client for an address. Raises InputError for one that cannot be, and for a token."""
    if not token.isascii() or any(letter <= " " for letter in token):
        raise InputError("the token holds a character that none has; give it as it was printed")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    _check_address(address)
    try:
        return httpx2.Client(base_url=address, headers=headers, timeout=PATIENCE)
    except (httpx2.InvalidURL, TypeError, ValueError) as error:
        raise InputError(
            f"{address!r:.80} is no address ({error}); write one such as http://127.0.0.1:8000"
        ) from None


def _check_address(address: Any) -> None:
    """Raise InputError for anything but an http(s) address of a host, without a query."""
    try:
        parts = urlsplit(address)
        whole = parts.scheme in ("http", "https") and bool(parts.hostname)
        whole = whole and isinstance(address, str) and not (parts.query or parts.fragment)
    except (AttributeError, TypeError, ValueError):
        whole = False
    if not whole:
        raise InputError(f"{address!r:.80} is no address; write one such as http://127.0.0.1:8000")


def _detail(response: httpx2.Response) -> str:
    """Return what the server says of a refusal, or its status where it is no server of genir."""
    try:
        return str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return f"status {response.status_code}; is this a server of genir?"
