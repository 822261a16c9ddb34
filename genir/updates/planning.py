"""Preparation of documents for a change: validation, embedding and identifier assignment."""

from collections.abc import Container, Iterable, Mapping, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from genir.corpus.json_lines import shorten
from genir.corpus.serialization import documents_of, query_of
from genir.errors import InputError
from genir.identifiers.used_identifiers import UsedIdentifiers
from genir.models.encoder_head.protected_queries import ExistingDocuments, NewDocument
from genir.tasks.base import TrainQueries
from genir.types import Document, Identifier
from genir.updates.changes import Upsert

if TYPE_CHECKING:
    from genir.updates.index import MutableIndex

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


def embed_documents(
    index: "MutableIndex", documents: Sequence[Document], queries: TrainQueries
) -> NewEmbeddings:
    """Embed documents: rows for atomic identifiers, vectors for a scheme that needs them, or {}."""
    if not documents or not (index.model.has_document_rows or index.scheme.needs_vectors):
        return {}
    made: Iterable[NewDocument | NDArray[np.float32]]
    if index.model.has_document_rows:
        made = index.model.init_rows(documents, queries, insertion_context(index, documents))
    else:
        made = index.model.document_vectors(documents, queries)
    return {one.key: row for one, row in zip(documents, made, strict=True)}


def insertion_context(index: "MutableIndex", documents: Sequence[Document]) -> ExistingDocuments:
    """Return the live identifiers and protected queries, without the documents to be replaced."""
    replaced = [index.table.number(one.key) for one in documents if one.key in index.table]
    stays = index.table.live & ~np.isin(index.table.documents, replaced)
    rivals = np.zeros(index.scheme.level_sizes()[0], dtype=bool)
    rivals[index.table.symbols[stays, 0]] = True
    if index.protected_queries is None:
        return ExistingDocuments(rivals)
    numbers = np.full(len(index.table.keys), -1)
    numbers[index.table.documents[stays]] = index.table.documents[stays]
    return ExistingDocuments(rivals, index.protected_queries.renumber(numbers))


def plan_upserts(
    index: "MutableIndex",
    documents: Sequence[Document],
    embeddings: NewEmbeddings,
    queries: TrainQueries,
) -> list[Upsert]:
    """Assign unused identifiers to documents. Raises InputError if none is left."""
    keys = [document.key for document in documents]
    if not keys:
        return []
    free = [index.table.number(key) for key in keys if key in index.table]
    vectors = (
        np.stack([_vector(embeddings[key]) for key in keys]) if index.scheme.needs_vectors else None
    )
    # Encode with a copy: a failed change must not reserve identifiers in the scheme.
    identifiers: list[list[Identifier]] = copy(index.scheme).encode(
        documents, vectors, UsedIdentifiers(index.table, free)
    )
    return [
        Upsert(
            document,
            own,
            as_row(embeddings[document.key]) if index.model.has_document_rows else None,
            len(queries.get(document.key, ())),
        )
        for document, own in zip(documents, identifiers, strict=True)
    ]


def _vector(embeddings: NewDocument | NDArray[np.float32]) -> NDArray[np.float32]:
    assert not isinstance(embeddings, NewDocument)
    return embeddings


def as_row(embeddings: NewDocument | NDArray[np.float32] | None) -> NewDocument:
    """Return an embedding as a row; the model must have document rows."""
    assert isinstance(embeddings, NewDocument)
    return embeddings
