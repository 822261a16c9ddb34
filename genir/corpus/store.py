"""The document store: a read-only SQLite file with a collection's titles, texts and metadata.

Never consulted to rank; filters and result pages read it. `corpus.layers` lays changes over it.
"""

import json
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Self, overload

import numpy as np
from numpy.typing import NDArray

from genir.arguments import as_keys
from genir.corpus.conditions import COLUMNS as FILTERED
from genir.corpus.conditions import comparable, passing
from genir.corpus.documents import link_records
from genir.errors import FolderError, InputError, nearest
from genir.folders import flush_entry
from genir.records import Document, Filter, Link

APPLICATION = 0x67656E69  # "geni": marks the SQLite file as a document store
VERSION = 1
SCHEMA = f"""
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {VERSION};
PRAGMA synchronous = FULL;
CREATE TABLE documents (
    number INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, title TEXT NOT NULL, text TEXT NOT NULL,
    url TEXT NOT NULL, links TEXT NOT NULL, metadata TEXT NOT NULL
);
CREATE TABLE fields (
    field TEXT NOT NULL, value ANY NOT NULL, number INTEGER NOT NULL,
    PRIMARY KEY (field, value, number)
) STRICT, WITHOUT ROWID;
"""
BIT_TYPES = """
SELECT DISTINCT CASE WHEN CASE field.type WHEN 'array' THEN element.type ELSE field.type END
IN ('true', 'false') THEN 'boolean' ELSE 'number' END
FROM fields JOIN documents USING (number), json_each(metadata) AS field, json_each(
    CASE field.type WHEN 'array' THEN field.value ELSE '[0]' END
) AS element
WHERE fields.field = ? AND fields.value IN (0, 1) AND field.key = ? AND element.atom IN (0, 1)
"""
MASTER = "type, name, tbl_name, sql FROM sqlite_master"
COLUMNS = "key, title, text, url, links, metadata"
MASKS = 32
"""Filters whose masks are kept, those asked last."""


PREVIEW_CHARACTERS = 1 << 20
"""Characters of a text that a hit is shown from: an answer holds the texts of all of its hits."""


class Preview(NamedTuple):
    """What a hit shows of a document; text: its first `PREVIEW_CHARACTERS`."""

    title: str
    url: str
    text: str


