"""The metadata index of a document store, used by filters and facets."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genir.corpus.metadata_filters import BOOLEANS, COLUMNS, JSON_PREFIX
from genir.corpus.store_file import Rows
from genir.errors import FolderError

FIELDS_QUERY = """
WITH RECURSIVE walk(field) AS (
    SELECT min(field) FROM fields
    UNION ALL
    SELECT (SELECT min(field) FROM fields WHERE field > walk.field) FROM walk
    WHERE field IS NOT NULL
)
SELECT field FROM walk
WHERE EXISTS (SELECT 1 FROM fields WHERE fields.field = walk.field AND fields.value < ?)
"""
"""Distinct fields with a filterable value. A skip scan: DISTINCT would read the whole index."""
TYPES_QUERY = """
SELECT DISTINCT CASE typeof(value) WHEN 'text' THEN 'text' WHEN 'blob' THEN 'boolean'
ELSE 'number' END FROM fields WHERE field = ? AND value < ?
"""


class MetadataIndex:
    """The table `fields` of a document store: sorted rows (field, value, document number)."""

    def __init__(self, path: Path, rows: Rows) -> None:
        self._path = path
        self._rows = rows

    def names(self) -> list[str]:
        """Return the fields with a filterable value, sorted."""
        return [field for (field,) in self._rows(FIELDS_QUERY, JSON_PREFIX)]

    def has(self, field: str) -> bool:
        """Return whether any document has a field."""
        return any(self._rows("SELECT 1 FROM fields WHERE field = ? LIMIT 1", field))

    def types(self, field: str) -> set[str]:
        """Return the types of a field's values: `text`, `number`, `boolean`."""
        return {kind for (kind,) in self._rows(TYPES_QUERY, field, JSON_PREFIX)}

    def values(self, field: str, most: int) -> Iterator[tuple[Any, int]]:
        """Yield up to `most` (value, document number) pairs of a field.

        Raises FolderError for a value that is not a string, number or boolean.
        """
        query = "SELECT value, number FROM fields WHERE field = ? AND value <> ? LIMIT ?"
        for value, number in self._rows(query, field, JSON_PREFIX, most):
            if not isinstance(value, bytes):
                yield value, number
            elif value in BOOLEANS:
                yield value == BOOLEANS[True], number
            else:
                raise FolderError(
                    f"{self._path}: damaged: a value of {field!r} is not a text, number or "
                    "boolean; restore it"
                )

    def having(self, field: str, sql: str, values: Sequence[Any]) -> NDArray[np.int64]:
        """Return the numbers of the documents with a value of a field that passes a test.

        sql: expression on the column `value`, e.g. `value >= ?`. values: of its question marks.
        """
        if field in COLUMNS:
            source, own = f"SELECT number, {field} AS value FROM documents", []
        else:
            source, own = "SELECT number, value FROM fields WHERE field = ?", [field]
        rows = self._rows(f"SELECT number FROM ({source}) WHERE {sql}", *own, *values)
        return np.fromiter((number for (number,) in rows), dtype=np.int64)
