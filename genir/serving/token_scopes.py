"""The documents that a scoped token may search, read and change.

A document outside the scope gets the same error as a missing one. One exception: `add` refuses a
key that is used outside the scope, since all documents share one namespace of keys.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.exceptions import HTTPException

from genir.corpus.metadata_filters import COLUMNS, JSON_PREFIX
from genir.corpus.overlay import MemoryStore
from genir.serving.protocols import SearchModel
from genir.types import Document, Selection

MAX_SCOPED_VALUES = 100
"""Maximum number of values in a metadata field that a scope tests: each is tested by itself."""


def visible(served: SearchModel, scope: Selection | None) -> NDArray[np.bool_]:
    """Return a mask of the documents that a caller may find, bool [documents]."""
    from genir.decoding.filters import selected_rows  # imports torch

    table = served.table
    rows = table.live if scope is None else selected_rows(table, served.documents, scope)
    found = np.zeros(len(table.keys), dtype=bool)
    found[table.documents[rows]] = True
    return found


def known_fields(served: SearchModel, fields: Sequence[str], scope: Selection) -> list[str]:
    """Return the metadata fields that have a filterable value in some document of the scope."""
    seen = visible(served, scope)
    having = ((one, served.documents.having(one, "value < ?", [JSON_PREFIX])) for one in fields)
    return [one for one, mask in having if (mask[: len(seen)] & seen[: len(mask)]).any()]


def require_visible(served: SearchModel, keys: Sequence[str], scope: Selection | None) -> None:
    """Raise HTTPException 404 for a key that is not live or not visible to the caller."""
    table, seen = served.table, visible(served, scope)
    for key in keys:
        if key not in table or not seen[table.number(key)]:
            raise HTTPException(404, f"no document with the key {key!r:.200}")


def require_new(served: SearchModel, keys: Sequence[str]) -> None:
    """Raise HTTPException 409 for a key of a live document, inside the scope or not."""
    taken = next((key for key in keys if served.table.is_live(key)), None)
    if taken is not None:
        raise HTTPException(409, f"document {taken!r:.200} is there already; replace it")


def require_changeable(served: SearchModel, keys: Sequence[str], scope: Selection | None) -> None:
    """Raise HTTPException 404 or 403 for a document that the caller may not replace or delete.

    A document that also belongs to another scope, for example to a second tenant, is read-only.
    """
    require_visible(served, keys, scope)
    if scope is not None:
        require_in_scope(list(served.documents.fetch(keys).values()), scope)


def require_in_scope(documents: Sequence[Document], scope: Selection | None) -> None:
    """Raise HTTPException 403 for a document with any value outside the scope.

    Every element of a list must pass: another element would make it visible in another scope.
    """
    if scope is None:
        return
    for keys in scope.allow:
        for document in documents:
            if document.key not in keys:
                raise _outside(document.key)
    for where in scope.where:
        for field, condition in where.items():
            _refuse_failing(documents, field, condition)


def _refuse_failing(documents: Sequence[Document], field: str, condition: Any) -> None:
    probes = [(document.key, value) for document in documents for value in _values(document, field)]
    store = MemoryStore()
    try:
        store.upsert({n: _probe(str(n), field, value) for n, (_, value) in enumerate(probes)})
        passing = store.matching({field: condition}, strict=False)
    finally:
        store.close()
    for (key, _), passes in zip(probes, passing, strict=True):
        if not passes:
            raise _outside(key)


def _values(document: Document, field: str) -> Iterator[Any]:
    """Yield each value of a field as a list of one; an empty list if the field has no value."""
    if field in COLUMNS:
        yield [getattr(document, field)]
        return
    value = document.metadata.get(field, [])
    listed = value if isinstance(value, list | tuple) else [value]
    if len(listed) > MAX_SCOPED_VALUES:
        raise HTTPException(
            422,
            f"document {document.key!r:.200}: {len(listed):,} values of {field!r:.80}; a token "
            f"bound by this field may write at most {MAX_SCOPED_VALUES:,}",
        )
    yield from ([one] for one in listed) if listed else ([],)


def _probe(key: str, field: str, value: list[Any]) -> Document:
    if field in COLUMNS:
        return Document(key, "", **{field: value[0]})
    return Document(key, "", metadata={field: value})


def _outside(key: str) -> HTTPException:
    return HTTPException(
        403, f"document {key!r:.200} is outside the scope of this token, at least partly"
    )
