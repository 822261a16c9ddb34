"""Index that can be updated: every change is committed to the journal, then applied in memory.

`state` applies changes in memory; `storage` writes the folder.
"""

import json
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from genir.arguments import as_count, as_keys
from genir.corpus.serialization import record_of
from genir.errors import InputError
from genir.manifest import NAME as MANIFEST
from genir.tasks.base import TrainQueries
from genir.types import Document
from genir.updates.base_folder import JournalBase
from genir.updates.changes import Change, Entry, Kind, SetLive
from genir.updates.journal import FolderReplaced, Journal, Transaction
from genir.updates.planning import (
    embed_documents,
    plan_upserts,
    queries_by_key,
    validate_documents,
)
from genir.updates.state import IndexState
from genir.updates.versions import Version, resolve_rollbacks, versions_of

Given = Document | Mapping[str, Any] | Iterable[Document | Mapping[str, Any]]
"""One or several documents, or records with the fields of a line of corpus.jsonl."""
QueriesByKey = Mapping[str, str | Sequence[str]]
"""Known queries by document key."""
Check = Callable[[Sequence[str]], None]
"""Validates keys inside the write transaction; raises to abort it."""


class MutableIndex(IndexState):
    """Index with add, replace, delete and rollback through the journal."""

    folder: Path | None = None
    _journal: Journal | None = None
    _version = 0
    _fingerprint: tuple[int, ...] = ()

    @classmethod
    @abstractmethod
    def load(cls, folder: Path | str, device: Any = None) -> Self:
        """Read a model folder and replay its journal."""

    @property
    def version(self) -> int:
        """Return the number of acknowledged changes; it never decreases."""
        return self._version

    @property
    def insert_unsupported_reason(self) -> str:
        """Return why documents cannot be added or replaced; "" if they can."""
        return ""

    # --- changes -------------------------------------------------------------------------------

    def add(
        self, documents: Given, queries: QueriesByKey | None = None, check: Check | None = None
    ) -> list[str]:
        """Add documents as one change; they are searchable on return.

        Adding a deleted document again restores it unchanged, unless queries are given for it.

        Args:
            documents: `Document`s, or dicts with the fields of a line of corpus.jsonl (`_id`,
                `text`, ...); a single one counts as a list of one.
            queries: Known queries of each document by key, a list or a single string.
            check: Called with the keys inside the write transaction; its exception aborts it.

        Returns:
            The keys of the documents.

        Raises:
            InputError: a record is invalid, a key is already live, a document cannot be assigned
                an identifier, or the folder cannot be written; nothing has changed.
        """

        def refuse(key: str) -> str | None:
            return (
                "is there already; replace it (--replace, or put() in Python)"
                if self.table.is_live(key)
                else None
            )

        return self._put("add", documents, queries, refuse, check)

    def replace(
        self, documents: Given, queries: QueriesByKey | None = None, check: Check | None = None
    ) -> list[str]:
        """Replace live documents by key, as one change; return the keys. See `add`.

        Raises:
            InputError: a key is not live, or as for `add`.
        """

        def refuse(key: str) -> str | None:
            return None if self.table.is_live(key) else "is not there; add it"

        return self._put("replace", documents, queries, refuse, check)

    def put(self, documents: Given, queries: QueriesByKey | None = None) -> list[str]:
        """Add or replace documents as one change; return the keys. See `add`."""
        return self._put("put", documents, queries, lambda key: None)

    def delete(self, keys: str | Iterable[str], check: Check | None = None) -> list[str]:
        """Delete documents; later searches do not return them. Return their keys.

        Args:
            keys: Keys of live documents; a string is one key.
            check: As for `add`.

        Raises:
            InputError: a key is not live; nothing was deleted.
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
            return [SetLive(key, live=False) for key in wanted]

        self._commit("delete", make)
        return wanted

    def rollback(self, version: int) -> None:
        """Restore the documents of an earlier version, as a new change.

        Raises:
            InputError: the version precedes the last compaction or does not exist yet.
        """

        version = as_count(version, "version", 0)

        def note(writing: Transaction) -> None:
            first = self._base.version
            if not first <= version <= self.version:
                raise InputError(
                    f"version {version}: choose one from {first} (the last compaction) to "
                    f"{self.version}; `genir versions` lists them"
                )
            writing.append("rollback", [], version)

        self._transaction(note)
        self._reload()

    def versions(self) -> list[Version]:
        """Return the version history, oldest first."""
        self.sync()
        return versions_of(self.manifest, self._changes())

    def _changes(self) -> list[Change]:
        return self._journal.read() if self._journal else []

    def sync(self, reload: bool = True) -> bool:
        """Apply changes of other processes; return whether there were any.

        Args:
            reload: Load the folder again if it was replaced; otherwise raise `FolderReplaced`.
        """
        if self._journal is None:
            return False
        try:
            if (
                folder_fingerprint(self._base.folder) != self._fingerprint
                or self.documents.replaced
            ):
                raise FolderReplaced
            if self._journal.head() == self.version:
                return False
            self._apply(self._validate_changes(self._journal.read(self.version)))
        except FolderReplaced:
            if not reload:
                raise
            self._reload()
        return True

    # --- make a change -------------------------------------------------------------------------

    def _put(
        self,
        kind: Kind,
        documents: Given,
        asked: QueriesByKey | None,
        refuse: Callable[[str], str | None],
        check: Check | None = None,
    ) -> list[str]:
        given = validate_documents(documents)
        queries = queries_by_key({} if asked is None else asked, given)
        if self.insert_unsupported_reason:
            raise InputError(self.insert_unsupported_reason)
        self.model.require_insertable()

        def refuse_all() -> None:
            if check is not None:
                check(list(given))
            for key in given:
                reason = refuse(key)
                if reason:
                    raise InputError(f"document {key!r} {reason}")

        if self._journal is not None:
            self.sync()
        refuse_all()
        fresh = [
            document for document in given.values() if not self._is_unchanged(document, queries)
        ]
        made = embed_documents(self, fresh, queries)  # slow, hence before the write lock
        model = self.model

        def make() -> list[Entry]:
            refuse_all()
            puts = [one for one in given.values() if not self._is_unchanged(one, queries)]
            if self.model is not model:  # folder replaced: the encoder may differ
                made.clear()
            missing = [document for document in puts if document.key not in made]
            made.update(embed_documents(self, missing, queries))
            entries: list[Entry] = [
                SetLive(key, live=True) for key in given.keys() - {one.key for one in puts}
            ]
            return [*entries, *plan_upserts(self, puts, made, queries)]

        self._commit(kind, make)
        return list(given)

    def _is_unchanged(self, document: Document, queries: TrainQueries) -> bool:
        """Return whether the table has this exact document, live or deleted, and no new query."""
        if document.key not in self.table or queries.get(document.key):
            return False
        stored = self.documents.find(document.key)
        return stored is not None and _text(stored) == _text(document)

    def _commit(self, kind: Kind, make: Callable[[], list[Entry]]) -> None:
        """Commit the entries that `make` returns inside the write transaction."""
        entries: list[Entry] = []
        version = 0

        def note(writing: Transaction) -> None:
            nonlocal entries, version
            entries = make()
            version = writing.append(kind, entries) if entries else self.version

        self._transaction(note)
        try:
            self._apply([Change(version, kind, "", entries)] if entries else [])
        except FolderReplaced:  # another process compacted right after this change
            self._reload()

    def _transaction(self, note: Callable[[Transaction], None]) -> None:
        """Run `note` inside the write transaction, after applying all earlier changes."""
        while True:
            journal = self._writable()
            try:
                with journal.transaction() as writing:
                    if folder_fingerprint(self._base.folder) != self._fingerprint:
                        raise FolderReplaced
                    self._apply(self._validate_changes(writing.changes(self.version)))
                    note(writing)
                return
            except FolderReplaced:
                self._reload()

    def _writable(self) -> Journal:
        if self._journal is None:
            raise InputError("update: the model has no folder yet; save it first")
        return self._journal

    @property
    def _base(self) -> JournalBase:
        return self._writable().base

    # --- apply changes -------------------------------------------------------------------------

    def _resolve_folder(self, folder: Path) -> None:
        """Set the folder that receives changes, and replay its journal."""
        if self._journal is not None:
            self._journal.close()
        self._fingerprint = folder_fingerprint(folder)
        self._version = int(self.manifest.get("version", 0))
        self._journal = Journal(JournalBase.open(folder, self.manifest))
        changes = self._validate_changes(self._journal.read())
        self.apply_changes(resolve_rollbacks(changes, self._version))
        self._version = changes[-1].version if changes else self._version

    def _apply(self, changes: Sequence[Change]) -> None:
        """Apply the next changes. Raises `FolderReplaced` if the folder must be loaded again."""
        if any(change.kind == "rollback" for change in changes):
            raise FolderReplaced
        if changes:
            self.apply_changes(changes)
            self._version = changes[-1].version

    def _validate_changes(self, changes: list[Change]) -> list[Change]:
        """Return changes of the journal. Raises InputError if they do not fit the model."""
        try:
            self.shape.validate(changes, self.table)
        except InputError as error:
            raise self._writable().damaged(str(error)) from None
        return changes

    def _reload(self) -> None:
        """Replace the state in memory by the current content of the folder."""
        fresh = self.load(self._base.folder, self.model.device)
        self._writable().close()
        self.__dict__.update(fresh.__dict__)


def folder_fingerprint(folder: Path) -> tuple[int, ...]:
    """Return device, inode and mtime of the manifest, to detect a replaced folder; () if absent."""
    try:
        facts = (folder / MANIFEST).stat()
    except OSError:
        return ()
    return facts.st_dev, facts.st_ino, facts.st_mtime_ns


def _text(document: Document) -> str:
    return json.dumps(record_of(document), sort_keys=True)
