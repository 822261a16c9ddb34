"""Atomic writing of folders: a crash leaves the old or the new folder."""

import ctypes
import errno
import fcntl
import glob
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from pathlib import Path

from genir.errors import FolderError, InputError
from genir.signals import on_leave

AT_FDCWD = -100
RENAME_EXCHANGE = 2


HUB_SNAPSHOTS, HUB_BLOBS = "snapshots", "blobs"
"""Folders of the Hugging Face hub cache: files are in `blobs`, links to them in `snapshots/*`."""

PARTIAL, REPLACED = ".genir-part", ".genir-old"
"""Endings of the hidden folders beside a target: one being filled, and one being replaced."""

MAX_DEPTH = 100
"""Maximum nesting of folders, which may be untrusted."""


def is_enclosed(path: Path, folder: Path) -> bool:
    """Return whether a path is a regular file inside a folder, or a link to one.

    Links to the `blobs` of the hub cache that contains the folder are allowed. False for missing
    files, pipes, sockets, devices and link loops.
    """
    inside = folder.resolve()
    places = [inside]
    if inside.parent.name == HUB_SNAPSHOTS:
        places.append(inside.parent.parent / HUB_BLOBS)
    try:
        target = path.resolve()
        return target.is_file() and any(target.is_relative_to(place) for place in places)
    except (OSError, RuntimeError, ValueError):  # link loop, no permission, NUL in the path
        return False


def walk_paths(folder: Path, skip: Container[str] = ()) -> Iterator[Path]:
    """Yield the files and folders below a folder in any order, without following folder links.

    Args:
        skip: Names of folders that are not entered.

    Raises:
        InputError: a folder cannot be read, or is nested deeper than `MAX_DEPTH`.
    """
    waiting = [(folder, 0)]
    while waiting:
        place, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise InputError(
                f"{str(place)[:200]}...: more than {MAX_DEPTH} folders deep; move its files up"
            )
        try:
            with os.scandir(place) as listing:
                entries = list(listing)
        except OSError as error:
            raise InputError(
                f"{place}: the folder cannot be read ({error.strerror}); check its permissions"
            ) from None
        for entry in entries:
            yield place / entry.name
            if entry.is_dir(follow_symlinks=False) and entry.name not in skip:
                waiting.append((place / entry.name, depth + 1))


def require_absent(target: Path, overwrite: bool) -> None:
    """Raise InputError if `target` exists and may not be replaced."""
    if target.exists() and not overwrite:
        raise InputError(
            f"{target}: exists already; choose another path, or replace it with --overwrite"
        )
    if target.exists() and not target.is_dir():
        raise InputError(f"{target}: is a file, not a folder; choose another path")


@contextmanager
def exclusive_lock(file: Path, name: str) -> Iterator[None]:
    """Hold an exclusive lock on a file, created if missing, within the block.

    The lock ends with its process.

    Args:
        name: Folder or file being used, for the message.

    Raises:
        InputError: another process holds the lock.
    """
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{name}: another process uses it; wait for it, or stop it") from None
        yield
    finally:
        os.close(descriptor)


@contextmanager
def new_folder(
    target: Path, overwrite: bool = False, keep: Callable[[str], bool] | None = None
) -> Iterator[Path]:
    """Yield a temporary folder; at the end flush it to disk and move it to `target`.

    If the block fails, the temporary folder is removed and `target` is unchanged.

    Args:
        overwrite: Whether to replace an existing folder with all its files; the caller checks
            first that they may be removed.
        keep: Predicate on the names of entries of a replaced folder that are copied to the new one.

    Raises:
        InputError: `target` exists and not `overwrite`, or the disk is full or read-only.
    """
    require_absent(target, overwrite)
    target = target.resolve()  # a link's destination is replaced, not the link
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = _hidden_folder(target, PARTIAL)
    except OSError as error:
        raise _write_error(target, error) from None
    try:
        with on_leave(lambda: shutil.rmtree(partial, ignore_errors=True)):
            yield partial
            _apply_umask(partial)
            if keep is not None and target.is_dir():
                _copy_entries(target, partial, keep)
            fsync_folder(partial)
            move_folder(partial, target)
    except Exception as error:  # tokenizers raises Exception on a full disk
        # Some libraries report a failed write in the message only.
        failed = any(words in str(error) for words in ("(os error ", "MARISA_IO_ERROR"))
        if isinstance(error, InputError) or not (failed or isinstance(error, OSError)):
            raise
        raise _write_error(target, error) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def temporary_folder(within: Path | None = None) -> Iterator[Path]:
    """Yield a folder that is removed after the block, also if a signal ends the process."""
    folder = Path(tempfile.mkdtemp(prefix="genir-", dir=within))

    def remove() -> None:
        shutil.rmtree(folder, ignore_errors=True)

    try:
        with on_leave(remove):
            yield folder
    finally:
        remove()


