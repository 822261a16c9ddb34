"""Preparation of documents for a change: validation, embedding and identifier assignment."""

from collections.abc import Container, Iterable, Mapping, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from genir.corpus.documents import documents_of, query_of
from genir.corpus.lines import shorten
from genir.errors import InputError
from genir.identifiers.taken import Taken
from genir.living.changes import Put
from genir.models.guards import NewRow, Standing
from genir.records import Document, Identifier
from genir.tasks.base import TrainQueries

if TYPE_CHECKING:
    from genir.living.collection import Living

Made = dict[str, NewRow | NDArray[np.float32]]
"""New embeddings by key: document rows, or vectors from which the scheme derives identifiers."""


def checked(documents: Any) -> dict[str, Document]:
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


def vectors_of(living: "Living", documents: Sequence[Document], queries: TrainQueries) -> Made:
    """Embed documents: rows for atomic identifiers, vectors for a scheme that needs them, or {}."""
    if not documents or not (living.model.makes_rows or living.scheme.needs_vectors):
        return {}
    made: Iterable[NewRow | NDArray[np.float32]]
    if living.model.makes_rows:
        made = living.model.new_rows(documents, queries, standing_for(living, documents))
    else:
        made = living.model.document_vectors(documents, queries)
    return {one.key: row for one, row in zip(documents, made, strict=True)}


def standing_for(living: "Living", documents: Sequence[Document]) -> Standing:
    """Return the live identifiers and protected queries, without the documents to be replaced."""
    replaced = [living.table.number(one.key) for one in documents if one.key in living.table]
    stays = living.table.live & ~np.isin(living.table.documents, replaced)
    rivals = np.zeros(living.scheme.level_sizes()[0], dtype=bool)
    rivals[living.table.symbols[stays, 0]] = True
    if living.guards is None:
        return Standing(rivals)
    numbers = np.full(len(living.table.keys), -1)
    numbers[living.table.documents[stays]] = living.table.documents[stays]
    return Standing(rivals, living.guards.renumber(numbers))


def puts_of(
    living: "Living", documents: Sequence[Document], made: Made, queries: TrainQueries
) -> list[Put]:
    """Assign unused identifiers to documents. Raises InputError if none is left."""
    keys = [document.key for document in documents]
    if not keys:
        return []
    free = [living.table.number(key) for key in keys if key in living.table]
    vectors = (
        np.stack([_vector(made[key]) for key in keys]) if living.scheme.needs_vectors else None
    )
    # Encode with a copy: a failed change must not reserve identifiers in the scheme.
    identifiers: list[list[Identifier]] = copy(living.scheme).encode(
        documents, vectors, Taken(living.table, free)
    )
    return [
        Put(
            document,
            own,
            as_row(made[document.key]) if living.model.makes_rows else None,
            len(queries.get(document.key, ())),
        )
        for document, own in zip(documents, identifiers, strict=True)
    ]


def _vector(made: NewRow | NDArray[np.float32]) -> NDArray[np.float32]:
    assert not isinstance(made, NewRow)
    return made


def as_row(made: NewRow | NDArray[np.float32] | None) -> NewRow:
    """Return an embedding as a row; the model must have document rows."""
    assert isinstance(made, NewRow)
    return made
