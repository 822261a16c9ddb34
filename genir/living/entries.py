"""From documents to what the journal says of them: checked, placed, with identifiers."""

import json
from collections.abc import Iterable, Sequence
from copy import copy
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from genir.corpus.documents import document_of, record_of
from genir.errors import InputError
from genir.identifiers.taken import Taken
from genir.living.changes import Put
from genir.models.guards import NewRow, Standing
from genir.records import Document, Identifier
from genir.tasks.base import TrainQueries

if TYPE_CHECKING:
    from genir.living.collection import Living

Made = dict[str, NewRow | NDArray[np.float32]]
"""By key: rows of parameters, or the vectors that identifiers are made of."""


def checked(documents: Sequence[Document]) -> dict[str, Document]:
    """Return documents by key. Raises InputError for what no corpus file could hold."""
    given: dict[str, Document] = {}
    for number, document in enumerate(documents, 1):
        place = f"document {number}"
        try:
            text = json.dumps(record_of(document), ensure_ascii=False, allow_nan=False)
            text.encode()
        except (TypeError, ValueError) as error:
            raise InputError(f"{place} ({document.key!a}) cannot be stored: {error}") from None
        if document.key in given:
            raise InputError(f"{place}: the key {document.key!r} is given twice")
        given[document.key] = document_of(json.loads(text), place)
    return given


def vectors_of(living: "Living", documents: Sequence[Document], queries: TrainQueries) -> Made:
    """Return what documents are given by the model: rows, or vectors to make identifiers of."""
    if not documents or not (living.model.makes_rows or living.scheme.needs_vectors):
        return {}
    made: Iterable[NewRow | NDArray[np.float32]]
    if living.model.makes_rows:
        made = living.model.new_rows(documents, queries, standing_for(living, documents))
    else:
        made = living.model.document_vectors(documents, queries)
    return {one.key: row for one, row in zip(documents, made, strict=True)}


def standing_for(living: "Living", documents: Sequence[Document]) -> Standing:
    """Return what new documents have to reckon with: not what they are about to replace."""
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
    """Return documents with identifiers that are free. Raises InputError where there is none."""
    keys = [document.key for document in documents]
    if not keys:
        return []
    free = [living.table.number(key) for key in keys if key in living.table]
    vectors = (
        np.stack([_vector(made[key]) for key in keys]) if living.scheme.needs_vectors else None
    )
    # A copy, so that one whose change fails has given no identifier.
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
    """Return the row that must be there where identifiers have parameters of their own."""
    assert isinstance(made, NewRow)
    return made