def remove_leftovers(target: Path) -> None:
    """Remove temporary folders of killed `new_folder` calls; the caller must hold a lock."""
    target = target.resolve()
    for path in target.parent.glob(f".{glob.escape(target.name)}.????????{PARTIAL}"):
        shutil.rmtree(path, ignore_errors=True)


def _hidden_folder(target: Path, ending: str) -> Path:
    return Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=ending, dir=target.parent))


def _apply_umask(folder: Path) -> None:
    """Reset the restrictive modes of mkdtemp and safetensors to the umask's, for other users."""
    mask = os.umask(0)
    os.umask(mask)
    for path in [folder, *folder.rglob("*")]:
        path.chmod((0o777 if path.is_dir() else 0o666) & ~mask)


def _write_error(target: Path, error: Exception) -> InputError:
    found = re.search(r"\(os error (\d+)\)", str(error))
    number = int(found[1]) if found else getattr(error, "errno", None)
    reason = {
        errno.ENOSPC: "the disk is full; free space and run it again",
        errno.EACCES: "no permission to write there; choose another path",
        errno.EROFS: "the file system is read-only; choose another path",
    }.get(number or 0, f"{error}; choose another path")
    return FolderError(f"{target}: cannot be written: {reason}. The old content is unchanged")


def _copy_entries(source: Path, target: Path, keep: Callable[[str], bool]) -> None:
    """Copy the entries that `keep` accepts and `target` lacks, with their modes.

    Links stay links, pipes are left out.
    """
    there = set(os.listdir(target))
    for path in (path for path in source.iterdir() if keep(path.name) and path.name not in there):
        if path.is_dir() and not path.is_symlink():
            shutil.copytree(path, target / path.name, symlinks=True, ignore=_special)
        elif not _special(source, [path.name]):
            shutil.copy2(path, target / path.name, follow_symlinks=False)


def _special(folder: str | Path, names: list[str]) -> list[str]:
    """Return the names of pipes, sockets and devices, which cannot be copied."""
    modes = ((name, os.lstat(os.path.join(folder, name)).st_mode) for name in names)
    return [name for name, mode in modes
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode))]  # fmt: skip


def fsync_folder(folder: Path) -> None:
    """Flush every file and folder below `folder` to disk."""
    for path in [*folder.rglob("*"), folder]:
        if path.is_symlink():  # part of its folder, and perhaps a link to nothing
            continue
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def move_folder(source: Path, target: Path) -> None:
    """Move a folder to `target`; an existing folder is exchanged atomically, then removed."""
    if not target.exists():
        source.rename(target)
    elif _exchange(source, target):
        shutil.rmtree(source)
    else:  # Not Linux: two renames; between them the old folder is complete under its new name.
        old = _hidden_folder(target, REPLACED)
        target.rename(old)  # replaces the empty folder
        source.rename(target)
        shutil.rmtree(old)
    fsync_parent(target.parent)


def fsync_parent(folder: Path) -> None:
    """Flush a folder's list of names to disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two folders atomically by renameat2(2); return whether the system supports it."""
    if not sys.platform.startswith("linux"):
        return False
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    names = os.fsencode(one), os.fsencode(other)
    return bool(rename(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE) == 0)
