"""Masks over the rows of the identifier table from metadata filters and document keys."""

import threading
from collections.abc import Collection, Mapping, Sequence, Set
from weakref import WeakValueDictionary

import numpy as np

from genir.arguments import is_listable
from genir.byte_cache import MIB, ByteCache, digest_of
from genir.corpus.store import DocumentStore
from genir.decoding.row_mask import Mask, RowMask
from genir.errors import InputError
from genir.identifiers.table import IdentifierTable
from genir.plurals import counted
from genir.types import Filter, FilterSpec, Selection, as_filter

MAX_ROW_BYTES = 3
"""Bytes of a mask per table row, at most: a bool, and the distance to the next live row."""
MAX_CACHED_MASK_BYTES = 64 * MIB
"""Size of the mask cache in bytes (least recently used masks are evicted)."""
MIN_CACHED_MASKS = 8
"""Masks that fit into the cache for any table size, among them the mask of all live rows."""


class RowMaskCache:
    """Cache of the masks of filters over the documents of one version of an index.

    Thread-safe. A mask that is still referenced elsewhere is found even after its eviction.
    """

    def __init__(self, table: IdentifierTable, documents: DocumentStore) -> None:
        self._table, self._documents = table, documents
        self._lock = threading.Lock()
        limit = max(MAX_CACHED_MASK_BYTES, MIN_CACHED_MASKS * MAX_ROW_BYTES * len(table))
        self._cache: ByteCache[RowMask] = ByteCache(limit)
        self._weak: WeakValueDictionary[bytes, RowMask] = WeakValueDictionary()

    def masks(self, where: FilterSpec | Sequence[FilterSpec], queries: int) -> RowMask:
        """Return the rows that each query may reach; equal filters share a mask.

        Args:
            where: One filter for all queries, or a list with one filter (or None) for each.

        Raises:
            InputError: The list has another length, or a filter has an unknown field.
        """
        if where is None or isinstance(where, Mapping | Selection):
            return self.mask(where)
        if isinstance(where, str | bytes | Set) or not is_listable(where):
            as_filter(where)  # raises InputError
        where = list(where)
        if len(where) != queries:
            raise InputError(
                f"where: {counted(len(where), 'filter')} for "
                f"{counted(queries, 'query', 'queries')}; "
                "give one (or None) for each"
            )
        names = [filter_digest(one) for one in where]
        distinct = dict(zip(names, where, strict=True))
        places = {name: place for place, name in enumerate(distinct)}
        parts = [self.mask(one) for one in distinct.values()]
        if len(parts) == 1:
            return parts[0]
        return RowMask.join(parts, [places[name] for name in names])

    def cached(self, spec: FilterSpec) -> RowMask | None:
        """Return the cached mask of a filter, or None; never waits for its computation."""
        with self._lock:
            return self._find(filter_digest(spec))

    def mask(self, spec: FilterSpec) -> RowMask:
        """Return the mask of a filter; computes it if it is not cached."""
        found = self.cached(spec)
        if found is None:
            closed = isinstance(spec, Selection) and spec.excluded
            rows = _rows(self._table, self._documents, spec)
            found = RowMask.build([rows], restrict_scores=closed)
        name, size = filter_digest(spec), found.bytes + sum(mask.nbytes for mask in found.masks)
        with self._lock:
            self._cache.put(name, found, size)
            self._weak[name] = found
        return found

    def _find(self, name: bytes) -> RowMask | None:
        return self._cache.get(name) or self._weak.get(name)


def filter_digest(spec: FilterSpec) -> bytes:
    """Return a digest that is equal for equal filters only."""
    if isinstance(spec, Selection):
        return spec.name
    return digest_of(repr({} if spec is None else dict(as_filter(spec))))


def _rows(table: IdentifierTable, documents: DocumentStore, spec: FilterSpec) -> Mask:
    """Return the live rows that pass, bool [rows]. Raises InputError for an unknown field."""
    if isinstance(spec, Selection):
        return selected_rows(table, documents, spec)
    where = {} if spec is None else as_filter(spec)
    if not where:
        return table.live
    live: Mask = table.live & _matching(table, documents, where)[table.documents]
    return live


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
