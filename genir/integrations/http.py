"""HTTP client of a genir server, with the signatures of `Retriever` and without torch."""

from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx2

from genir.arguments import as_count, as_counts, as_keys, as_text, as_texts, is_listable
from genir.corpus.serialization import document_of, record_of
from genir.corpus.vectors import as_queries, with_document_vectors
from genir.errors import InputError
from genir.integrations.http_connection import (
    check_address,
    error_detail,
    open_client,
    proxy_of,
    without_password,
)
from genir.plurals import counted
from genir.types import Document, FilterSpec, Hit, HitList, Selection, Unit, as_filter
from genir.updates.versions import Version
from genir.vector_query import VectorQuery

Given = Document | Mapping[str, Any] | Iterable[Document | Mapping[str, Any]]
"""One or several documents, or records with the fields of a line of corpus.jsonl."""
QueriesByKey = Mapping[str, str | Sequence[str]]
"""Known queries by document key."""
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
            proxy = proxy_of(check_address(address))
            self._through = f" through {proxy}" if proxy else ""
            http = open_client(address, secret, proxy)
        self._http = http

    # --- answering: the signatures are those of `Retriever` ------------------------------------

    @property
    def documents(self) -> Self:
        """The searcher itself, which has `fetch` like a document store."""
        return self

    @property
    def version(self) -> int:
        """Number of acknowledged changes. Raises InputError if a scoped token hides it."""
        found = self._json("GET", "/v1/model").get("version")
        if not isinstance(found, int):
            raise InputError(f"{self._place}: the version is hidden from this token; use another")
        return found

    def search(
        self,
        queries: str | Iterable[str] | None,
        k: int | Sequence[int] = 10,
        where: FilterSpec | Sequence[FilterSpec] = None,
        beams: int | None = None,
        exact: bool | None = None,
        vectors: Any = None,
    ) -> list[HitList[Hit]]:
        """Return the hits of each query, best first; see `Retriever.search`.

        Args:
            queries: Q query texts; a string is one query.
            k: Hits per query: one number, or a list of Q.
            where: Metadata filter or `Selection`: one, or a list of Q.
            beams: Beam width. Default: the recipe's.
            exact: Prove that no document scores higher. Default: as the recipe's strategy.
            vectors: Vectors of the queries by the model's encoder.

        Raises:
            InputError: An argument is invalid, or the request fails.
        """
        texts = as_queries(queries, vectors)
        ks, filters = as_counts(k, "k", len(texts)), _filters(where, len(texts))
        options = {"beams": beams, "exact": exact}
        shared = {name: value for name, value in options.items() if value is not None}
        return [
            self._search(_query_fields(query) | {"k": k} | spec | shared)
            for query, k, spec in zip(texts, ks, filters, strict=True)
        ]

    def _search(self, asked: Mapping[str, Any]) -> HitList[Hit]:
        answer = self._json("POST", "/v1/search", json=asked)
        try:
            return HitList([_hit(hit) for hit in answer["hits"]], answer.get("proven"))
        except (TypeError, KeyError, AttributeError):
            raise InputError(f"{self._place}: {FOREIGN_SERVER}") from None

    def fetch(self, keys: str | Iterable[str]) -> dict[str, Document]:
        """Return documents by key; a string is one key. Raises InputError for an unknown key."""
        return {key: self._document(key) for key in as_keys(keys)}

    def _document(self, key: str) -> Document:
        path = _document_path(key)
        return document_of(self._json("GET", path), path)

    # --- changes -------------------------------------------------------------------------------

    def add(
        self,
        documents: Given,
        queries: QueriesByKey | None = None,
        check: None = None,
        vectors: Mapping[str, Any] | None = None,
    ) -> list[str]:
        """Add documents as one change; return their keys. See `Retriever.add`.

        Args:
            documents: `Document`s or dicts with the fields of corpus.jsonl; one counts as a list.
            queries: Known queries of each document by key.
            check: Runs in the model's process, so it must be None.
            vectors: Vectors of the documents by key.

        Raises:
            InputError: The server refuses a document or the token; nothing has changed.
        """
        return self._put(documents, queries, check, vectors, replace=False)

    def replace(
        self,
        documents: Given,
        queries: QueriesByKey | None = None,
        check: None = None,
        vectors: Mapping[str, Any] | None = None,
    ) -> list[str]:
        """Replace live documents by key, as one change; return the keys. See `add`."""
        return self._put(documents, queries, check, vectors, replace=True)

    def _put(
        self,
        documents: Given,
        queries: QueriesByKey | None,
        check: None,
        vectors: Mapping[str, Any] | None,
        replace: bool,
    ) -> list[str]:
        _refuse_check(check)
        given = with_document_vectors(documents, vectors)
        asked: dict[str, Any] = {"documents": [record_of(one) for one in given], "replace": replace}
        if queries:
            asked["queries"] = {key: list(as_texts(own)) for key, own in queries.items()}
        own = {one.key: one.vector.tolist() for one in given if one.vector is not None}
        if own:
            asked["vectors"] = own
        return self._changed(self._json("POST", "/v1/documents", json=asked))

    def delete(self, keys: str | Iterable[str], check: None = None) -> list[str]:
        """Delete documents, one request each; return their keys. See `Retriever.delete`.

        Raises:
            InputError: A key is not live; the keys before it were deleted.
        """
        _refuse_check(check)
        return [self._deleted(key) for key in dict.fromkeys(as_keys(keys))]

    def _deleted(self, key: str) -> str:
        self._json("DELETE", _document_path(key))
        return key

    def rollback(self, version: int) -> None:
        """Restore the documents of an earlier version, as a new change."""
        self._json("POST", "/v1/rollback", json={"version": as_count(version, "version", 0)})

    def versions(self) -> list[Version]:
        """Return the version history, oldest first."""
        answer = self._json("GET", "/v1/versions")
        try:
            return [Version(**line) for line in answer["versions"]]
        except (TypeError, KeyError):
            raise InputError(f"{self._place}: {FOREIGN_SERVER}") from None

    def compact(self) -> None:
        """Rewrite the model folder without deleted documents."""
        self._json("POST", "/v1/compact")

    def _changed(self, answer: Any) -> list[str]:
        try:
            return list(answer["keys"])
        except (TypeError, KeyError):
            raise InputError(f"{self._place}: {FOREIGN_SERVER}") from None

    # --- requests ------------------------------------------------------------------------------

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
        if response.has_redirect_location:  # following it would send the token elsewhere
            target = without_password(response.headers["location"])
            raise InputError(f"{self._place}: redirects to {target!r:.200}; use that address")
        if not response.is_success:
            raise InputError(f"{self._place}{self._through}: {error_detail(response)}")
        try:
            found = response.json()
        except ValueError:  # for example a proxy's page
            found = None
        if not isinstance(found, dict):
            raise InputError(f"{self._place}{self._through}: {FOREIGN_SERVER}")
        return found

    @property
    def _place(self) -> str:
        return str(without_password(str(self._http.base_url)))

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


