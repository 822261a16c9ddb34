"""Backup of a model folder that is in use, and recovery of a folder with a damaged journal."""

import shutil
import sqlite3
import tempfile
from bisect import bisect_left
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from genir.atomic_dirs import new_folder, require_absent
from genir.errors import FolderError, InputError
from genir.manifest import NAME as MANIFEST
from genir.manifest import SIGNATURE, check_manifest, refuse_other_files, rewritten_folder
from genir.updates.base_folder import JournalBase, folder_fingerprint
from genir.updates.changes import Change
from genir.updates.commit_record import Commit, RecordError
from genir.updates.journal import FolderReplaced, Journal
from genir.updates.journal_shape import journal_validator

MAX_ATTEMPTS = 5
"""Copy attempts before giving up; a compaction or replacement of the folder interrupts one."""


def back_up(folder: Path, target: Path, overwrite: bool = False) -> int:
    """Copy one consistent version of a model folder while other processes search and update it.

    The copy is verified against its manifest and journal before it is moved to `target`.

    Returns:
        The version of the copy.

    Raises:
        InputError: the folder is damaged, `target` exists and not `overwrite`, or the disk fails.
    """
    _refuse_place(folder, target, overwrite)
    for _ in range(MAX_ATTEMPTS):
        base = _base(folder)
        try:
            with new_folder(target, overwrite) as partial:
                return _copy(base, partial)
        except FolderReplaced:
            continue
    raise FolderError(f"{folder}: was replaced {MAX_ATTEMPTS} times during the copy; try again")


def _base(folder: Path) -> JournalBase:
    """Return the journal base of a folder. Raises InputError if the folder is damaged.

    The manifest is read again if the folder was replaced during verification.
    """
    while True:
        before = folder_fingerprint(folder)
        try:
            return JournalBase.open(folder, check_manifest(folder))
        except InputError:
            if folder_fingerprint(folder) == before:
                raise


def _refuse_place(folder: Path, target: Path, overwrite: bool) -> None:
    """Raise InputError unless `target` is free or a model folder, outside and not above `folder`.

    An existing target is removed, hence only a model folder is accepted.
    """
    source, place = folder.resolve(), target.resolve()
    if place == source or place in source.parents or source in place.parents:
        raise InputError(f"{target}: is {folder}, inside it or above it; choose another path")
    require_absent(target, overwrite)
    refuse_other_files(target)


def _copy(base: JournalBase, partial: Path) -> int:
    copy = replace(base, folder=partial)
    try:
        _copy_files(base, partial)
        _copy_journal(base, copy)
        unchanged = _base(base.folder) == base
    except (FileNotFoundError, InputError):
        if _base(base.folder) == base:
            raise
        unchanged = False
    if not unchanged:  # e.g. compacted: the copy may mix files of two folders
        raise FolderReplaced
    check_manifest(partial)
    with closing(Journal(copy)) as journal:
        changes = journal.read()
    if not changes:
        return copy.version
    try:
        journal_validator(partial)(changes)
    except InputError as error:
        with closing(Journal(base)) as journal:  # the error names the source, not the copy
            raise journal.damaged(str(error)) from None
    return changes[-1].version


def _copy_files(base: JournalBase, partial: Path) -> None:
    """Copy the files that the manifest lists, the manifest and its signature."""
    shutil.copyfile(base.folder / MANIFEST, partial / MANIFEST)
    if (base.folder / SIGNATURE).is_file():
        shutil.copyfile(base.folder / SIGNATURE, partial / SIGNATURE)
    for name in check_manifest(base.folder)["files"]:
        (partial / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(base.folder / name, partial / name)


def _copy_journal(base: JournalBase, copy: JournalBase) -> None:
    """Copy the journal up to its last commit, and create the commit record."""
    with closing(Journal(base)) as source:
        if not source.read():  # also verifies it
            return
        with closing(sqlite3.connect(copy.path)) as target:
            source.copy_to(target)
            target.execute("PRAGMA journal_mode = WAL")
            last = "SELECT version, digest FROM changes ORDER BY version DESC LIMIT 1"
            copy.record.create(Commit(*target.execute(last).fetchone()))


@dataclass(frozen=True)
class Recovered:
    """Result of `recover`.

    Attributes:
        version: Version of the folder after recovery.
        committed: Last acknowledged version; None if the commit record is damaged.
        set_aside: Folder with copies of the damaged files; None if nothing was damaged.
    """

    version: int
    committed: int | None
    set_aside: Path | None


def recover(folder: Path) -> Recovered:
    """Truncate a journal before its first change that is damaged, missing or of another model.

    The recovered folder is built beside the damaged one and swapped in atomically; the damaged
    journal is copied to a sibling folder. Does nothing if the journal is intact and fits the model.

    Raises:
        InputError: another file of the folder is damaged.
    """
    base = JournalBase.open(folder, check_manifest(folder))
    changes, whole = _readable_changes(base)
    fitting = _valid_changes(folder, changes)
    if whole and len(fitting) == len(changes):
        version = base.version + len(changes)
        return Recovered(version, version, None)
    try:
        recorded = base.record.read().version
    except RecordError:
        recorded = None
    place = base.folder.resolve()
    kept = Path(tempfile.mkdtemp(prefix=f"{place.name}.damaged-", dir=place.parent))
    for path in _regular_files(base):
        shutil.copyfile(path, kept / path.name)
    with rewritten_folder(folder) as partial:
        _copy_files(base, partial)
        with closing(Journal(replace(base, folder=partial))) as journal:
            for change in fitting:
                with journal.transaction() as writing:
                    writing.copy(change)
    return Recovered(base.version + len(fitting), recorded, kept)


def _readable_changes(base: JournalBase) -> tuple[list[Change], bool]:
    """Return the changes before the first damaged one, and whether the journal is intact."""
    try:
        with closing(Journal(base)) as journal:
            return journal.read(), True
    except InputError:
        return _intact_changes(base), False


def _valid_changes(folder: Path, changes: list[Change]) -> list[Change]:
    """Return the changes before the first that does not fit the model."""
    if not changes:
        return []
    refuse_misfits = journal_validator(folder)

    def misfit(count: int) -> bool:
        try:
            refuse_misfits(changes[:count])
        except InputError:
            return True
        return False

    return changes[: bisect_left(range(1, len(changes) + 1), True, key=misfit)]


def _intact_changes(base: JournalBase) -> list[Change]:
    """Return the changes before the first damaged one, read from a copy: SQLite modifies files."""
    if not base.path.is_file():
        return []
    with tempfile.TemporaryDirectory() as folder:
        copy = replace(base, folder=Path(folder))
        for path in _regular_files(base):
            shutil.copyfile(path, copy.folder / path.name)
        with closing(Journal(copy)) as journal:
            return journal.verify()


def _regular_files(base: JournalBase) -> list[Path]:
    """Return the regular files of a journal, without an oversized commit record."""
    files = [path for path in base.files if path.is_file()]
    return [path for path in files if path != base.record.path or path.stat().st_size < 2**20]
