"""What a change of the corpus consists of, and what several come to. Knows no files."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from genir.corpus.documents import document_of, record_of
from genir.models.guards import NewRow
from genir.records import Document, Identifier

Kind = Literal["add", "replace", "put", "delete", "rollback", "refresh"]
Row = tuple[Any, ...]
"""An entry as the journal's columns hold it."""


@dataclass(frozen=True)
class Put:
    """A document, new or in the place of the one with its key.

    row: its parameters, and the queries that came with it as vectors, where identifiers have
    parameters of their own; queries: how many came with it.
    """

    document: Document
    identifiers: list[Identifier]
    row: NewRow | None = None
    queries: int = 0

    @property
    def key(self) -> str:
        """Return the document's key."""
        return self.document.key


@dataclass(frozen=True)
class Mark:
    """A document of the table that may be found from now on, or may not."""

    key: str
    live: bool


Entry = Put | Mark


@dataclass(frozen=True)
class Change:
    """One acknowledged change. made: the time, UTC, for people only; versions give the order.

    target: the version that a rollback went back to.
    """

    version: int
    kind: Kind
    made: str
    entries: list[Entry] = field(default_factory=list)
    target: int | None = None


@dataclass
class Outcome:
    """What changes come to: the last word on each key. born: the version of its `Put`."""

    puts: dict[str, Put] = field(default_factory=dict)
    live: dict[str, bool] = field(default_factory=dict)
    born: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, changes: Iterable[Change]) -> "Outcome":
        """Fold changes, oldest first."""
        outcome = cls()
        for change in changes:
            for entry in change.entries:
                if isinstance(entry, Put):
                    outcome.puts[entry.key] = entry
                    outcome.live[entry.key] = True
                    outcome.born[entry.key] = change.version
                else:
                    outcome.live[entry.key] = entry.live
        return outcome


def to_row(entry: Entry) -> Row:
    """Return an entry as columns: key, live, document, identifiers, row, asked, queries."""
    if isinstance(entry, Mark):
        return entry.key, int(entry.live), "", "", b"", b"", 0
    row, asked = b"", b""
    if entry.row is not None:
        row, asked = entry.row.row.astype("<f4").tobytes(), entry.row.asked.astype("<f2").tobytes()
    return (
        entry.key,
        1,
        json.dumps(record_of(entry.document), ensure_ascii=False, allow_nan=False),
        json.dumps(entry.identifiers),
        row,
        asked,
        entry.queries,
    )


def from_row(columns: Row, place: str) -> Entry:
    """Return the entry that `to_row` made columns of; `place` opens messages."""
    key, live, document, identifiers, row, asked, queries = columns
    if not document:
        return Mark(key, bool(live))
    return Put(
        document_of(json.loads(document), place),
        [tuple(symbols) for symbols in json.loads(identifiers)],
        _new_row(row, asked) if row else None,
        queries,
    )


def _new_row(row: bytes, asked: bytes) -> NewRow:
    found = np.frombuffer(row, dtype="<f4").astype(np.float32)
    vectors = np.frombuffer(asked, dtype="<f2").astype(np.float16)
    return NewRow(found, vectors.reshape(-1, len(found)))


def digest(before: bytes, head: Row, rows: Iterable[Row]) -> bytes:
    """Return the sha256 of a change and of all before it. head: version, kind, made, target."""
    found = hashlib.sha256(before)
    for columns in (head, *rows):
        for value in columns:
            data = value if isinstance(value, bytes) else str(value).encode()
            found.update(len(data).to_bytes(8, "little") + data)
    return found.digest()
