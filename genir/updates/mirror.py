"""Mirroring: the documents of a model are made equal to those of a corpus, as one change."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from genir.arguments import as_path
from genir.corpus.readers import holds_pages, read_corpus
from genir.corpus.serialization import record_json
from genir.errors import InputError
from genir.identifiers.units import spans_of
from genir.models.insertion import Insertable, NewDocument
from genir.types import Document
from genir.updates.changes import Entry, SetLive, Upsert
from genir.updates.difference import MAX_DELETED_SHARE, Difference
from genir.updates.index import Index
from genir.updates.loaded_model import LoadedModel
from genir.updates.planning import (
    NewEmbeddings,
    embed_documents,
    plan_upserts,
    refuse_unread_vectors,
    validate_documents,
)
from genir.updates.snapshot import DOCUMENTS_PER_READ
from genir.updates.updates import Given, Updates


def mirror(
    updates: Updates,
    documents: str | Path | Given,
    max_deleted: float = MAX_DELETED_SHARE,
    dry_run: bool = False,
) -> Difference:
    """Make the live documents equal to the given ones, as one change; see `Retriever.mirror`."""
    if not 0 <= max_deleted <= 1:
        raise InputError(f"max_deleted = {max_deleted}: give a share from 0 to 1")
    if isinstance(documents, str | Path):
        path = as_path(documents, "documents")
        documents = read_corpus(path, updates.loaded.index.base_url if holds_pages(path) else "")
    given = validate_documents(documents)
    refuse_unread_vectors(updates.loaded, given.values())
    if updates.folder is not None:
        updates.sync()
    seen, made = updates.loaded, NewEmbeddings()
    difference = compare(seen.index, given)
    difference.refuse_deletions(max_deleted)
    if dry_run or difference.is_empty:
        return difference
    _embed(seen, difference, given, made)  # slow, hence before the write lock

    def make() -> list[Entry]:
        nonlocal difference
        loaded = updates.loaded
        if loaded is not seen:  # changed by another process
            difference = compare(loaded.index, given)
            difference.refuse_deletions(max_deleted)
        if loaded.scheme is not seen.scheme:  # folder replaced: the encoder may differ
            made.clear()
        _embed(loaded, difference, given, made)
        return _entries(loaded, difference, given, made)

    updates.commit("sync", make)
    return difference


def compare(index: Index, given: Mapping[str, Document]) -> Difference:
    """Return the difference between the live documents of an index and documents by key."""
    found, gone = Difference(), dict[bytes, list[Document]]()
    unchanged, known = 0, set[str]()
    for stored in _live_documents(index):
        known.add(stored.key)
        new = given.get(stored.key)
        if new is None:
            bare = Document(stored.key, "", stored.title)
            gone.setdefault(_text_digest(stored), []).append(bare)
        elif new.vector is None and record_json(stored) == record_json(new):
            unchanged += 1
        else:
            found.changed.append(stored.key)
            if (stored.title, stored.text) == (new.title, new.text) and new.vector is None:
                found.sources[new.key] = stored.key
    for new in (one for key, one in given.items() if key not in known):
        former = gone.get(_text_digest(new))
        if not former:
            found.added.append(new.key)
            continue
        old = former.pop(0)
        found.renamed[old.key] = new.key
        if old.title == new.title and new.vector is None:
            found.sources[new.key] = old.key
    left = {one.key for former in gone.values() for one in former}
    found.deleted.extend(sorted(left))
    return replace(found, unchanged=unchanged)


def _live_documents(index: Index) -> Iterator[Document]:
    """Yield the live documents in the order of their numbers."""
    numbers = np.flatnonzero(index.alive)
    for start in range(0, len(numbers), DOCUMENTS_PER_READ):
        chunk = numbers[start : start + DOCUMENTS_PER_READ].tolist()
        found = index.documents.numbered(chunk)
        yield from (found[number] for number in chunk)


def _text_digest(document: Document) -> bytes:
    return hashlib.sha256(document.text.encode()).digest()


def _embed(
    loaded: LoadedModel,
    difference: Difference,
    given: Mapping[str, Document],
    made: NewEmbeddings,
) -> None:
    """Embed the documents with a new title or text into `made`, as if deletions were applied.

    Raises:
        InputError: The model does not support insertions, or needs vectors.
    """
    puts = _puts(loaded.index, difference, given)
    if puts and (reason := loaded.insert_unsupported_reason):
        raise InputError(reason)
    fresh = [one for one in puts if one.key not in made and not _is_kept(loaded, difference, one)]
    made.update(embed_documents(_without(loaded, difference.deleted), fresh, {}))


def _is_kept(loaded: LoadedModel, difference: Difference, document: Document) -> bool:
    """Return whether a document keeps the rows of its source, or its own codes."""
    source, table = difference.sources.get(document.key), loaded.table
    if source is None:
        return False
    if table.spans is not None:  # the same text may have other sections
        former = table.spans[_rows_by_unit(loaded.index, source)]
        (spans,) = spans_of([document], loaded.scheme.options) or ([],)
        if not np.array_equal(former, spans):
            return False
    # A renamed document gets new codes: those of a deleted document stay reserved.
    return loaded.model.has_document_rows or (
        loaded.scheme.needs_vectors and table.spans is None and source == document.key
    )


def _without(loaded: LoadedModel, keys: list[str]) -> LoadedModel:
    """Return the model without some documents, which no longer compete with new ones."""
    table = loaded.table.with_live(map(loaded.table.number, keys), False)
    return replace(loaded, index=replace(loaded.index, table=table))


def _puts(index: Index, difference: Difference, given: Mapping[str, Document]) -> list[Document]:
    """Return the documents to insert or replace: all but the unchanged and restored ones."""
    restored = _restored(index, difference, given)
    keys = [*difference.added, *difference.changed, *difference.renamed.values()]
    return [given[key] for key in keys if key not in restored]


def _restored(index: Index, difference: Difference, given: Mapping[str, Document]) -> set[str]:
    """Return the keys of new documents that the index has as deleted ones, unchanged."""
    keys = [key for key in (*difference.added, *difference.renamed.values()) if key in index.table]
    stored = index.documents.fetch(keys)
    return {
        key
        for key, one in stored.items()
        if given[key].vector is None and record_json(one) == record_json(given[key])
    }


def _entries(
    loaded: LoadedModel,
    difference: Difference,
    given: Mapping[str, Document],
    made: NewEmbeddings,
) -> list[Entry]:
    """Return the entries of the change that makes the live documents equal to the given ones."""
    index, model = loaded.index, loaded.model
    entries: list[Entry] = [SetLive(key, live=True) for key in _restored(index, difference, given)]
    entries += [SetLive(key, live=False) for key in (*difference.deleted, *difference.renamed)]
    kept, planned = list[Upsert](), list[Document]()
    for document in _puts(index, difference, given):
        if not _is_kept(loaded, difference, document):
            planned.append(document)
        elif isinstance(model, Insertable) and model.has_document_rows:
            made[document.key] = _parameters(index, model, difference.sources[document.key])
            planned.append(document)
        else:
            number = index.table.number(document.key)
            kept.append(Upsert(document, index.table.identifiers_of(number)))
    counts = {key: int(index.query_counts[index.table.number(source)])
              for key, source in difference.sources.items()}  # fmt: skip
    upserts = [*kept, *plan_upserts(loaded, planned, made, {})]
    return [*entries, *(replace(one, queries=counts.get(one.key, 0)) for one in upserts)]


def _rows_by_unit(index: Index, key: str) -> NDArray[np.int64]:
    """Return the rows of a document in the table, in the order of its units."""
    rows = index.table.rows_of(index.table.number(key))
    return rows if index.table.spans is None else rows[np.argsort(index.table.spans[rows, 0])]


def _parameters(index: Index, model: Insertable, key: str) -> NewDocument:
    """Return the parameter rows of a document, and its protected queries as rows."""
    rows = model.copy_rows(index.table.symbols[_rows_by_unit(index, key), 0].astype(np.int64))
    protected = index.protected_queries
    if protected is None:
        return NewDocument(rows, np.zeros((0, rows.shape[1]), dtype=np.float32))
    own = protected.documents == index.table.number(key)
    return NewDocument(rows, protected.vectors[own])
