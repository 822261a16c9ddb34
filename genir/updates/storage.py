"""Writing of an index to its folder: save, compact, snapshot, and replacement by a new model."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from genir.arguments import as_path
from genir.atomic_dirs import new_folder, remove_leftovers, require_absent
from genir.config import Recipe, dump_recipe
from genir.corpus.store import DocumentStore
from genir.decoding.strategies.tome import PassageStage
from genir.errors import InputError
from genir.manifest import (
    check_manifest,
    read_json,
    refuse_other_files,
    rewritten_folder,
    write_manifest,
)
from genir.updates.changes import Change
from genir.updates.index import MutableIndex, folder_fingerprint
from genir.updates.journal import Transaction
from genir.updates.replay import replay_changes
from genir.updates.snapshot import Snapshot, compacted_snapshot, full_snapshot

METRICS = "metrics.json"
MAX_ATTACHMENT_BYTES = 256 * 2**20


class IndexStorage(MutableIndex):
    """Index that can be saved, compacted and replaced.

    Attributes:
        passage_stage: Passage stage of a two-stage search.
        attachments: Files that training left in the folder, by name.
    """

    recipe: Recipe
    passage_stage: PassageStage | None = None
    attachments: dict[str, bytes]

    @property
    def base_url(self) -> str:
        """Return the prefix of page URLs; "" if training had none."""
        return str(self.manifest.get("base_url", ""))

    def save(self, folder: Path | str, overwrite: bool = False) -> None:
        """Write the model folder atomically.

        Saving to its own folder includes the changes of other processes and locks them out; hidden
        files, README.md and LICENSE are kept.

        Raises:
            InputError: The folder exists and not `overwrite`, holds files that are not a model's,
                or cannot be written.
        """
        target = as_path(folder, "folder")
        own = self.folder is not None and _files_equal(target, self.folder)
        require_absent(target, overwrite)
        if not own:
            refuse_other_files(target)

        def note(writing: Transaction | None = None) -> None:
            changes = writing.changes(self._base.version) if writing else self._changes()
            with rewritten_folder(target) if own else new_folder(target, overwrite) as partial:
                self._write_folder(partial, full_snapshot(self, changes))

        if own and self._journal:
            self._transaction(note)
        else:
            self.sync()  # the store may belong to a folder replaced since
            note()
        self.folder, self.manifest = target, check_manifest(target)
        self.documents = DocumentStore(target / "documents.sqlite")
        self._resolve_folder(target)

    def compact(self) -> None:
        """Rewrite the folder without deleted and replaced documents, with an empty journal.

        Atomic; writers wait, readers continue. The version history is kept, but versions before
        this one can no longer be restored. Does nothing if there is nothing to remove.

        Raises:
            InputError: as for `save`.
        """

        def note(writing: Transaction) -> None:
            if self.version > self._base.version or not self.table.live.all():
                remove_leftovers(self._base.folder)
                changes = writing.changes(self._base.version)
                with rewritten_folder(self._base.folder) as partial:
                    self._write_folder(partial, compacted_snapshot(self, changes))

        self._transaction(note)
        if folder_fingerprint(self._base.folder) != self._fingerprint:
            self._reload()

    def snapshot(self, folder: Path) -> None:
        """Write the live documents and the model to a new folder, without switching to it."""
        self.sync()
        with new_folder(folder) as partial:
            self._write_folder(partial, compacted_snapshot(self, self._changes()))

    def replace_model(self, retriever: Self, trained_version: int) -> None:
        """Replace this model by one trained on a snapshot of it, as a new version.

        Changes since the snapshot are replayed on it. Atomic; writers wait, readers continue.

        Args:
            retriever: The new model.
            trained_version: Version of the snapshot.
        """

        def note(writing: Transaction) -> None:
            remove_leftovers(self._base.folder)
            replay_changes(retriever, self)
            version = self.version + 1
            made = datetime.now(UTC).isoformat(timespec="seconds")
            change = Change(version, "refresh", made)
            changes = [*writing.changes(self._base.version), change]
            retriever.manifest = {**self.manifest, "learned": trained_version}
            retriever._version = version
            contents = compacted_snapshot(retriever, changes)
            with rewritten_folder(self._base.folder) as partial:
                retriever._write_folder(partial, contents)

        self._transaction(note)
        self._reload()

    def _write_folder(self, folder: Path, contents: Snapshot) -> None:
        """Write recipe, weights, tokenizer, identifiers and documents to an existing folder."""
        (folder / "recipe.toml").write_text(dump_recipe(self.recipe), encoding="utf-8")
        kept = np.flatnonzero(contents.numbers >= 0)
        with self.model.restricted_to(contents.symbols, kept):
            self.model.save(folder)
        (folder / "identifiers").mkdir()
        contents.scheme.save(folder / "identifiers")
        contents.table.save(folder / "identifiers")
        save_file(contents.document_facts, folder / "queries.safetensors")
        if contents.protected_queries is not None:
            contents.protected_queries.save(folder)
        if self.passage_stage is not None:
            self.passage_stage.write(folder / "passage_stage", contents.table, contents.numbers)
        for name, content in self.attachments.items():
            (folder / name).write_bytes(content)
        contents.write_documents(folder / "documents.sqlite")
        facts = {
            "recipe": self.recipe.name,
            "scheme": self.recipe.identifiers.scheme,
            "documents": len(contents.table.keys),
            "identifiers": len(contents.table),
            "vocabulary": len(self.model.tokenizer),
            "version": self.version,
            "learned": int(self.manifest.get("learned", 0)),
            "base_url": self.base_url,
            "versions": contents.versions,
        }
        write_manifest(folder, facts)


def read_attachments(folder: Path, names: Sequence[str]) -> dict[str, bytes]:
    """Return the files that training left in a model folder, by name.

    Raises:
        InputError: a file is too large, or `metrics.json` is malformed.
    """
    found = {}
    for path in (folder / name for name in names if (folder / name).is_file()):
        if path.stat().st_size > MAX_ATTACHMENT_BYTES:
            raise InputError(
                f"{path}: larger than {MAX_ATTACHMENT_BYTES:,} bytes; restore the folder"
            )
        if path.name == METRICS:
            _refuse_misshapen(path)
        found[path.name] = path.read_bytes()
    return found


def _refuse_misshapen(path: Path) -> None:
    """Raise InputError if a section of `metrics.json` has the wrong type."""
    metrics = read_json(path)
    sections = {"inputs": dict, "precision": dict, "dev": dict, "refreshes": list}
    for name, kind in sections.items():
        if not isinstance(metrics, dict) or not isinstance(metrics.get(name, kind()), kind):
            raise InputError(f"{path}: damaged ({name}); restore the folder or train it again")


def read_facts(path: Path, documents: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return how many train queries each document had, and the version that brought it.

    Raises InputError for a missing or damaged file.
    """
    try:
        arrays = load_file(path)
        counts = arrays["counts"]
        born = arrays.get("born", np.zeros_like(counts))
    except (OSError, KeyError, SafetensorError) as error:
        raise InputError(f"{path}: damaged ({error}); restore it or train it again") from None
    for array in (counts, born):
        wrong = ""
        if array.shape != (documents,) or array.dtype != np.int32:
            wrong = f"{array.dtype} {list(array.shape)} instead of int32 [{documents}]"
        elif array.min(initial=0) < 0:
            wrong = f"a count or version of {array.min()}"
        if wrong:
            raise InputError(f"{path}: damaged ({wrong}); restore it or train it again")
    return counts, born


def _files_equal(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()
