"""From what users ask for (metadata, keys) to masks over the rows of the identifier table."""

import threading
from collections.abc import Collection, Mapping, Sequence, Set
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from genir.arguments import as_keys, is_listable
from genir.byte_cache import MIB, ByteCache, digest_of
from genir.corpus.store import DocumentStore
from genir.decoding.masks import LiveRows, Mask
from genir.errors import InputError
from genir.identifiers.table import IdentifierTable
from genir.records import Filter, Selection, as_filter

MAX_ROW_BYTES = 3
"""Bytes of a mask a row of the table, at most: a boolean, and the distance to the next live row."""
Wanted = Filter | Selection | None
"""Which documents a query may find; None for all."""
MAX_KEPT_BYTES = 64 * MIB
"""Bytes of masks that are kept, those asked last."""
MIN_KEPT = 8
"""Masks that are kept of a table however large: one of them is that of all live rows."""


class RowMasks:
    """The masks of filters over a table, made once until a document comes, goes or changes.

    Safe to use from several threads. A mask that somebody still holds is found again even where the
    cache has no room for it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._live: Mask | None = None
        self._kept: ByteCache[LiveRows] = ByteCache(MAX_KEPT_BYTES)
        self._held: WeakValueDictionary[bytes, LiveRows] = WeakValueDictionary()

    def live_rows(
        self,
        table: IdentifierTable,
        documents: DocumentStore,
        where: Wanted | Sequence[Wanted],
        queries: int,
    ) -> LiveRows:
        """Return the rows that each query may find; equal filters share a mask.

        where: of all queries, or a list with one, or None, for each. Raises InputError for a list
        of another length, and for an unknown field of a filter that is no Selection.
        """
        if where is None or isinstance(where, Mapping | Selection):
            return self.mask(table, documents, where)
        where = _listed(where)
        if len(where) != queries:
            raise InputError(
                f"{len(where)} filters for {queries} queries; give one (or None) for each"
            )
        names = [name_of(one) for one in where]
        distinct = dict(zip(names, where, strict=True))
        places = {name: place for place, name in enumerate(distinct)}
        parts = [self.mask(table, documents, one) for one in distinct.values()]
        if len(parts) == 1:
            return parts[0]
        return LiveRows.join(parts, [places[name] for name in names])

    def known(self, table: IdentifierTable, wanted: Wanted) -> LiveRows | None:
        """Return the mask of a filter if it is there; never waits for its computation."""
        name = name_of(wanted)
        with self._lock:
            return self._find(name) if self._live is table.live else None

    def mask(self, table: IdentifierTable, documents: DocumentStore, wanted: Wanted) -> LiveRows:
        """Return the mask of a filter, computed if it is not there."""
        # A change of the documents gives the table another live mask, so a mask made for `live` is
        # never used after one, whatever thread makes it.
        live, name = table.live, name_of(wanted)
        with self._lock:
            found = self._find(name) if self._live is live else None
        if found is None:
            closed = isinstance(wanted, Selection) and wanted.closed
            found = LiveRows.build([_rows(table, documents, wanted)], closed=closed)
        with self._lock:
            if self._live is not live:
                self._live = live
                self._kept.clear()
                self._held.clear()
                self._kept.limit = max(MAX_KEPT_BYTES, MIN_KEPT * MAX_ROW_BYTES * len(live))
            size = found.bytes + sum(mask.nbytes for mask in found.masks)
            self._kept.put(name, found, size)
            self._held[name] = found
        return found

    def _find(self, name: bytes) -> LiveRows | None:
        return self._kept.get(name) or self._held.get(name)


def _listed(where: Any) -> list[Wanted]:
    """Return filters, one for each query, as a list. Raises InputError for a text or a number."""
    if isinstance(where, str | bytes | Set) or not is_listable(where):
        as_filter(where)
    return list(where)


def name_of(wanted: Wanted) -> bytes:
    """Return a digest that equal filters share, and none that differ."""
    if isinstance(wanted, Selection):
        return wanted.name
    return digest_of(repr({} if wanted is None else dict(as_filter(wanted))))


def _rows(table: IdentifierTable, documents: DocumentStore, wanted: Wanted) -> Mask:
    if isinstance(wanted, Selection):
        return selected_rows(table, documents, wanted)
    return passing_rows(table, documents, wanted)


def selected_rows(table: IdentifierTable, documents: DocumentStore, selection: Selection) -> Mask:
    """Return the rows that a selection lets through, bool [rows]: of live documents that pass.

    Raises InputError for conditions that cannot be tested.
    """
    passing = np.ones(len(table.keys), dtype=bool)
    for where in selection.where:
        passing &= _matching(table, documents, where, strict=False)
    for allow in selection.allow:
        passing &= _among(table, [key for key in allow if key in table])
    passing &= ~_among(table, [key for key in selection.deny if key in table])
    live: Mask = table.live & passing[table.documents]
    return live


def passing_rows(
    table: IdentifierTable,
    documents: DocumentStore,
    where: Filter | None = None,
    allow: Collection[str] | None = None,
    deny: Collection[str] = (),
) -> Mask:
    """Return the rows that may be found, bool [rows]: of live documents that pass.

    where: conditions on metadata. allow: keys of the only documents that may be found. deny: keys
    of those that may not; a string is one key. Raises InputError for an unknown field or key.
    """
    allow, deny = None if allow is None else as_keys(allow, "allow"), as_keys(deny, "deny")
    where = {} if where is None else as_filter(where)
    if not where and allow is None and not deny:
        return table.live
    passing = _matching(table, documents, where) & ~_among(table, deny)
    if allow is not None:
        passing &= _among(table, allow)
    live: Mask = table.live & passing[table.documents]
    return live


def _matching(
    table: IdentifierTable, documents: DocumentStore, where: Filter, strict: bool = True
) -> Mask:
    """Return which documents of the table pass, bool [documents].

    In another thread than the one that applies changes, the store may be ahead of the table.
    """
    return documents.matching(where, strict)[: len(table.keys)]


def _among(table: IdentifierTable, keys: Collection[str]) -> Mask:
    """Tell which documents have one of the keys, bool [documents]."""
    among = np.zeros(len(table.keys), dtype=bool)
    among[[table.number(key) for key in keys]] = True
    return among
