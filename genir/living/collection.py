"""A ranker whose documents come and go. Every change is in the journal before it is acknowledged.

What a change is in memory: `state`. How the folder is written: `storage`.
"""

import json
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from genir.arguments import as_count, as_keys
from genir.corpus.documents import record_of
from genir.errors import InputError
from genir.living.base import Base
from genir.living.changes import Change, Entry, Kind, Mark
from genir.living.entries import checked, puts_of, queries_by_key, vectors_of
from genir.living.journal import Journal, Moved, Writing
from genir.living.state import State
from genir.living.versions import Version, effective, versions_of
from genir.manifest import NAME as MANIFEST
from genir.records import Document
from genir.tasks.base import TrainQueries

Given = Document | Mapping[str, Any] | Iterable[Document | Mapping[str, Any]]
"""Documents, or records as a line of corpus.jsonl holds them; one or several."""
Asked = Mapping[str, str | Sequence[str]]
"""Queries by the key of the document that answers them."""
Check = Callable[[Sequence[str]], None]
"""Refuses keys by an exception: called while no other process can change them."""


class Living(State):
    """Add, replace, delete, undo, by way of the journal."""

    folder: Path | None = None
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
        self, documents: Given, queries: Asked | None = None, check: Check | None = None
    ) -> list[str]:
        """Add documents that can be found at once; return their keys.

        A deleted document comes back as it was, unless queries are given for it.

        Args:
            documents: `Document`s, or dicts with the fields of a line of corpus.jsonl (`_id`,
                `text`, ...); a single one counts as a list of one.
            queries: known queries of each document by key, a list or a single string.
            check: called with the keys while other writers are kept out; what it raises leaves
                everything as it was.

        Raises:
            InputError: a record is no document, a key is live already, a document cannot be given
                an identifier, or the folder cannot be written; then nothing has changed.
        """

        def refuse(key: str) -> str | None:
            return (
                "is there already; replace it (--replace, or put() in Python)"
                if self.table.is_live(key)
                else None
            )

        return self._put("add", documents, queries, refuse, check)

    def replace(
        self, documents: Given, queries: Asked | None = None, check: Check | None = None
    ) -> list[str]:
        """Put documents in the place of those with their keys; return the keys.

        Raises InputError for a key that is not live, else as `add` does.
        """

        def refuse(key: str) -> str | None:
            return None if self.table.is_live(key) else "is not there; add it"

        return self._put("replace", documents, queries, refuse, check)

    def put(self, documents: Given, queries: Asked | None = None) -> list[str]:
        """Add documents, or replace existing ones, as one change; return the keys. See `add`."""
        return self._put("put", documents, queries, lambda key: None)

    def delete(self, keys: str | Iterable[str], check: Check | None = None) -> list[str]:
        """Delete documents: none is found from the next query on. Return their keys.

        A string is one key. check: as for `add`.

        Raises InputError naming the keys that are not live; then nothing is deleted.
        """
        wanted = list(dict.fromkeys(as_keys(keys)))

        def make() -> list[Entry]:
            if check is not None:
                check(wanted)
            unknown = [key for key in wanted if not self.table.is_live(key)]
            if unknown:
                names = ", ".join(map(repr, unknown[:10])) + (", ..." if unknown[10:] else "")
                raise InputError(
                    f"no document with the key {names}; nothing was deleted: check the keys"
                )
            return [Mark(key, live=False) for key in wanted]

        self._commit("delete", make)
        return wanted

    def rollback(self, version: int) -> None:
        """Go back to what a former version was, as a change of its own.

        Raises InputError for a version from before the last compaction, or not reached yet.
        """

        version = as_count(version, "version", 0)

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
        return versions_of(self.manifest, self._changes())

    def _changes(self) -> list[Change]:
        return self._journal.read() if self._journal else []

    def catch_up(self, reload: bool = True) -> bool:
        """Apply what other processes have changed; tell whether there was anything.

        reload: load the folder anew where nothing less will do; else Moved is raised.
        """
        if self._journal is None:
            return False
        try:
            if stamp(self._base.folder) != self._stamp or self.documents.replaced:
                raise Moved
            if self._journal.head() == self.version:
                return False
            self._apply(self._checked(self._journal.read(self.version)))
        except Moved:
            if not reload:
                raise
            self._reload()
        return True

    # --- how a change is made ------------------------------------------------------------------

    def _put(
        self,
        kind: Kind,
        documents: Given,
        asked: Asked | None,
        refuse: Callable[[str], str | None],
        check: Check | None = None,
    ) -> list[str]:
        given = checked(documents)
        queries = queries_by_key({} if asked is None else asked, given)
        if self.closed:
            raise InputError(self.closed)
        self.model.refuse_additions()

        def refuse_all() -> None:
            if check is not None:
                check(list(given))
            for key in given:
                reason = refuse(key)
                if reason:
                    raise InputError(f"document {key!r} {reason}")

        if self._journal is not None:
            self.catch_up()
        refuse_all()
        fresh = [document for document in given.values() if not self._known(document, queries)]
        made = vectors_of(self, fresh, queries)  # the long part, before others are kept out
        model = self.model

        def make() -> list[Entry]:
            refuse_all()
            puts = [one for one in given.values() if not self._known(one, queries)]
            if self.model is not model:  # the folder was exchanged; another encoder, perhaps
                made.clear()
            missing = [document for document in puts if document.key not in made]
            made.update(vectors_of(self, missing, queries))
            entries: list[Entry] = [
                Mark(key, live=True) for key in given.keys() - {one.key for one in puts}
            ]
            return [*entries, *puts_of(self, puts, made, queries)]

        self._commit(kind, make)
        return list(given)

    def _known(self, document: Document, queries: TrainQueries) -> bool:
        """Tell whether the table has exactly this document, live or deleted, and no more is known
        of it.
        """
        if document.key not in self.table or queries.get(document.key):
            return False
        stored = self.documents.find(document.key)
        return stored is not None and _text(stored) == _text(document)

    def _commit(self, kind: Kind, make: Callable[[], list[Entry]]) -> None:
        """Write a change of what `make` returns, made while other writers are kept out."""
        entries: list[Entry] = []
        version = 0

        def note(writing: Writing) -> None:
            nonlocal entries, version
            entries = make()
            version = writing.append(kind, entries) if entries else self.version

        self._write(note)
        try:
            self._apply([Change(version, kind, "", entries)] if entries else [])
        except Moved:  # compacted by another process right after this change
            self._reload()

    def _write(self, note: Callable[[Writing], None]) -> None:
        """Run a block as the only writer, with all that others wrote before applied."""
        while True:
            journal = self._writable()
            try:
                with journal.writing() as writing:
                    if stamp(self._base.folder) != self._stamp:
                        raise Moved
                    self._apply(self._checked(writing.changes(self.version)))
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
        self._journal = Journal(Base.of(folder, self.manifest))
        changes = self._checked(self._journal.read())
        self.fold(effective(changes, self._version))
        self._version = changes[-1].version if changes else self._version

    def _apply(self, changes: Sequence[Change]) -> None:
        """Apply changes that follow the version. Raises Moved for what only a load can do."""
        if any(change.kind == "rollback" for change in changes):
            raise Moved
        if changes:
            self.fold(changes)
            self._version = changes[-1].version

    def _checked(self, changes: list[Change]) -> list[Change]:
        """Return changes from the journal. Raises InputError where they are of another model."""
        try:
            self.shape.refuse_misfits(changes, self.table)
        except InputError as error:
            raise self._writable().damaged(str(error)) from None
        return changes

    def _reload(self) -> None:
        """Become what the folder holds now."""
        fresh = self.load(self._base.folder, self.model.device)
        self._writable().close()
        self.__dict__.update(fresh.__dict__)


def stamp(folder: Path) -> tuple[int, ...]:
    """Return what tells a folder from one that has taken its place; nothing if none is there."""
    try:
        facts = (folder / MANIFEST).stat()
    except OSError:
        return ()
    return facts.st_dev, facts.st_ino, facts.st_mtime_ns


def _text(document: Document) -> str:
    return json.dumps(record_of(document), sort_keys=True)
