"""`Updates`: changes of the documents of a model, committed to the journal, then applied."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

import torch

from genir.arguments import as_count, as_keys
from genir.corpus.serialization import record_json
from genir.errors import InputError
from genir.tasks.base import TrainQueries
from genir.types import Document
from genir.updates.base_folder import JournalBase, folder_fingerprint
from genir.updates.changes import Change, Entry, Kind, SetLive
from genir.updates.journal import FolderReplaced, Journal, Transaction
from genir.updates.loaded_model import LoadedModel
from genir.updates.model_folder import read_folder
from genir.updates.planning import (
    embed_documents,
    plan_upserts,
    queries_by_key,
    refuse_unread_vectors,
    validate_documents,
)
from genir.updates.versions import Version, resolve_rollbacks, versions_of

Given = Document | Mapping[str, Any] | Iterable[Document | Mapping[str, Any]]
"""One or several documents, or records with the fields of a line of corpus.jsonl."""
QueriesByKey = Mapping[str, str | Sequence[str]]
"""Known queries by document key."""
Check = Callable[[Sequence[str]], None]
"""Validates keys inside the write transaction; raises to abort it."""


class Updates:
    """A model in memory that follows the journal of its folder.

    Attributes:
        loaded: The model at the current version; a change, a reload and `sync` replace it.
        folder: The model folder; None before the first save.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        self.loaded = loaded
        self.folder: Path | None = None
        self._journal: Journal | None = None
        self._fingerprint: tuple[int, ...] = ()

    @classmethod
    def open(cls, folder: Path, device: torch.device) -> Self:
        """Read a model folder and replay its journal.

        Raises:
            InputError: A file is missing, truncated or foreign.
        """
        while True:
            before = folder_fingerprint(folder)
            try:
                updates = cls(read_folder(folder, device))
                updates.attach(folder, updates.loaded)
                if folder_fingerprint(folder) == before:
                    return updates
            except FolderReplaced:
                continue
            except InputError:
                # A compaction may have replaced the folder between two reads.
                if folder_fingerprint(folder) == before:
                    raise

    def attach(self, folder: Path, loaded: LoadedModel) -> None:
        """Set the folder that receives changes and its content, and replay its journal."""
        if self._journal is not None:
            self._journal.close()
        self.folder = folder
        self._fingerprint = folder_fingerprint(folder)
        self._journal = Journal(JournalBase.open(folder, loaded.index.manifest))
        changes = self._validated(self._journal.read(), loaded)
        base = self._journal.base.version
        try:
            self.loaded = loaded.apply(resolve_rollbacks(changes, base))
        except InputError as error:  # values of a row, which only the network can check
            raise self._journal.damaged(str(error)) from None
        if changes:
            self.loaded = self.loaded.at_version(changes[-1].version)

    def close(self) -> None:
        """Close the files; no search or change is possible afterwards."""
        self.loaded.index.documents.close()
        if self._journal is not None:
            self._journal.close()

    @property
    def base(self) -> JournalBase:
        """The folder's version that the journal extends. Raises InputError without a folder."""
        return self._writable().base

    # --- changes -------------------------------------------------------------------------------

    def add(
        self, documents: Given, queries: QueriesByKey | None = None, check: Check | None = None
    ) -> list[str]:
        """Add documents as one change; return their keys. See `Retriever.add`."""

        def refuse(key: str) -> str | None:
            return (
                "is there already; replace it (--replace, or put() in Python)"
                if self.loaded.table.is_live(key)
                else None
            )

        return self._put("add", documents, queries, refuse, check)

    def replace(
        self, documents: Given, queries: QueriesByKey | None = None, check: Check | None = None
    ) -> list[str]:
        """Replace live documents by key, as one change; return the keys."""

        def refuse(key: str) -> str | None:
            return None if self.loaded.table.is_live(key) else "is not there; add it"

        return self._put("replace", documents, queries, refuse, check)

    def put(self, documents: Given, queries: QueriesByKey | None = None) -> list[str]:
        """Add or replace documents as one change; return the keys."""
        return self._put("put", documents, queries, lambda key: None)

    def delete(self, keys: str | Iterable[str], check: Check | None = None) -> list[str]:
        """Delete documents; return their keys. See `Retriever.delete`."""
        wanted = list(dict.fromkeys(as_keys(keys)))

        def make() -> list[Entry]:
            if check is not None:
                check(wanted)
            unknown = [key for key in wanted if not self.loaded.table.is_live(key)]
            if unknown:
                names = ", ".join(map(repr, unknown[:10])) + (", ..." if unknown[10:] else "")
                raise InputError(
                    f"no document with the key {names}; nothing was deleted: check the keys"
                )
            return [SetLive(key, live=False) for key in wanted]

        self.commit("delete", make)
        return wanted

    def commit(self, kind: Kind, make: Callable[[], list[Entry]]) -> None:
        """Commit the entries that `make` returns inside the write transaction, as one change."""
        with self.transaction() as writing:
            entries = make()
            version = writing.append(kind, entries) if entries else 0
        try:
            self._apply([Change(version, kind, "", entries)] if entries else [])
        except FolderReplaced:  # another process compacted right after this change
            self.reload()

    def rollback(self, version: int) -> None:
        """Restore the documents of an earlier version. See `Retriever.rollback`."""
        version = as_count(version, "version", 0)
        with self.transaction() as writing:
            first, last = self.base.version, self.loaded.index.version
            if not first <= version <= last:
                raise InputError(
                    f"version {version}: choose one from {first} (the last compaction) to "
                    f"{last}; `genir versions` lists them"
                )
            writing.append("rollback", [], version)
        self.reload()

    def versions(self) -> list[Version]:
        """Return the version history, oldest first."""
        self.sync()
        return versions_of(self.loaded.index.manifest, self.changes())

    def changes(self) -> list[Change]:
        """Return the changes since the folder was written."""
        return self._journal.read() if self._journal else []

    def sync(self, reload: bool = True) -> bool:
        """Apply changes of other processes; return whether there were any.

        Args:
            reload: Load the folder again if it was replaced; otherwise raise `FolderReplaced`.
        """
        if self._journal is None:
            return False
        try:
            if self.is_replaced() or self.loaded.index.documents.replaced:
                raise FolderReplaced
            version = self.loaded.index.version
            if self._journal.head() == version:
                return False
            self._apply(self._validated(self._journal.read(version), self.loaded))
        except FolderReplaced:
            if not reload:
                raise
            self.reload()
        return True

    def is_replaced(self) -> bool:
        """Return whether the folder was replaced since it was read."""
        return folder_fingerprint(self.base.folder) != self._fingerprint

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
        if reason := self.loaded.insert_unsupported_reason:
            raise InputError(reason)
        refuse_unread_vectors(self.loaded, given.values())

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
        made = embed_documents(self.loaded, fresh, queries)  # slow, hence before the write lock
        scheme = self.loaded.scheme

        def make() -> list[Entry]:
            refuse_all()
            puts = [one for one in given.values() if not self._is_unchanged(one, queries)]
            if self.loaded.scheme is not scheme:  # folder replaced: the encoder may differ
                made.clear()
            missing = [document for document in puts if document.key not in made]
            made.update(embed_documents(self.loaded, missing, queries))
            entries: list[Entry] = [
                SetLive(key, live=True) for key in given.keys() - {one.key for one in puts}
            ]
            return [*entries, *plan_upserts(self.loaded, puts, made, queries)]

        self.commit(kind, make)
        return list(given)

    def _is_unchanged(self, document: Document, queries: TrainQueries) -> bool:
        """Return whether the index has this exact document, live or deleted.

        A new query or a vector, which is not stored, is a change.
        """
        if document.key not in self.loaded.table or queries.get(document.key):
            return False
        if document.vector is not None:
            return False
        stored = self.loaded.index.documents.find(document.key)
        return stored is not None and record_json(stored) == record_json(document)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Lock out other writers, apply their earlier changes, and yield the transaction.

        Raises:
            InputError: The model has no folder, or the folder cannot be written.
        """
        with ExitStack() as stack:
            while True:
                try:
                    writing = stack.enter_context(self._begin())
                    break
                except FolderReplaced:
                    self.reload()
            yield writing

    @contextmanager
    def _begin(self) -> Iterator[Transaction]:
        """Open a transaction on the current journal. Raises `FolderReplaced` if it is outdated."""
        with self._writable().transaction() as writing:
            if self.is_replaced():
                raise FolderReplaced
            changes = writing.changes(self.loaded.index.version)
            self._apply(self._validated(changes, self.loaded))
            yield writing

    def _writable(self) -> Journal:
        if self._journal is None:
            raise InputError("update: the model has no folder yet; save it first")
        return self._journal

    # --- apply changes -------------------------------------------------------------------------

    def _apply(self, changes: Sequence[Change]) -> None:
        """Apply the next changes. Raises `FolderReplaced` if the folder must be loaded again."""
        if any(change.kind == "rollback" for change in changes):
            raise FolderReplaced
        if changes:
            self.loaded = self.loaded.apply(changes)

    def _validated(self, changes: list[Change], loaded: LoadedModel) -> list[Change]:
        """Return changes of the journal. Raises InputError if they do not fit the model."""
        try:
            loaded.shape.validate(changes, loaded.table)
        except InputError as error:
            raise self._writable().damaged(str(error)) from None
        return changes

    def reload(self) -> None:
        """Replace the state in memory by the current content of the folder."""
        fresh = self.open(self.base.folder, self.loaded.model.device)
        self._writable().close()
        self.loaded, self._journal, self._fingerprint = (
            fresh.loaded,
            fresh._journal,
            fresh._fingerprint,
        )
