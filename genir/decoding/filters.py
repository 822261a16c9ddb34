"""From what users ask for (metadata, keys) to masks over the rows of the identifier table."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from genir.corpus.store import DocumentStore
from genir.decoding.masks import LiveRows, Mask
from genir.errors import InputError
from genir.identifiers.table import IdentifierTable
from genir.records import Filter


def passing_rows(
    table: IdentifierTable,
    documents: DocumentStore,
    where: Filter | None = None,
    allow: Collection[str] | None = None,
    deny: Collection[str] = (),
) -> Mask:
    """Return the rows that may be found, bool [rows]: of live documents that pass.

    where: conditions on metadata. allow: keys of the only documents that may be found. deny: keys
    of those that may not. Raises InputError for an unknown field or key.
    """
    if not where and allow is None and not deny:
        return table.live
    passing = documents.matching(where or {}) & ~_among(table, deny)
    if allow is not None:
        passing &= _among(table, allow)
    live: Mask = table.live & passing[table.documents]
    return live


def _among(table: IdentifierTable, keys: Collection[str]) -> Mask:
    """Tell which documents have one of the keys, bool [documents]."""
    among = np.zeros(len(table.keys), dtype=bool)
    among[[table.number(key) for key in keys]] = True
    return among


def live_rows(
    table: IdentifierTable,
    documents: DocumentStore,
    where: Filter | Sequence[Filter | None] | None,
    queries: int,
) -> LiveRows:
    """Return the rows that each query may find; equal filters share a mask.

    where: of all queries, or a list with one, or None, for each. Raises InputError for a list of
    another length and for an unknown field.
    """
    if where is None or isinstance(where, Mapping):
        return LiveRows.build([passing_rows(table, documents, where)])
    if len(where) != queries:
        raise InputError(f"{len(where)} filters for {queries} queries; give one (or None) for each")
    texts = [repr(dict(one or {})) for one in where]
    distinct = dict(zip(texts, where, strict=True))
    places = {text: place for place, text in enumerate(distinct)}
    masks = [passing_rows(table, documents, one) for one in distinct.values()]
    return LiveRows.build(masks, [places[text] for text in texts])
