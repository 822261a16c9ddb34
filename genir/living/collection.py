"""A ranker whose documents come and go. Every change is in the journal before it is acknowledged.

In memory, a change is a new table (and trie), a layer over the document store, rows of parameters
where identifiers are atomic, and the live mask; a deletion is the mask alone.
"""

import json
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from genir.corpus.documents import document_of, record_of
from genir.corpus.layers import LayeredStore
from genir.corpus.store import DocumentStore
from genir.decoding.ranker import Ranker
from genir.errors import InputError
from genir.identifiers.base import Scheme
from genir.identifiers.taken import Taken
from genir.living.changes import Change, Entry, Kind, Mark, Outcome, Put
from genir.living.journal import Base, Journal, Moved, Writing
from genir.manifest import NAME as MANIFEST
from genir.manifest import sha256
from genir.models.guards import Guards, Standing
from genir.records import Document, Identifier
from genir.tasks.base import TrainQueries

Made = dict[str, NDArray[np.float32]]
"""Vectors of documents by key: rows of parameters, or what identifiers are made of."""


@dataclass(frozen=True)
class Version:
    """A line of the table of versions.

    kept: whether `rollback` can go back to it, which ends with the next compaction.
    """

    version: int
    kind: str
    made: str
    documents: int
    target: int | None
    kept: bool = True


