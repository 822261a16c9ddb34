"""Changes of a corpus as data: entries, their encoding as rows, and their net effect."""

import hashlib
import json
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from operator import ge
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from genir.corpus.serialization import document_of, record_of
from genir.corpus.tokens import Span
from genir.errors import InputError
from genir.models.insertion import NewDocument
from genir.types import Document, Identifier

Kind = Literal["add", "replace", "put", "delete", "rollback", "refresh", "sync", "set"]
Row = tuple[Any, ...]
"""An entry encoded as the columns of the journal's `entries` table."""


@dataclass(frozen=True)
class Upsert:
    """Upsert of one document.

    Attributes:
        row: Parameters of the document and its query vectors; None if the model has no document
            rows.
        queries: Number of known queries of the document.
        spans: Units of the document, one for each identifier; None without units.
    """

    document: Document
    identifiers: list[Identifier]
    row: NewDocument | None = None
    queries: int = 0
    spans: list[Span] | None = None

    @property
    def key(self) -> str:
        """Return the document's key."""
        return self.document.key


@dataclass(frozen=True)
class SetLive:
    """Switch of an existing document to live or deleted."""

    key: str
    live: bool


Entry = Upsert | SetLive


@dataclass(frozen=True)
class Change:
    """One acknowledged transaction.

    Attributes:
        version: Version of the index after the change; versions give the order.
        made: ISO time in UTC, for display only.
        target: Version that a rollback restores; None for other kinds.
    """

    version: int
    kind: Kind
    made: str
    entries: list[Entry] = field(default_factory=list)
    target: int | None = None


@dataclass
class NetChanges:
    """Net effect of changes, by key. added_in_version: the version of the last `Upsert` of each
    key."""

    upserts: dict[str, Upsert] = field(default_factory=dict)
    live: dict[str, bool] = field(default_factory=dict)
    added_in_version: dict[str, int] = field(default_factory=dict)

    @classmethod
    def fold(cls, changes: Iterable[Change]) -> "NetChanges":
        """Return the net effect of changes, oldest first."""
        outcome = cls()
        for change in changes:
            for entry in change.entries:
                if isinstance(entry, Upsert):
                    outcome.upserts[entry.key] = entry
                    outcome.live[entry.key] = True
                    outcome.added_in_version[entry.key] = change.version
                else:
                    outcome.live[entry.key] = entry.live
        return outcome


def to_row(entry: Entry) -> Row:
    """Encode an entry as columns: key, live, document, identifiers, row, asked, queries."""
    if isinstance(entry, SetLive):
        return entry.key, int(entry.live), "", "", b"", b"", 0
    row, asked = b"", b""
    if entry.row is not None:
        row, asked = (
            entry.row.rows.astype("<f4").tobytes(),
            entry.row.query_rows.astype("<f4").tobytes(),
        )
    return (
        entry.key,
        1,
        json.dumps(record_of(entry.document), ensure_ascii=False, allow_nan=False),
        json.dumps(_with_spans(entry)),
        row,
        asked,
        entry.queries,
    )


def from_row(columns: Row, place: str) -> Entry:
    """Decode an entry from its columns; `place` is the prefix of error messages.

    Raises:
        InputError: the columns are not a valid encoding.
    """
    key, live, document, identifiers, row, asked, queries = columns
    if not document:
        return SetLive(key, bool(live))
    try:
        symbols, spans = _without_spans(json.loads(identifiers))
        put = Upsert(
            document_of(json.loads(document), place),
            symbols,
            _new_row(row, asked, len(symbols)) if row else None,
            queries,
            spans,
        )
    except (TypeError, KeyError, ValueError, AttributeError, RecursionError) as error:
        raise InputError(f"{place}: {error}") from None
    numbers = [symbol for own in put.identifiers for symbol in own]
    numbers += [end for span in put.spans or () for end in span]
    valid = put.key == key and all(put.identifiers) and bool(put.identifiers)
    valid = valid and all(type(number) is int and number >= 0 for number in numbers)
    if not valid or not 0 <= queries < 2**31:
        raise InputError(f"{place}: {key!r} has a different key or invalid identifiers")
    return put


