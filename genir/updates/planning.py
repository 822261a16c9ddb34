"""Preparation of documents for a change: validation, embedding and identifier assignment."""

from collections.abc import Container, Iterable, Mapping, Sequence
from copy import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genir.corpus.json_lines import shorten
from genir.corpus.serialization import documents_of, query_of
from genir.errors import InputError
from genir.identifiers.units import has_units, unit_documents, unit_spans
from genir.identifiers.used_identifiers import UsedIdentifiers
from genir.models.insertion import ExistingDocuments, Insertable, NewDocument
from genir.tasks.base import TrainQueries
from genir.types import Document, Identifier
from genir.updates.changes import Upsert, as_row
from genir.updates.loaded_model import LoadedModel

NewEmbeddings = dict[str, NewDocument | NDArray[np.float32]]
"""New embeddings by key: document rows, or vectors from which the scheme derives identifiers."""


def validate_documents(documents: Any) -> dict[str, Document]:
    """Return validated documents by key. Raises InputError as `documents_of` does."""
    return {document.key: document for document in documents_of(documents)}


def queries_by_key(given: Any, keys: Container[str]) -> dict[str, list[str]]:
    """Validate the queries of documents, by key; a string counts as a list of one.

    Raises:
        InputError: a key is not in `keys`, or a query is empty or not text.
    """
    if not isinstance(given, Mapping):
        raise InputError(f"queries {shorten(given)}: give a dict from key to a list of queries")
    found: dict[str, list[str]] = {}
    for key, texts in given.items():
        if key not in keys:
            raise InputError(f"queries: {shorten(key)} is not the key of a given document")
        if not isinstance(texts, str | list | tuple):
            raise InputError(f"queries of {key!r}: {shorten(texts)} is not a list of strings")
        listed = [texts] if isinstance(texts, str) else texts
        found[key] = [query_of({"_id": key, "text": text}, "queries").text for text in listed]
    return found


def refuse_unread_vectors(target: LoadedModel, documents: Iterable[Document]) -> None:
    """Raise InputError if documents have vectors, which the model does not take."""
    if not target.model.takes_vectors and any(one.vector is not None for one in documents):
        raise InputError("vectors: this model reads texts only; add the documents without them")


def embed_documents(
    target: LoadedModel, documents: Sequence[Document], queries: TrainQueries
) -> NewEmbeddings:
    """Embed documents: rows for atomic identifiers, vectors for a scheme that needs them, or {}."""
    if not documents or not (target.model.has_document_rows or target.scheme.needs_vectors):
        return {}
    made: Iterable[NewDocument | NDArray[np.float32]]
    if isinstance(target.model, Insertable) and target.model.has_document_rows:
        units = unit_documents(documents, target.scheme.options)
        rows = target.model.init_rows(units, queries, insertion_context(target, documents))
        made = _joined(units, rows)
    else:
        made = target.model.document_vectors(documents, queries)
    return {one.key: row for one, row in zip(documents, made, strict=True)}


def _joined(units: Sequence[Document], rows: Sequence[NewDocument]) -> list[NewDocument]:
    """Return the rows of documents from the rows of their units."""
    parts: dict[str, list[NewDocument]] = {}
    for unit, row in zip(units, rows, strict=True):
        parts.setdefault(unit.key, []).append(row)
    return [NewDocument.join(own) for own in parts.values()]


def insertion_context(target: LoadedModel, documents: Sequence[Document]) -> ExistingDocuments:
    """Return the live identifiers and protected queries, without the documents to be replaced."""
    table, protected = target.index.table, target.index.protected_queries
    replaced = [table.number(one.key) for one in documents if one.key in table]
    stays = table.live & ~np.isin(table.documents, replaced)
    rivals = np.zeros(target.scheme.level_sizes()[0], dtype=bool)
    rivals[table.symbols[stays, 0]] = True
    if protected is None:
        return ExistingDocuments(rivals)
    numbers = np.full(len(table.keys), -1)
    numbers[table.documents[stays]] = table.documents[stays]
    return ExistingDocuments(rivals, protected.renumber(numbers))


def plan_upserts(
    target: LoadedModel,
    documents: Sequence[Document],
    embeddings: NewEmbeddings,
    queries: TrainQueries,
) -> list[Upsert]:
    """Assign unused identifiers to documents. Raises InputError if none is left."""
    if not documents:
        return []
    keys, table, scheme = [one.key for one in documents], target.index.table, target.scheme
    free = [table.number(key) for key in keys if key in table]
    vectors = np.stack([_vector(embeddings[key]) for key in keys]) if scheme.needs_vectors else None
    # Encode with a copy: a failed change must not reserve identifiers in the scheme.
    used = UsedIdentifiers(table, free)
    identifiers: list[list[Identifier]] = copy(scheme).encode(documents, vectors, used)
    return [
        Upsert(
            document,
            own,
            as_row(embeddings[document.key]) if target.model.has_document_rows else None,
            len(queries.get(document.key, ())),
            unit_spans(document.text, scheme.options) if has_units(scheme.options) else None,
        )
        for document, own in zip(documents, identifiers, strict=True)
    ]


def _vector(embeddings: NewDocument | NDArray[np.float32]) -> NDArray[np.float32]:
    assert not isinstance(embeddings, NewDocument)
    return embeddings