def _document_path(key: str) -> str:
    # Unescaped, "." and ".." would be resolved as path segments.
    name = key.replace(".", "%2E") if key in (".", "..") else quote(key, safe="")
    return f"/v1/documents/{name}"


def _query_fields(query: str) -> dict[str, Any]:
    """Return the fields of a search request for a query, which may have a vector."""
    if not isinstance(query, VectorQuery):
        return {"query": query}
    return ({"query": str(query)} if query else {}) | {"vector": query.vector.tolist()}


def _filters(where: Any, queries: int) -> list[dict[str, Any]]:
    """Return the fields of a search request for the filter of each query."""
    alone = where is None or isinstance(where, Mapping | Selection | str | bytes)
    if alone or not is_listable(where):
        return [_filter_fields(where)] * queries
    found = list(map(_filter_fields, where))
    if len(found) != queries:
        raise InputError(
            f"where: got {counted(len(found), 'filter')} for "
            f"{counted(queries, 'query', 'queries')}; give one (or None) for each"
        )
    return found


def _filter_fields(where: Any) -> dict[str, Any]:
    if where is None:
        return {}
    if not isinstance(where, Selection):
        return {"where": dict(as_filter(where))}
    if len(where.where) > 1 or where.excluded:
        raise InputError("where: a request has one filter, not excluded; join the conditions")
    fields: dict[str, Any] = {"where": dict(where.where[0])} if where.where else {}
    if where.allow:
        fields["allow"] = sorted(frozenset.intersection(*where.allow))
    return fields | ({"deny": sorted(where.deny)} if where.deny else {})


def _refuse_check(check: object) -> None:
    if check is not None:
        raise InputError("check: runs in the model's process; use a Retriever, or leave it out")


def _hit(fields: dict[str, Any]) -> Hit:
    unit = fields.get("unit")
    own = {
        "unit": None if unit is None else Unit(**unit),
        "breadcrumb": tuple(fields.get("breadcrumb", ())),
    }
    return Hit(**{**fields, **own})
