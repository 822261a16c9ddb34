"""Whole folders, written so that a crash leaves the old one or the new one and nothing between."""

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
"""The Hugging Face hub keeps a folder's files in `blobs`, and links to them in `snapshots/*`."""

MAX_DEPTH = 100
"""Folders inside folders, in a folder that may be a stranger's."""


def is_enclosed(path: Path, folder: Path) -> bool:
    """Return whether a path is a regular file inside a folder, or a link to one.

    A link may also lead to the `blobs` of the hub's cache that the folder is a snapshot of. False
    for what is missing, for pipes, sockets and devices, and for loops of links.
    """
    inside = folder.resolve()
    places = [inside]
    if inside.parent.name == HUB_SNAPSHOTS:
        places.append(inside.parent.parent / HUB_BLOBS)
    try:
        target = path.resolve()
        return target.is_file() and any(target.is_relative_to(place) for place in places)
    except (OSError, RuntimeError, ValueError):  # a loop of links, no rights, a NUL
        return False


def paths_below(folder: Path, skip: Container[str] = ()) -> Iterator[Path]:
    """Yield the files and folders below a folder in any order; links to folders are not followed.

    Args:
        folder: walked with a stack, so that deep nesting is no RecursionError.
        skip: names of folders that are not entered.

    Raises:
        InputError: a folder cannot be read, or lies more than `MAX_DEPTH` folders deep.
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
                f"{place}: the folder cannot be read ({error.strerror}); check its rights"
            ) from None
        for entry in entries:
            yield place / entry.name
            if entry.is_dir(follow_symlinks=False) and entry.name not in skip:
                waiting.append((place / entry.name, depth + 1))


def refuse_existing(target: Path, overwrite: bool) -> None:
    """Raise InputError when something stands at `target` and may not be replaced."""
    if target.exists() and not overwrite:
        raise InputError(
            f"{target}: exists already; give another place, or --overwrite to replace it"
        )
    if target.exists() and not target.is_dir():
        raise InputError(f"{target}: is a file, not a folder; give another place")


@contextmanager
def sole_use(file: Path, what: str) -> Iterator[None]:
    """Hold a lock on a file, made if it is missing, while the block runs.

    what: the folder or file that is worked on, for the message. Raises InputError at once when
    another process holds the lock; a lock ends with its process.
    """
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"{what}: another process is at work there; wait for it, or end it"
            ) from None
        yield
    finally:
        os.close(descriptor)


@contextmanager
def new_folder(
    target: Path, overwrite: bool = False, keep: Callable[[str], bool] | None = None
) -> Iterator[Path]:
    """Give a temporary folder to fill; flush it to the disk and move it to `target` at the end.

    When the block fails, the temporary folder goes and `target` is as it was.

    Args:
        target: the folder to write.
        overwrite: whether one that stands there is replaced. All that it holds is removed, so the
            caller checks first that it holds nothing else.
        keep: by name, the entries of a replaced folder that are copied to the new one.

    Raises:
        InputError: `target` exists (unless `overwrite`), or the disk is full or read-only.
    """
    refuse_existing(target, overwrite)
    target = target.resolve()  # what a link points to is replaced, not the link
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise _cannot_write(target, error) from None
    try:
        with on_leave(lambda: shutil.rmtree(partial, ignore_errors=True)):
            yield partial
            _let_others_read(partial)
            if keep is not None and target.is_dir():
                _copy_entries(target, partial, keep)
            flush(partial)
            move_folder(partial, target)
    except Exception as error:  # tokenizers tells of a full disk by nothing more special
        if isinstance(error, InputError) or not _is_system_error(error):
            raise
        raise _cannot_write(target, error) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def temporary_folder(within: Path | None = None) -> Iterator[Path]:
    """Give a folder that is gone after the block, and when a signal ends the process in it."""
    folder = Path(tempfile.mkdtemp(prefix="genir-", dir=within))

    def remove() -> None:
        shutil.rmtree(folder, ignore_errors=True)

    try:
        with on_leave(remove):
            yield folder
    finally:
        remove()


def remove_leftovers(target: Path) -> None:
    """Remove what processes that were killed left of `new_folder`; only for who has a lock."""
    target = target.resolve()
    for path in target.parent.glob(f".{glob.escape(target.name)}.????????"):
        shutil.rmtree(path, ignore_errors=True)


def _let_others_read(folder: Path) -> None:
    """Undo the modes of mkdtemp and safetensors, as far as the umask goes: whoever serves a model
    may be another user.
    """
    mask = os.umask(0)
    os.umask(mask)
    for path in [folder, *folder.rglob("*")]:
        path.chmod((0o777 if path.is_dir() else 0o666) & ~mask)


def _is_system_error(error: Exception) -> bool:
    """Tell whether a write failed: safetensors, tokenizers and marisa say so in words alone."""
    told = any(words in str(error) for words in ("(os error ", "MARISA_IO_ERROR"))
    return isinstance(error, OSError) or told


def _cannot_write(target: Path, error: Exception) -> InputError:
    told = re.search(r"\(os error (\d+)\)", str(error))
    number = int(told[1]) if told else getattr(error, "errno", None)
    reason = {
        errno.ENOSPC: "the disk is full; make room and run it again",
        errno.EACCES: "no permission to write there; choose another place",
        errno.EROFS: "the file system is read-only; choose another place",
    }.get(number or 0, f"{error}; choose another place")
    return FolderError(f"{target}: cannot be written: {reason}. What was there is as it was")


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


def flush(folder: Path) -> None:
    """Force every file and folder below `folder` to the disk."""
    for path in [*folder.rglob("*"), folder]:
        if path.is_symlink():  # part of its folder, and perhaps a link to nothing
            continue
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def move_folder(source: Path, target: Path) -> None:
    """Move a folder to `target`; one that stands there is exchanged in one step, then removed."""
    if not target.exists():
        source.rename(target)
    elif _exchange(source, target):
        shutil.rmtree(source)
    else:  # Not Linux: two renames; between them the old folder is complete under its new name.
        old = target.with_name(f".{target.name}.old")
        target.rename(old)
        source.rename(target)
        shutil.rmtree(old)
    flush_entry(target.parent)


def flush_entry(folder: Path) -> None:
    """Force a folder's own list of names to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two folders atomically by renameat2(2); tell whether the system can."""
    if not sys.platform.startswith("linux"):
        return False
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    names = os.fsencode(one), os.fsencode(other)
    return bool(rename(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE) == 0)