class Living(Ranker):
    """Add, replace, delete, undo: what the facade inherits."""

    scheme: Scheme
    documents: DocumentStore
    query_counts: NDArray[np.int32]
    guards: Guards | None = None
    folder: Path | None = None
    manifest: dict[str, Any]
    _journal: Journal | None = None
    _version = 0
    _stamp: tuple[int, ...] = ()

    @classmethod
    @abstractmethod
    def load(cls, folder: Path | str, device: Any = None) -> Self:
        """Read a model folder and the changes in its journal."""

    @property
    def version(self) -> int:
        """Return how many changes were ever acknowledged; it never falls."""
        return self._version

    @property
    def closed(self) -> str:
        """Return why no document can be added or replaced; empty where it can."""
        return ""

    # --- changes -------------------------------------------------------------------------------

    def add(
        self, documents: Sequence[Document], queries: Mapping[str, list[str]] | None = None
    ) -> list[str]:
        """Add documents that can be found at once; return their keys.

        queries: what people ask for each of them, by key, where that is known. Raises InputError
        when a key is live already, a document cannot be given an identifier, or the folder cannot
        be written; then nothing has changed. A deleted document comes back as it was.
        """

        def refuse(key: str) -> str | None:
            return "is there already; replace it" if self.table.is_live(key) else None

        return self._put("add", documents, queries or {}, refuse)

    def replace(
        self, documents: Sequence[Document], queries: Mapping[str, list[str]] | None = None
    ) -> list[str]:
        """Put documents in the place of those with their keys; return the keys.

        Raises InputError for a key that is not live, else as `add` does.
        """

        def refuse(key: str) -> str | None:
            return None if self.table.is_live(key) else "is not there; add it"

        return self._put("replace", documents, queries or {}, refuse)

    def delete(self, keys: Sequence[str]) -> list[str]:
        """Delete documents: none is found from the next query on. Return their keys.

        Raises InputError naming the keys that are not live; then nothing is deleted.
        """
        wanted = list(dict.fromkeys(keys))

        def make() -> list[Entry]:
            unknown = [key for key in wanted if not self.table.is_live(key)]
            if unknown:
                names = ", ".join(map(repr, unknown[:10])) + (", ..." if unknown[10:] else "")
                raise InputError(f"no document with the key {names}; nothing was deleted")
            return [Mark(key, live=False) for key in wanted]

        self._commit("delete", make)
        return wanted

    def rollback(self, version: int) -> None:
        """Go back to what a former version was, as a change of its own.

        Raises InputError for a version from before the last compaction, or not reached yet.
        """

        def note(writing: Writing) -> None:
            first = self._base.version
            if not first <= version <= self.version:
                raise InputError(
                    f"version {version}: choose one from {first} (the last compaction) to "
                    f"{self.version}; `genir versions` lists them"
                )
            writing.append("rollback", [], version)

        self._write(note)
        self._reload()

    def versions(self) -> list[Version]:
        """Return the table of versions, oldest first."""
        self.catch_up()
        return versions_of(self.manifest, self._journal.read() if self._journal else [])

    def catch_up(self, reload: bool = True) -> bool:
        """Apply what other processes have changed; tell whether there was anything.

        reload: load the folder anew where nothing less will do; else Moved is raised.
        """
        if self._journal is None:
            return False
        try:
            if stamp(self._base.folder) != self._stamp:
                raise Moved
            if self._journal.head() == self.version:
                return False
            self._apply(self._journal.read(self.version))
        except Moved:
            if not reload:
                raise
            self._reload()
        return True

    # --- how a change is made ------------------------------------------------------------------

    def _put(
        self,
        kind: Kind,
        documents: Sequence[Document],
        queries: TrainQueries,
        refuse: Callable[[str], str | None],
    ) -> list[str]:
        given = _checked(documents)
        if self.closed:
            raise InputError(self.closed)
        self.model.refuse_additions()

        def refuse_all() -> None:
            for key in given:
                reason = refuse(key)
                if reason:
                    raise InputError(f"document {key!r} {reason}")

        if self._journal is not None:
            self.catch_up()
        refuse_all()
        fresh = [document for document in given.values() if not self._known(document)]
        made = self._vectors(fresh, queries)  # the long part, before others are kept out

        def make() -> list[Entry]:
            refuse_all()
            puts = [document for document in given.values() if not self._known(document)]
            missing = [document for document in puts if document.key not in made]
            made.update(self._vectors(missing, queries))
            entries: list[Entry] = [
                Mark(key, live=True) for key in given.keys() - {one.key for one in puts}
            ]
            return [*entries, *self._puts(puts, made, queries)]

        self._commit(kind, make)
        return list(given)

    def _known(self, document: Document) -> bool:
        """Tell whether the table has exactly this document, live or deleted."""
        if document.key not in self.table:
            return False
        stored = self.documents.find(document.key)
        return stored is not None and _text(stored) == _text(document)

    def _vectors(self, documents: Sequence[Document], queries: TrainQueries) -> Made:
        if not documents or not (self.model.makes_rows or self.scheme.needs_vectors):
            return {}
        if self.model.makes_rows:
            vectors = self.model.new_rows(documents, queries, self._standing(documents))
        else:
            vectors = self.model.document_vectors(documents, queries)
        return {one.key: row for one, row in zip(documents, vectors, strict=True)}

    def _standing(self, documents: Sequence[Document]) -> Standing:
        """Return what new documents have to reckon with: not what they are about to replace."""
        replaced = [self.table.number(one.key) for one in documents if one.key in self.table]
        stays = self.table.live & ~np.isin(self.table.documents, replaced)
        rivals = np.zeros(self.scheme.level_sizes()[0], dtype=bool)
        rivals[self.table.symbols[stays, 0]] = True
        if self.guards is None:
            return Standing(rivals)
        numbers = np.full(len(self.table.keys), -1)
        numbers[self.table.documents[stays]] = self.table.documents[stays]
        return Standing(rivals, self.guards.renumber(numbers))

    def _puts(self, documents: Sequence[Document], made: Made, queries: TrainQueries) -> list[Put]:
        keys = [document.key for document in documents]
        if not keys:
            return []
        free = [self.table.number(key) for key in keys if key in self.table]
        vectors = np.stack([made[key] for key in keys]) if self.scheme.needs_vectors else None
        # A copy, so that one whose change fails has given no identifier.
        identifiers: list[list[Identifier]] = copy(self.scheme).encode(
            documents, vectors, Taken(self.table, free)
        )
        return [
            Put(
                document,
                own,
                made[document.key] if self.model.makes_rows else None,
                len(queries.get(document.key, ())),
            )
            for document, own in zip(documents, identifiers, strict=True)
        ]

    def _commit(self, kind: Kind, make: Callable[[], list[Entry]]) -> None:
        """Write a change of what `make` returns, made while other writers are kept out."""
        entries: list[Entry] = []
        version = 0

        def note(writing: Writing) -> None:
            nonlocal entries, version
            entries = make()
            version = writing.append(kind, entries) if entries else self.version

        self._write(note)
        if entries:
            self._apply([Change(version, kind, "", entries)])

    def _write(self, note: Callable[[Writing], None]) -> None:
        """Run a block as the only writer, with all that others wrote before applied."""
        while True:
            journal = self._writable()
            try:
                with journal.writing() as writing:
                    if stamp(self._base.folder) != self._stamp:
                        raise Moved
                    self._apply(writing.changes(self.version))
                    note(writing)
                return
            except Moved:
                self._reload()

    def _writable(self) -> Journal:
        if self._journal is None:
            raise InputError("the model is in no folder yet; save it before changing documents")
        return self._journal

    @property
    def _base(self) -> Base:
        return self._writable().base

    # --- how a change takes effect -------------------------------------------------------------

    def _settle(self, folder: Path) -> None:
        """Take a folder as where changes go from now on, and apply those that are there."""
        if self._journal is not None:
            self._journal.close()
        self._stamp = stamp(folder)
        self._version = int(self.manifest.get("version", 0))
        self._journal = Journal(Base(folder, self._version, _digest(folder)))
        changes = self._journal.read()
        self._fold(effective(changes, self._version))
        self._version = changes[-1].version if changes else self._version

    def _apply(self, changes: Sequence[Change]) -> None:
        """Apply changes that follow the version. Raises Moved for what only a load can do."""
        if any(change.kind == "rollback" for change in changes):
            raise Moved
        if changes:
            self._fold(changes)
            self._version = changes[-1].version

    def _fold(self, changes: Sequence[Change]) -> None:
        outcome = Outcome.of(changes)
        if outcome.puts:
            self._place(outcome.puts)
        for live in (True, False):
            keys = [key for key, alive in outcome.live.items() if alive is live]
            self.table.set_live(map(self.table.number, keys), live)

    def _place(self, puts: Mapping[str, Put]) -> None:
        new = [key for key in puts if key not in self.table]
        places = {key: number for number, key in enumerate(new, len(self.table.keys))}
        numbers = {key: places.get(key, -1) for key in puts}
        numbers |= {key: self.table.number(key) for key in puts if key not in places}
        table = self.table.put({numbers[key]: put.identifiers for key, put in puts.items()}, new)
        rows: dict[int, NDArray[np.float32]] = {}
        if self.model.makes_rows:
            replaced = [numbers[key] for key in puts if key not in places]
            left = self.table.symbols[np.isin(self.table.documents, replaced), 0].tolist()
            blank = np.zeros_like(_row(next(iter(puts.values()))))
            rows |= dict.fromkeys(left, blank)  # as a process that loads it later would find it
            rows |= {put.identifiers[0][0]: _row(put) for put in puts.values()}
        if not isinstance(self.documents, LayeredStore):
            self.documents = LayeredStore(self.documents.path)
        self.documents.put({numbers[key]: put.document for key, put in puts.items()})
        self.scheme.admit([one for put in puts.values() for one in put.identifiers])
        self.model.follow(self.scheme, table, rows)
        self.follow(table)
        counts = np.zeros(len(table.keys), dtype=np.int32)
        counts[: len(self.query_counts)] = self.query_counts
        counts[[numbers[key] for key in puts]] = [put.queries for put in puts.values()]
        self.query_counts = counts

    def _reload(self) -> None:
        """Become what the folder holds now."""
        fresh = self.load(self._base.folder, self.model.device)
        self._writable().close()
        self.__dict__.update(fresh.__dict__)


