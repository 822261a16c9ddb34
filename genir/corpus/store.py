"""Document store: a read-only SQLite file with the titles, texts and metadata of a collection.

Ranking does not need it; filters, snippets and the search page read it. `corpus.overlay` adds
changes.
"""

import json
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Self, overload

import numpy as np
from numpy.typing import NDArray

from genir.arguments import as_keys
from genir.atomic_dirs import fsync_parent
from genir.byte_cache import MIB, ByteCache, digest_of
from genir.corpus.metadata_filters import COLUMNS as FILTERED
from genir.corpus.metadata_filters import matching_rows
from genir.corpus.metadata_index import MetadataIndex
from genir.corpus.store_file import COLUMNS, check_file, fill, identity
from genir.corpus.structure import structure_of
from genir.errors import FolderError, InputError, did_you_mean
from genir.types import NO_STRUCTURE, Document, Filter, Link, Structure, as_filter

MAX_MASK_BYTES = 32 * MIB
"""Maximum size of the cached filter masks; least recently used ones are dropped."""
PREVIEW_CHARACTERS = 1 << 15
"""Maximum length of the start of a text that a hit keeps. Snippets read less of it; the limit
bounds the memory of an answer, which holds the texts of all of its hits."""


class Preview(NamedTuple):
    """The fields of a document that a hit shows; text: its start, or the whole if asked for."""

    title: str
    url: str
    text: str
    structure: Structure = NO_STRUCTURE


