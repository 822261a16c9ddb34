"""File format of the document store: its tables, and the insertion of documents.

Tables: `documents`, one row each, and `fields`, the metadata index for filters. An index value is a
string, a number, or a BLOB (see `corpus.metadata_filters`), since SQLite has no booleans.
"""

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

from genir.corpus.metadata_filters import index_values
from genir.corpus.serialization import link_records
from genir.corpus.structure import structure_record
from genir.errors import InputError
from genir.types import Document

APPLICATION = 0x67656E69  # "geni": marks the SQLite file as a document store
VERSION = 3
"""Format version of tables and values. In version 2, documents had no structure."""
SCHEMA = f"""
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {VERSION};
PRAGMA synchronous = FULL;
CREATE TABLE documents (
    number INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, title TEXT NOT NULL, text TEXT NOT NULL,
    url TEXT NOT NULL, links TEXT NOT NULL, metadata TEXT NOT NULL,
    structure TEXT NOT NULL
);
CREATE TABLE fields (
    field TEXT NOT NULL, value ANY NOT NULL, number INTEGER NOT NULL,
    PRIMARY KEY (field, value, number)
) STRICT, WITHOUT ROWID;
"""
MASTER = "type, name, tbl_name, sql FROM sqlite_master"
COLUMNS = "key, title, text, url, links, metadata, structure"


Rows = Callable[..., Iterator[tuple[Any, ...]]]
"""(SQL, parameters) -> rows of a store."""


def check_file(path: Path, rows: Rows) -> None:
    """Check that a file has exactly the tables of a document store.

    Raises:
        InputError: The file is not a document store, has another version, views or triggers.
    """
    (application,), (version,) = (
        next(rows(f"PRAGMA {name}")) for name in ("application_id", "user_version")
    )
    if application == APPLICATION and 0 < version < VERSION:
        raise InputError(
            f"{path}: a document store of format {version}, of an earlier genir; this one reads "
            f"format {VERSION}: train the model again"
        )
    if (application, version) != (APPLICATION, VERSION):
        raise InputError(f"{path}: not a document store of this genir; make it again")
    if sorted(rows(f"SELECT {MASTER}"), key=str) != schema_of(SCHEMA):
        raise InputError(
            f"{path}: not a document store of this genir (other tables, or views or triggers "
            "among them); make it again"
        )


def fill(path: Path, documents: Iterable[Document]) -> None:
    """Write documents, at least one, to a new file in order. Raises InputError as `insert` does."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(SCHEMA)
        for number, document in enumerate(documents):
            insert(connection, number, document)
        if not connection.execute("SELECT count(*) FROM documents").fetchone()[0]:
            raise InputError(f"{path.name}: no documents to store; a collection needs at least one")


def insert(connection: sqlite3.Connection, number: int, document: Document) -> None:
    """Insert a document's row, and its metadata into the index.

    Raises InputError for a duplicate key or a value that is not JSON.
    """
    try:
        links = json.dumps(link_records(document)) if document.links else ""
        metadata = json.dumps(dict(document.metadata), ensure_ascii=False, allow_nan=False)
        record = structure_record(document.structure)
        structure = json.dumps(record, ensure_ascii=False) if record else ""
        values = (document.key, document.title, document.text, document.url, links, metadata,
                  structure)  # fmt: skip
        statement = "INSERT INTO documents VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        connection.execute(statement, (number, *values))
        # SQLite's JSON functions would round numbers to 15 digits and cut texts at a NUL.
        entries = (
            (field, one, number)
            for field, value in document.metadata.items()
            for one in index_values(value)
        )
        connection.executemany("INSERT OR IGNORE INTO fields VALUES (?, ?, ?)", entries)
    except sqlite3.IntegrityError:
        first = connection.execute("SELECT number FROM documents WHERE key = ?", values[:1])
        raise InputError(
            f"duplicate _id {document.key!r}: document {number} has the key of document "
            f"{first.fetchone()[0]}; give each its own"
        ) from None
    except (TypeError, ValueError) as error:  # not JSON, or an unpaired surrogate
        raise InputError(f"document {document.key!r} cannot be stored ({error})") from None


def identity(path: Path) -> tuple[int, int]:
    """Return an ID of a file that differs for its replacement. Raises OSError if it is missing."""
    status = path.stat()
    return status.st_dev, status.st_ino


@cache
def schema_of(script: str) -> list[tuple[Any, ...]]:
    """Return the tables and indexes that a script creates, in the form of `tables_of`."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(script)
        return tables_of(connection)


def tables_of(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
    """Return the tables, indexes, views and triggers of a database, sorted."""
    return sorted(connection.execute(f"SELECT {MASTER}").fetchall(), key=str)