def effective(changes: Sequence[Change], base: int) -> list[Change]:
    """Return the changes that count at the end: a rollback undoes those after its target."""
    known = {change.version: change for change in changes}
    found, version = list[Change](), changes[-1].version if changes else base
    while version > base:
        change = known[version]
        if change.target is None:
            found.append(change)
        version = version - 1 if change.target is None else change.target
    return found[::-1]


def versions_of(manifest: Mapping[str, Any], changes: Sequence[Change]) -> list[Version]:
    """Return the table of versions of a folder with this manifest, and changes since."""
    told = [Version(**one, kept=False) for one in manifest.get("versions", [])]
    base = Version(manifest.get("version", 0), "trained", "", manifest.get("documents", 0), None)
    made = [Version(c.version, c.kind, c.made, len(c.entries), c.target) for c in changes]
    return [*told[:-1], replace(told[-1], kept=True) if told else base, *made]


def stamp(folder: Path) -> tuple[int, ...]:
    """Return what tells a folder from one that has taken its place; nothing if none is there."""
    try:
        facts = (folder / MANIFEST).stat()
    except OSError:
        return ()
    return facts.st_dev, facts.st_ino, facts.st_mtime_ns


def _digest(folder: Path) -> bytes:
    return bytes.fromhex(sha256(folder / MANIFEST))


def _row(put: Put) -> NDArray[np.float32]:
    assert put.row is not None, put.key
    return put.row


def _checked(documents: Sequence[Document]) -> dict[str, Document]:
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


def _text(document: Document) -> str:
    return json.dumps(record_of(document), sort_keys=True)