class DocumentStore(Sequence[Document]):
    """A collection on disk, by number (its order) and by key. Safe to use from several threads."""

    def __init__(self, path: str | Path) -> None:
        """Open a store. Raises InputError when it is missing, truncated or something else."""
        self.path = Path(path)
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._masks: dict[str, NDArray[np.bool_]] = {}
        if not self.path.is_file():
            raise InputError(f"{self.path}: no document store here; check the path")
        self.identity = identity(self.path)
        try:
            self._refuse_foreign()
            self._length = self._one("SELECT count(*) FROM documents")
            self._refuse_gaps()
        except InputError:
            self.close()
            raise

    @classmethod
    def create(cls, path: str | Path, documents: Iterable[Document]) -> Self:
        """Write documents in their order to a new file, flush it to the disk, and open it.

        Raises InputError for an existing file, a duplicate key, no documents and a full disk; then
        nothing is left behind.
        """
        target = Path(path)
        if target.exists():
            raise InputError(f"{target}: exists; remove it or choose another name")
        part = target.with_name(f".{target.name}.{os.getpid()}.part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            part.unlink(missing_ok=True)
            _fill(part, documents)
            part.replace(target)
            flush_entry(target.parent)
        except (OSError, sqlite3.Error) as error:
            raise InputError(
                f"{target}: cannot be written ({error}); free space or choose another place"
            ) from error
        finally:
            for leftover in (part, part.with_name(part.name + "-journal")):
                leftover.unlink(missing_ok=True)
        return cls(target)

    def _refuse_foreign(self) -> None:
        """Raise InputError unless the file has the tables of a store, and no views or triggers."""
        application, version = self._one("PRAGMA application_id"), self._one("PRAGMA user_version")
        if (application, version) != (APPLICATION, VERSION):
            raise InputError(f"{self.path}: not a document store of this genir; make it again")
        found = sorted(self._rows(f"SELECT {MASTER}"), key=str)
        if found != schema_of(SCHEMA):
            raise InputError(
                f"{self.path}: not a document store of this genir (other tables, or views or "
                "triggers among them); make it again"
            )

    def _refuse_gaps(self) -> None:
        """Raise InputError unless the documents are numbered from 0."""
        first, last = (self._one(f"SELECT {end}(number) FROM documents") for end in ("min", "max"))
        if (first, last) != (0, self._length - 1):
            raise FolderError(f"{self.path}: damaged: documents are missing; restore it")

    def __len__(self) -> int:
        """Return the number of documents."""
        return self._length

    @overload
    def __getitem__(self, number: int) -> Document: ...
    @overload
    def __getitem__(self, number: slice) -> list[Document]: ...
    def __getitem__(self, number: int | slice) -> Document | list[Document]:
        """Return the document of a number, or those of a slice in its order."""
        if isinstance(number, slice):
            wanted = list(range(*number.indices(self._length)))
            found = self.numbered(wanted)
            return [found[n] for n in wanted]
        place = int(number) + self._length if number < 0 else int(number)
        if not 0 <= place < self._length:
            raise IndexError(f"document {number} of {self._length}")
        return self.numbered([place])[place]

    def numbered(self, numbers: Sequence[int]) -> dict[int, Document]:
        """Return the documents of the numbers that exist."""
        rows = self._rows(
            f"SELECT number, {COLUMNS} FROM documents "
            "WHERE number IN (SELECT value FROM json_each(?))",
            json.dumps(list(numbers)),
        )
        return {row[0]: self._document(row[1:]) for row in rows}

    def metadata_of(self, numbers: Sequence[int]) -> dict[int, dict[str, Any]]:
        """Return the metadata of the documents of the numbers that exist, without their texts."""
        rows = self._rows(
            "SELECT number, key, metadata FROM documents "
            "WHERE number IN (SELECT value FROM json_each(?))",
            json.dumps(list(numbers)),
        )
        return {number: self._fields(key, metadata) for number, key, metadata in rows}

    def __iter__(self) -> Iterator[Document]:
        """Yield all documents in order, streamed from the disk."""
        return map(self._document, self._rows(f"SELECT {COLUMNS} FROM documents ORDER BY number"))

    def __reduce__(self) -> tuple[type[Self], tuple[Path]]:
        """Let worker processes open the file for themselves."""
        return type(self), (self.path,)

    def find(self, key: str) -> Document | None:
        """Return the document of a key, if there is one."""
        return self.fetch([key]).get(key)

    def number(self, key: str) -> int:
        """Return a document's number. Raises InputError for an unknown key."""
        number = self._one("SELECT number FROM documents WHERE key = ?", key)
        if number is None:
            raise InputError(f"{self.path}: no document with key {key!r}; check the key")
        return int(number)

    def fetch(self, keys: str | Iterable[str]) -> dict[str, Document]:
        """Return the documents of the keys that exist, in one query, in the order of `keys`.

        A string is one key.
        """
        keys = as_keys(keys)
        rows = self._rows(
            f"SELECT {COLUMNS} FROM documents WHERE key IN (SELECT value FROM json_each(?))",
            json.dumps(keys),
        )
        found = {document.key: document for document in map(self._document, rows)}
        return {key: found[key] for key in keys if key in found}

    def previews(self, keys: Sequence[str], strict: bool = False) -> dict[str, Preview]:
        """Return title, URL and the beginning of the text of the keys that exist, in one query.

        Raises FolderError, if strict, for a key that does not exist.
        """
        found = self._previews(keys)
        missing = next((key for key in keys if key not in found), None) if strict else None
        if missing is not None:
            raise FolderError(f"{self.path}: damaged: no document {missing!r}; restore it")
        return found

    def _previews(self, keys: Sequence[str]) -> dict[str, Preview]:
        rows = self._rows(
            "SELECT key, title, url, text FROM documents "
            "WHERE key IN (SELECT value FROM json_each(?))",
            json.dumps(keys),
        )
        found = {}
        for key, *values in rows:
            if not all(isinstance(value, str) for value in values):
                raise FolderError(
                    f"{self.path}: damaged: document {key!r}: a column is not text; restore it"
                )
            title, url, text = values
            # Cut here: SQL's substr takes a NUL for the end of a text.
            found[key] = Preview(title, url, text[:PREVIEW_CHARACTERS])
        return found

    def keys(self) -> list[str]:
        """Return all keys in order."""
        keys = [""] * len(self)
        for key, number in self._rows("SELECT key, number FROM documents ORDER BY key"):
            keys[number] = key  # by the index of the keys: texts are not read
        return keys

    def metadata_fields(self) -> list[str]:
        """Return the metadata fields that a filter may name, sorted."""
        # Jumps from field to field in the index, where DISTINCT would read all of it.
        query = (
            "WITH RECURSIVE walk(field) AS (SELECT min(field) FROM fields UNION ALL "
            "SELECT (SELECT min(field) FROM fields WHERE field > walk.field) FROM walk "
            "WHERE field IS NOT NULL) SELECT field FROM walk WHERE field IS NOT NULL"
        )
        return [field for (field,) in self._rows(query)]

    def matching(self, where: Filter, strict: bool = True) -> NDArray[np.bool_]:
        """Return which documents pass a filter, bool [documents], not to be written to.

        Every field's condition must hold (`corpus.conditions` says what there is). Raises
        InputError for an unknown operator, naming the nearest, for a value that cannot be compared
        and, if strict, for an unknown field; else none has such a field.
        """
        if strict:
            self._refuse_unknown(where)
        text = json.dumps(where, default=repr)
        with self._lock:
            masks = self._masks
            mask = masks.pop(text, None)
        if mask is None:
            mask = self._passing(where)
            mask.setflags(write=False)
        with self._lock:
            masks[text] = mask  # the last asked stands last
            if len(masks) > MASKS:
                del masks[next(iter(masks))]
        return mask

    def _passing(self, where: Filter) -> NDArray[np.bool_]:
        mask = np.ones(self._length, dtype=bool)
        for field, condition in where.items():
            mask &= passing(field, condition, self.having)
        return mask

    def _refuse_unknown(self, where: Filter) -> None:
        known = dict.fromkeys(self.metadata_fields() if where else ())
        for field in where:
            if field not in known and field not in FILTERED:
                raise InputError(f"unknown metadata field {field!r}{nearest(field, known)}")

    def field_types(self, field: str) -> set[str]:
        """Return the types of a field's values: `text`, `number`, `boolean`; none if unknown."""
        if field in FILTERED:
            return {"text"}
        query = "SELECT DISTINCT typeof(value), value IN (0, 1) FROM fields WHERE field = ?"
        found = {
            ("text" if name == "text" else "number", bit) for name, bit in self._rows(query, field)
        }
        types = {name for name, bit in found if not bit}
        if ("number", 1) in found:  # in the index, true is 1
            types |= {kind for (kind,) in self._rows(BIT_TYPES, field, field)}
        return types

    def field_values(self, field: str, most: int) -> Iterator[tuple[Any, int]]:
        """Yield values of a metadata field, each with the number of a document that has it.

        most: how many are looked at; what lies behind is left out.
        """
        query = "SELECT value, number FROM fields WHERE field = ? LIMIT ?"
        for value, number in self._rows(query, field, most):
            if isinstance(value, bytes):
                raise FolderError(
                    f"{self.path}: damaged: a value of {field!r} is no text and no number; "
                    "restore it"
                )
            yield value, number

    def having(self, field: str, sql: str, values: Sequence[Any]) -> NDArray[np.bool_]:
        """Return which documents have a value of a field that passes a test, bool [documents]."""
        if field in FILTERED:
            source, own = f"SELECT number, {field} AS value FROM documents", []
        else:
            source, own = "SELECT number, value FROM fields WHERE field = ?", [field]
        rows = self._rows(f"SELECT number FROM ({source}) WHERE {sql}", *own, *values)
        numbers = np.fromiter((number for (number,) in rows), dtype=np.int64)
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < self._length:
            raise FolderError(f"{self.path}: damaged: a field is of no document; restore it")
        mask = np.zeros(self._length, dtype=bool)
        mask[numbers] = True
        return mask

    def _document(self, row: tuple[Any, ...]) -> Document:
        try:
            key, title, text, url, links, metadata = row
            if not all(isinstance(value, str) for value in row):
                raise TypeError("a column is not text")
            fields = self._fields(key, metadata)
            spans = tuple(Link(**link) for link in json.loads(links)) if links else ()
            return Document(key, text, title, url, spans, MappingProxyType(fields))
        except (TypeError, ValueError, RecursionError) as error:
            raise FolderError(
                f"{self.path}: damaged: document {row[0]!r} cannot be read ({error}); restore it"
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

    def _one(self, query: str, *values: Any) -> Any:
        row = next(self._rows(query, *values), None)
        return None if row is None else row[0]

    def _rows(self, query: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        try:
            yield from self._connection().execute(query, values)
        except UnicodeEncodeError as error:
            raise InputError(
                f"{error.object!a} holds half of a surrogate pair, which no document has"
            ) from None
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            raise FolderError(
                f"{self.path}: damaged or no document store ({error}); restore it or make it again"
            ) from None

    @property
    def replaced(self) -> bool:
        """Return whether another file has taken this one's place."""
        with suppress(OSError):
            return identity(self.path) != self.identity
        return False

    def _connection(self) -> sqlite3.Connection:
        """Return this thread's connection; a forked process must not use its parent's.

        A file that was written to, as where it is restored in place, is opened anew: SQLite may
        have kept pages of before. One that another has replaced stays open.
        """
        process, written = os.getpid(), self._written()
        if getattr(self._local, "process", None) == process and written not in (
            None, self._local.written
        ):  # fmt: skip
            self._leave()
        if getattr(self._local, "process", None) != process:
            uri = f"{self.path.resolve().as_uri()}?mode=ro"
            connection = sqlite3.connect(uri, uri=True, check_same_thread=False)
            if identity(self.path) != self.identity:  # numbers would be those of other documents
                connection.close()
                raise FolderError(
                    f"{self.path}: another has taken its place; load the folder again"
                )
            self._local.connection = connection
            self._local.process, self._local.written = process, written
            with self._lock:
                self._connections.append(self._local.connection)
        own: sqlite3.Connection = self._local.connection
        return own

    def _written(self) -> tuple[int, ...] | None:
        """Return what changes when the file is written to; None where it is another, or gone."""
        with suppress(OSError):
            facts = self.path.stat()
            if (facts.st_dev, facts.st_ino) == self.identity:
                return facts.st_mtime_ns, facts.st_ctime_ns, facts.st_size
        return None

    def _leave(self) -> None:
        """Close this thread's connection."""
        with self._lock, suppress(ValueError):  # `close` may have taken it out
            self._connections.remove(self._local.connection)
        self._local.connection.close()
        self._local.process = None


def identity(path: Path) -> tuple[int, int]:
    """Return what tells a file from one that takes its place; raises OSError if there is none."""
    facts = path.stat()
    return facts.st_dev, facts.st_ino


@contextmanager
def _writing(path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(path)
    try:
        with connection:
            yield connection
    finally:
        connection.close()


def _fill(path: Path, documents: Iterable[Document]) -> None:
    with _writing(path) as connection:
        connection.executescript(SCHEMA)
        for number, document in enumerate(documents):
            insert(connection, number, document)
        if not connection.execute("SELECT count(*) FROM documents").fetchone()[0]:
            raise InputError(f"{path.name}: no documents to store; a collection needs at least one")


def insert(connection: sqlite3.Connection, number: int, document: Document) -> None:
    """Write a document's row, and its metadata into the index of fields.

    Raises InputError for a key that is there, or for what is no JSON.
    """
    try:
        links = json.dumps(link_records(document)) if document.links else ""
        metadata = json.dumps(dict(document.metadata), ensure_ascii=False, allow_nan=False)
        values = (document.key, document.title, document.text, document.url, links, metadata)
        connection.execute("INSERT INTO documents VALUES (?, ?, ?, ?, ?, ?, ?)", (number, *values))
        # Not by SQLite's JSON functions: they round numbers to 15 digits and cut texts at a NUL.
        entries = (
            (field, one, number)
            for field, value in document.metadata.items()
            for one in comparable(value)
        )
        connection.executemany("INSERT OR IGNORE INTO fields VALUES (?, ?, ?)", entries)
    except sqlite3.IntegrityError:
        first = connection.execute("SELECT number FROM documents WHERE key = ?", values[:1])
        raise InputError(
            f"duplicate _id {document.key!r}: document {number} has the key of document "
            f"{first.fetchone()[0]}; give each its own"
        ) from None
    except (TypeError, ValueError) as error:  # no JSON, or an unpaired surrogate
        raise InputError(f"document {document.key!r} cannot be stored ({error})") from None


@cache
def schema_of(script: str) -> list[tuple[Any, ...]]:
    """Return the tables and indexes that a script makes, as `tables_of` returns them."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(script)
        return tables_of(connection)


def tables_of(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
    """Return the tables, indexes, views and triggers of a database, sorted."""
    return sorted(connection.execute(f"SELECT {MASTER}").fetchall(), key=str)
