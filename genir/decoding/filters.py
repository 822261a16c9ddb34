"""Masks over the rows of the identifier table from metadata filters and document keys."""

import threading
from collections.abc import Collection, Mapping, Sequence, Set
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from genir.arguments import as_keys, is_listable
from genir.byte_cache import MIB, ByteCache, digest_of
from genir.corpus.store import DocumentStore
from genir.decoding.row_mask import Mask, RowMask
from genir.errors import InputError
from genir.identifiers.table import IdentifierTable
from genir.types import Filter, Selection, as_filter

MAX_ROW_BYTES = 3
"""Bytes of a mask per table row, at most: a bool, and the distance to the next live row."""
FilterSpec = Filter | Selection | None
"""Filter of one query; None for all documents."""
MAX_CACHED_MASK_BYTES = 64 * MIB
"""Size of the mask cache in bytes (least recently used masks are evicted)."""
MIN_CACHED_MASKS = 8
"""Masks that fit into the cache for any table size, among them the mask of all live rows."""


class RowMaskCache:
    """Cache of the masks of filters over a table, cleared when the documents change.

    Thread-safe. A mask that is still referenced elsewhere is found even after its eviction.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._live: Mask | None = None
        self._cache: ByteCache[RowMask] = ByteCache(MAX_CACHED_MASK_BYTES)
        self._weak: WeakValueDictionary[bytes, RowMask] = WeakValueDictionary()

    def row_masks(
        self,
        table: IdentifierTable,
        documents: DocumentStore,
        where: FilterSpec | Sequence[FilterSpec],
        queries: int,
    ) -> RowMask:
        """Return the rows that each query may reach; equal filters share a mask.

        Args:
            table: Identifier table.
            documents: Documents with their metadata.
            where: One filter for all queries, or a list with one filter (or None) for each.
            queries: Number of queries.

        Raises:
            InputError: The list has another length, or a filter has an unknown field.
        """
        if where is None or isinstance(where, Mapping | Selection):
            return self.mask(table, documents, where)
        where = _as_filter_list(where)
        if len(where) != queries:
            raise InputError(
                f"where: {len(where)} filters for {queries} queries; give one (or None) for each"
            )
        names = [filter_digest(one) for one in where]
        distinct = dict(zip(names, where, strict=True))
        places = {name: place for place, name in enumerate(distinct)}
        parts = [self.mask(table, documents, one) for one in distinct.values()]
        if len(parts) == 1:
            return parts[0]
        return RowMask.join(parts, [places[name] for name in names])

    def cached(self, table: IdentifierTable, spec: FilterSpec) -> RowMask | None:
        """Return the cached mask of a filter, or None; never waits for its computation."""
        name = filter_digest(spec)
        with self._lock:
            return self._find(name) if self._live is table.live else None

    def mask(self, table: IdentifierTable, documents: DocumentStore, spec: FilterSpec) -> RowMask:
        """Return the mask of a filter; computes it if it is not cached."""
        # A change of the documents replaces `table.live`, so a mask computed for an older `live`
        # is never used afterwards, whichever thread computed it.
        live, name = table.live, filter_digest(spec)
        with self._lock:
            found = self._find(name) if self._live is live else None
        if found is None:
            closed = isinstance(spec, Selection) and spec.excluded
            found = RowMask.build([_rows(table, documents, spec)], restrict_scores=closed)
        with self._lock:
            if self._live is not live:
                self._live = live
                self._cache.clear()
                self._weak.clear()
                self._cache.limit = max(
                    MAX_CACHED_MASK_BYTES, MIN_CACHED_MASKS * MAX_ROW_BYTES * len(live)
                )
            size = found.bytes + sum(mask.nbytes for mask in found.masks)
            self._cache.put(name, found, size)
            self._weak[name] = found
        return found

    def _find(self, name: bytes) -> RowMask | None:
        return self._cache.get(name) or self._weak.get(name)


def _as_filter_list(where: Any) -> list[FilterSpec]:
    """Return the filters of a list of queries. Raises InputError for a string or a number."""
    if isinstance(where, str | bytes | Set) or not is_listable(where):
        as_filter(where)
    return list(where)


def filter_digest(spec: FilterSpec) -> bytes:
    """Return a digest that is equal for equal filters only."""
    if isinstance(spec, Selection):
        return spec.name
    return digest_of(repr({} if spec is None else dict(as_filter(spec))))


def _rows(table: IdentifierTable, documents: DocumentStore, spec: FilterSpec) -> Mask:
    if isinstance(spec, Selection):
        return selected_rows(table, documents, spec)
    return passing_rows(table, documents, spec)


def selected_rows(table: IdentifierTable, documents: DocumentStore, selection: Selection) -> Mask:
    """Return the live rows that pass a selection, bool [rows].

    Raises:
        InputError: A condition cannot be evaluated.
    """
    passing = np.ones(len(table.keys), dtype=bool)
    for where in selection.where:
        passing &= _matching(table, documents, where, strict=False)
    for allow in selection.allow:
        passing &= _key_mask(table, [key for key in allow if key in table])
    passing &= ~_key_mask(table, [key for key in selection.deny if key in table])
    live: Mask = table.live & passing[table.documents]
    return live


def passing_rows(
    table: IdentifierTable,
    documents: DocumentStore,
    where: Filter | None = None,
    allow: Collection[str] | None = None,
    deny: Collection[str] = (),
) -> Mask:
    """Return the live rows that pass, bool [rows].

    Args:
        table: Identifier table.
        documents: Documents with their metadata.
        where: Conditions on metadata.
        allow: Keys of the documents that may be found; None for all. A string is one key.
        deny: Keys of documents to exclude.

    Raises:
        InputError: Unknown field or key.
    """
    allow, deny = None if allow is None else as_keys(allow, "allow"), as_keys(deny, "deny")
    where = {} if where is None else as_filter(where)
    if not where and allow is None and not deny:
        return table.live
    passing = _matching(table, documents, where) & ~_key_mask(table, deny)
    if allow is not None:
        passing &= _key_mask(table, allow)
    live: Mask = table.live & passing[table.documents]
    return live


def _matching(
    table: IdentifierTable, documents: DocumentStore, where: Filter, strict: bool = True
) -> Mask:
    """Return the documents of the table that pass, bool [documents].

    Another thread may have added documents to the store that the table does not have yet.
    """
    return documents.matching(where, strict)[: len(table.keys)]


def _key_mask(table: IdentifierTable, keys: Collection[str]) -> Mask:
    """Return the documents that have one of the keys, bool [documents]."""
    among = np.zeros(len(table.keys), dtype=bool)
    among[[table.number(key) for key in keys]] = True
    return among
