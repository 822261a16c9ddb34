"""Document store with an in-memory overlay of documents added or replaced since it was written."""

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genir.arguments import as_keys
from genir.corpus.metadata_index import MetadataIndex
from genir.corpus.store import DocumentStore, Preview, mask_cache
from genir.corpus.store_file import SCHEMA, insert
from genir.errors import InputError
from genir.types import Document


class MemoryStore(DocumentStore):
    """In-memory documents by number, queried with the same SQL as the store on disk."""

    def __init__(self) -> None:
        self.path = Path(":memory:")
        self._lock = threading.Lock()
        self._masks = mask_cache()
        self._index = MetadataIndex(self.path, self._rows)
        self._length = 0
        # One connection for all threads; SQLite serializes their calls.
        self._memory = sqlite3.connect(":memory:", check_same_thread=False)
        self._memory.executescript(SCHEMA)

    def upsert(self, documents: Mapping[int, Document]) -> None:
        """Insert documents under their numbers, or replace the existing ones."""
        with self._lock, self._memory as connection:
            for number, document in documents.items():
                connection.execute("DELETE FROM documents WHERE number = ?", (number,))
                connection.execute("DELETE FROM fields WHERE number = ?", (number,))
                insert(connection, number, document)
            # Within the lock: a number that another thread reads must be below the length.
            self._length = max([self._length, *(number + 1 for number in documents)])

    def numbers(self) -> list[int]:
        """Return the numbers of the documents in order."""
        return [number for (number,) in self._rows("SELECT number FROM documents ORDER BY number")]

    def close(self) -> None:
        """Free the memory."""
        self._memory.close()

    def _rows(self, query: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        with self._lock:  # fetch all rows, so that no change happens between them
            return iter(self._memory.execute(query, values).fetchall())


class OverlayStore(DocumentStore):
    """A store on disk with additions, which replace documents of the same number."""

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        self._base_keys = self._length
        self._added = MemoryStore()

    def upsert(self, documents: Mapping[int, Document]) -> None:
        """Insert or replace documents by number; new numbers must continue from the length."""
        self._added.upsert(documents)
        self._length = max(self._base_keys, len(self._added))
        with self._lock:
            self._masks = mask_cache()  # a new cache, so that a mask in the making is discarded

    def numbered(self, numbers: Sequence[int]) -> dict[int, Document]:
        """Return the documents with these numbers; unknown numbers are left out."""
        return super().numbered(numbers) | self._added.numbered(numbers)

    def metadata_of(self, numbers: Sequence[int]) -> dict[int, dict[str, Any]]:
        """Return the metadata of documents by number; unknown numbers are left out."""
        return super().metadata_of(numbers) | self._added.metadata_of(numbers)

    def __iter__(self) -> Iterator[Document]:
        """Yield all documents in order."""
        added = dict(zip(self._added.numbers(), self._added, strict=True))
        for number, document in enumerate(super().__iter__()):
            yield added.get(number, document)
        yield from (document for number, document in added.items() if number >= self._base_keys)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by path: worker processes open the file themselves."""
        documents = dict(zip(self._added.numbers(), self._added, strict=True))
        return _copy_on_write, (type(self), self.path, documents)

    def number(self, key: str) -> int:
        """Return a document's number. Raises InputError for an unknown key."""
        try:
            return self._added.number(key)
        except InputError:
            return super().number(key)

    def fetch(self, keys: str | Iterable[str]) -> dict[str, Document]:
        """Return documents by key, in the order of `keys`; unknown keys are left out."""
        keys = as_keys(keys)
        found = super().fetch(keys) | self._added.fetch(keys)
        return {key: found[key] for key in keys if key in found}

    def _previews(self, keys: Sequence[str], whole: bool) -> dict[str, Preview]:
        return super()._previews(keys, whole) | self._added._previews(keys, whole)

    def keys(self) -> list[str]:
        """Return all keys in order."""
        appended = self._added.numbered(range(self._base_keys, self._length))
        return [*super().keys(), *(appended[number].key for number in sorted(appended))]

    def metadata_fields(self) -> list[str]:
        """Return the filterable metadata fields, sorted."""
        return sorted({*super().metadata_fields(), *self._added.metadata_fields()})

    def has_field(self, field: str) -> bool:
        """Return whether any document, replaced ones included, has a metadata field."""
        return super().has_field(field) or self._added.has_field(field)

    def field_types(self, field: str) -> set[str]:
        """Return the types of a field's values, replaced documents included."""
        return super().field_types(field) | self._added.field_types(field)

    def field_values(self, field: str, most: int) -> Iterator[tuple[Any, int]]:
        """Yield up to `most` (value, document number) pairs of a field."""
        hidden = set(self._added.numbers())
        yield from self._added.field_values(field, most)
        for value, number in super().field_values(field, most):
            if number not in hidden:
                yield value, number

    def having(self, field: str, sql: str, values: Sequence[Any]) -> NDArray[np.bool_]:
        """Return the documents with a value of a field that passes a test, bool [documents]."""
        mask = super().having(field, sql, values)
        # Documents that another thread adds meanwhile are beyond the mask.
        hidden = np.array(self._added.numbers(), dtype=np.int64)
        mask[hidden[hidden < len(mask)]] = False
        added = self._added.having(field, sql, values)[: len(mask)]
        mask[: len(added)] |= added
        return mask


def _copy_on_write(kind: type[OverlayStore], path: Path, documents: Mapping[int, Document]) -> Any:
    store = kind(path)
    store.upsert(documents)
    return store