def _with_spans(entry: Upsert) -> Any:
    """Return the identifiers as JSON values, with the units if there are any."""
    if entry.spans is None:
        return entry.identifiers
    return {"identifiers": entry.identifiers, "spans": entry.spans}


def _without_spans(values: Any) -> tuple[list[Identifier], list[Span] | None]:
    """Return the identifiers and units of `_with_spans`. Raises ValueError if they do not match."""
    found, spans = (values, None) if isinstance(values, list) else (
        values["identifiers"], [(start, end) for start, end in values["spans"]]
    )  # fmt: skip
    if spans is not None and len(spans) != len(found):
        raise ValueError(f"{len(found)} identifiers of {len(spans)} units")
    if any(start > end for start, end in spans or ()):
        raise ValueError("a unit ends before its start")
    return [tuple(symbols) for symbols in found], spans


def _new_row(row: bytes, asked: bytes, count: int) -> NewDocument:
    found = np.frombuffer(row, dtype="<f4").astype(np.float32).reshape(count, -1)
    vectors = np.frombuffer(asked, dtype="<f4").astype(np.float32)
    if not np.isfinite(found).all() or not np.isfinite(vectors).all():
        raise ValueError("its row has values that are not finite")
    return NewDocument(found, vectors.reshape(-1, found.shape[1]))


@dataclass(frozen=True)
class Shape:
    """Bounds that entries must respect to fit a model.

    Attributes:
        sizes: Number of symbols per level, see `Scheme.level_sizes`.
        row_width: Columns of a document's parameter row; None if the model has no document rows.
        units: Whether documents have units.
    """

    sizes: list[int]
    row_width: int | None
    units: bool = False

    def validate(self, changes: Iterable[Change], known: Container[str]) -> None:
        """Raise InputError for an entry that does not fit, or a mark of an unknown document."""
        new, sizes = set[str](), list(self.sizes)
        for change in changes:
            for entry in change.entries:
                place = f"change {change.version}, document {entry.key!r}"
                if isinstance(entry, SetLive):
                    if entry.key not in known and entry.key not in new:
                        raise InputError(f"{place}: is marked live or deleted, but was never added")
                    continue
                new.add(entry.key)
                if self.row_width is not None:  # each identifier adds a row
                    sizes[0] += len(entry.identifiers)
                self._refuse(entry, sizes, place)

    def _refuse(self, put: Upsert, sizes: Sequence[int], place: str) -> None:
        for identifier in put.identifiers:
            repeated = (
                len(sizes) == 1 and self.row_width is None
            )  # text: one vocabulary at every depth
            bounds = list(sizes) * len(identifier) if repeated else list(sizes)
            if len(identifier) > len(bounds) or any(map(ge, identifier, bounds)):
                raise InputError(
                    f"{place}: the identifier {identifier} is outside this model's vocabulary"
                )
        width = None if put.row is None else put.row.rows.shape[1]
        if width != self.row_width:
            raise InputError(f"{place}: its row has {width} columns, not {self.row_width}")
        if (put.spans is not None) != self.units:
            found = "no units, but the model has" if self.units else "units, but the model has none"
            raise InputError(f"{place}: {found}")


def as_row(embeddings: NewDocument | NDArray[np.float32] | None) -> NewDocument:
    """Return an embedding as a row; the model must have document rows."""
    assert isinstance(embeddings, NewDocument)
    return embeddings


def digest(before: bytes, head: Row, rows: Iterable[Row]) -> bytes:
    """Return the sha256 of a change and the digest `before`. head: version, kind, made, target."""
    found = hashlib.sha256(before)
    for columns in (head, *rows):
        for value in columns:
            data = value if isinstance(value, bytes) else str(value).encode()
            found.update(len(data).to_bytes(8, "little") + data)
    return found.digest()