class DocumentStore(Sequence[Document]):
    """The documents of a collection on disk, by number (position) or by key. Thread-safe."""

    def __init__(self, path: str | Path) -> None:
        """Open a store.

        Raises:
            InputError: The file is missing or of another kind.
            FolderError: The file is damaged.
        """
        self.path = Path(path)
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._masks = mask_cache()
        self._index = MetadataIndex(self.path, self._rows)
        if not self.path.is_file():
            raise InputError(f"{self.path}: no document store here; check the path")
        self.identity = identity(self.path)
        try:
            check_file(self.path, self._rows)
            ends = "count(*), min(number), max(number)"
            self._length, first, last = next(self._rows(f"SELECT {ends} FROM documents"))
            if (first, last) != (0, self._length - 1):
                raise FolderError(f"{self.path}: damaged: documents are missing; restore it")
        except InputError:
            self.close()
            raise

    @classmethod
    def create(cls, path: str | Path, documents: Iterable[Document]) -> Self:
        """Write documents in their order to a new file, flush it to disk, and open it.

        Raises:
            InputError: The file exists, two documents have one key, there are no documents, or the
                disk is full. No file is left behind.
        """
        target = Path(path)
        if target.exists():
            raise InputError(f"{target}: exists; remove it or choose another name")
        part = target.with_name(f".{target.name}.{os.getpid()}.part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            part.unlink(missing_ok=True)
            fill(part, documents)
            part.replace(target)
            fsync_parent(target.parent)
        except (OSError, sqlite3.Error) as error:
            raise InputError(
                f"{target}: cannot be written ({error}); free space or choose another path"
            ) from error
        finally:
            for leftover in (part, part.with_name(part.name + "-journal")):
                leftover.unlink(missing_ok=True)
        return cls(target)

    def __len__(self) -> int:
        """Return the number of documents."""
        return self._length

    @overload
    def __getitem__(self, number: int) -> Document: ...
    @overload
    def __getitem__(self, number: slice) -> list[Document]: ...
    def __getitem__(self, number: int | slice) -> Document | list[Document]:
        """Return the document with a number, or the documents of a slice."""
        if isinstance(number, slice):
            wanted = list(range(*number.indices(self._length)))
            found = self.numbered(wanted)
            return [found[n] for n in wanted]
        place = int(number) + self._length if number < 0 else int(number)
        if not 0 <= place < self._length:
            raise IndexError(f"document {number} of {self._length}")
        return self.numbered([place])[place]

    def numbered(self, numbers: Sequence[int]) -> dict[int, Document]:
        """Return the documents with these numbers, by number; unknown numbers are left out."""
        rows = self._rows(
            f"SELECT number, {COLUMNS} FROM documents "
            "WHERE number IN (SELECT value FROM json_each(?))",
            json.dumps(list(numbers)),
        )
        return {row[0]: self._document(row[1:]) for row in rows}

    def metadata_of(self, numbers: Sequence[int]) -> dict[int, dict[str, Any]]:
        """Return the metadata of documents by number, without reading texts."""
        rows = self._rows(
            "SELECT number, key, metadata FROM documents "
            "WHERE number IN (SELECT value FROM json_each(?))",
            json.dumps(list(numbers)),
        )
        return {number: self._fields(key, metadata) for number, key, metadata in rows}

    def __iter__(self) -> Iterator[Document]:
        """Yield all documents in order, streamed from disk."""
        return map(self._document, self._rows(f"SELECT {COLUMNS} FROM documents ORDER BY number"))

    def __reduce__(self) -> tuple[type[Self], tuple[Path]]:
        """Pickle by path: worker processes open the file themselves."""
        return type(self), (self.path,)

    def find(self, key: str) -> Document | None:
        """Return the document with a key, or None."""
        return self.fetch([key]).get(key)

    def number(self, key: str) -> int:
        """Return a document's number. Raises InputError for an unknown key."""
        for (number,) in self._rows("SELECT number FROM documents WHERE key = ?", key):
            return int(number)
        raise InputError(f"{self.path}: no document with key {key!r}; check the key")

    def fetch(self, keys: str | Iterable[str]) -> dict[str, Document]:
        """Return documents by key, in the order of `keys`; unknown keys are left out.

        A string is one key.
        """
        keys = as_keys(keys)
        rows = self._rows(
            f"SELECT {COLUMNS} FROM documents WHERE key IN (SELECT value FROM json_each(?))",
            json.dumps(keys),
        )
        found = {document.key: document for document in map(self._document, rows)}
        return {key: found[key] for key in keys if key in found}

    def previews(
        self, keys: Sequence[str], strict: bool = False, whole: bool = False
    ) -> dict[str, Preview]:
        """Return the previews of documents by key, in one SQL query; unknown keys are left out.

        Args:
            keys: Keys of documents.
            strict: An unknown key raises FolderError.
            whole: Return whole texts, not their first `PREVIEW_CHARACTERS`.
        """
        found = self._previews(keys, whole)
        missing = next((key for key in keys if key not in found), None) if strict else None
        if missing is not None:
            raise FolderError(f"{self.path}: damaged: no document {missing!r}; restore it")
        return found

    def _previews(self, keys: Sequence[str], whole: bool) -> dict[str, Preview]:
        rows = self._rows(
            "SELECT key, title, url, text, structure FROM documents "
            "WHERE key IN (SELECT value FROM json_each(?))",
            json.dumps(keys),
        )
        found = {}
        for key, *values in rows:
            if not all(isinstance(value, str) for value in values):
                raise FolderError(
                    f"{self.path}: damaged: document {key!r}: a column is not text; restore it"
                )
            title, url, text, record = values
            structure = self._structure(key, text, record)
            if not whole:  # cut here: SQL's substr ends a text at a NUL
                start = len(text) - len(text.lstrip()) if text[:1].isspace() else 0
                text = text[start : start + PREVIEW_CHARACTERS]
            found[key] = Preview(title, url, text, structure)
        return found

    def keys(self) -> list[str]:
        """Return all keys in order."""
        keys = [""] * len(self)
        for key, number in self._rows("SELECT key, number FROM documents ORDER BY key"):
            keys[number] = key  # uses the key index; texts are not read
        return keys

    def matching(self, where: Filter, strict: bool = True) -> NDArray[np.bool_]:
        """Return the mask of the documents that pass a filter, bool [documents], read-only.

        The conditions on all fields must hold (see `corpus.metadata_filters`).

        Args:
            where: Field -> condition.
            strict: Whether an unknown field is an error; otherwise no document passes.

        Raises:
            InputError: Unknown operator, incomparable value or, if strict, unknown field.
        """
        where = as_filter(where)
        if strict:
            self._refuse_unknown(where)
        name = digest_of(json.dumps(where))
        with self._lock:
            masks = self._masks
            mask = masks.get(name)
        if mask is None:
            mask = self._matching_mask(where)
            mask.setflags(write=False)
            with self._lock:
                masks.put(name, mask)
        return mask

    def _matching_mask(self, where: Filter) -> NDArray[np.bool_]:
        mask = np.ones(self._length, dtype=bool)
        for field, condition in where.items():
            mask &= matching_rows(field, condition, self.having)
        return mask

    def _refuse_unknown(self, where: Filter) -> None:
        known = dict.fromkeys(self.metadata_fields() if where else ())
        for field in where:
            if field not in known and field not in FILTERED:
                raise InputError(self.unknown_field(field, known))

    def unknown_field(self, field: str, known: Iterable[str]) -> str:
        """Return why a filter cannot use a field: it is unknown or has no comparable value.

        known: the metadata fields that a filter may name, besides title and url.
        """
        known = {*known, *FILTERED}
        if self.has_field(field):
            return (
                f"metadata field {field!r:.200} has only objects, nested lists or empty "
                f"lists as values, which filters cannot compare{did_you_mean(field, known)}"
            )
        return f"unknown metadata field {field!r:.200}{did_you_mean(field, known)}"

    def metadata_fields(self) -> list[str]:
        """Return the filterable metadata fields, sorted."""
        return self._index.names()

    def has_field(self, field: str) -> bool:
        """Return whether any document, also a replaced one, has a field, filterable or not."""
        return self._index.has(field)

    def field_types(self, field: str) -> set[str]:
        """Return the types of a field's values: `text`, `number`, `boolean`; empty if unknown."""
        return {"text"} if field in FILTERED else self._index.types(field)

    def field_values(self, field: str, most: int) -> Iterator[tuple[Any, int]]:
        """Yield up to `most` (value, document number) pairs of a field."""
        return self._index.values(field, most)

    def having(self, field: str, sql: str, values: Sequence[Any]) -> NDArray[np.bool_]:
        """Return the documents with a value of a field that passes a test, bool [documents]."""
        numbers = self._index.having(field, sql, values)
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < self._length:
            raise FolderError(f"{self.path}: damaged: a field belongs to no document; restore it")
        mask = np.zeros(self._length, dtype=bool)
        mask[numbers] = True
        return mask

    def _document(self, row: tuple[Any, ...]) -> Document:
        try:
            key, title, text, url, links, metadata, record = row
            if not all(isinstance(value, str) for value in row):
                raise TypeError("a column is not text")
            fields = self._fields(key, metadata)
            spans = tuple(Link(**link) for link in json.loads(links)) if links else ()
            structure = self._structure(key, text, record)
            return Document(key, text, title, url, spans, MappingProxyType(fields), structure)
        except (TypeError, ValueError, RecursionError) as error:
            raise FolderError(
                f"{self.path}: damaged: document {row[0]!r} cannot be read ({error}); restore it"
            ) from None

    def _structure(self, key: str, text: str, record: str) -> Structure:
        if not record:
            return NO_STRUCTURE
        try:
            return structure_of(json.loads(record), text, "")
        except (ValueError, RecursionError, InputError) as error:
            raise FolderError(
                f"{self.path}: damaged: document {key!r} cannot be read ({error}); restore it"
            ) from None

    def _fields(self, key: str, metadata: str) -> dict[str, Any]:
        try:
            fields = json.loads(metadata)
            if not isinstance(fields, dict):
                raise TypeError("its metadata are not an object")
        except (TypeError, ValueError, RecursionError) as error:
            raise FolderError(
                f"{self.path}: damaged: document {key!r} cannot be read ({error}); restore it"
            ) from None
        return fields

    def close(self) -> None:
        """Close the connections of all threads; the next use opens new ones."""
        with self._lock:
            for connection in self._connections:
                connection.close()
            self._connections.clear()
            self._local = threading.local()

    def _rows(self, query: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        try:
            yield from self._connection().execute(query, values)
        except UnicodeEncodeError as error:
            raise InputError(
                f"{error.object!a} contains an unpaired surrogate, so no document can match it"
            ) from None
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            raise FolderError(
                f"{self.path}: damaged, or not a document store ({error}); "
                "restore it or train again"
            ) from None

    @property
    def replaced(self) -> bool:
        """Whether another file has replaced this one."""
        with suppress(OSError):
            return identity(self.path) != self.identity
        return False

    def _connection(self) -> sqlite3.Connection:
        """Return this thread's connection; a forked process must not use its parent's.

        A file that was written to, for example restored in place, is opened again: SQLite may have
        cached old pages. A file that was replaced by another stays open.
        """
        process, written = os.getpid(), self._written()
        if getattr(self._local, "process", None) == process and written not in (
            None, self._local.written
        ):  # fmt: skip
            self._unregister()
        if getattr(self._local, "process", None) != process:
            uri = f"{self.path.resolve().as_uri()}?mode=ro"
            connection = sqlite3.connect(uri, uri=True, check_same_thread=False)
            if identity(self.path) != self.identity:  # numbers would refer to other documents
                connection.close()
                raise FolderError(f"{self.path}: replaced by another file; load the folder again")
            self._local.connection = connection
            self._local.process, self._local.written = process, written
            with self._lock:
                self._connections.append(self._local.connection)
        own: sqlite3.Connection = self._local.connection
        return own

    def _written(self) -> tuple[int, ...] | None:
        """Return a stamp that changes when the file is written to; None if it is gone."""
        with suppress(OSError):
            status = self.path.stat()
            if (status.st_dev, status.st_ino) == self.identity:
                return status.st_mtime_ns, status.st_ctime_ns, status.st_size
        return None

    def _unregister(self) -> None:
        with self._lock, suppress(ValueError):  # `close` may have removed it
            self._connections.remove(self._local.connection)
        self._local.connection.close()
        self._local.process = None


def mask_cache() -> ByteCache[NDArray[np.bool_]]:
    """Return an empty cache of filter masks by filter digest."""
    return ByteCache(MAX_MASK_BYTES)
