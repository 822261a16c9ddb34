"""Last acknowledged version of a journal, stored outside its database.

SQLite silently ignores a damaged or missing write-ahead log, and the database falls behind the last
commit. This record is flushed after each commit; a journal that is behind it is refused.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import NamedTuple

from genir.updates.lock_timeout import seconds_to_wait

SLOT_BYTES = 512
"""Size of a slot, one disk sector: the slots are written in turn, so one survives a torn write."""


LOCK_PAUSE_S = 0.005
"""Seconds between two attempts to take the lock, which is held for a few milliseconds."""


class Commit(NamedTuple):
    """Acknowledged version and the chained digest of its change."""

    version: int
    digest: bytes


class RecordError(Exception):
    """The record is missing, or both slots are damaged."""


class CommitRecord:
    """File with two checksummed slots; the intact slot with the higher version is valid."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def exists(self) -> bool:
        """Return whether the file exists."""
        return self.path.exists()

    def read(self) -> Commit:
        """Return the last recorded commit. Raises RecordError if missing or damaged."""
        try:
            with self.path.open("rb") as file:
                data = file.read(2 * SLOT_BYTES)
        except OSError as error:
            raise RecordError(f"{self.path}: cannot be read ({error.strerror})") from None
        return self._newest(data)

    def create(self, commit: Commit) -> None:
        """Write a record with one commit unless the file exists. Raises OSError."""
        part = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")
        try:
            with part.open("wb") as file:
                file.write(_slot(commit) * 2)
                file.flush()
                os.fsync(file.fileno())
            with suppress(FileExistsError):  # another process created it
                os.link(part, self.path)
        finally:
            part.unlink(missing_ok=True)

    def advance(self, commit: Commit) -> None:
        """Record a commit, flushed to disk; a commit older than the recorded one is ignored.

        Raises:
            OSError: the file cannot be written.
            RecordError: the file is damaged.
        """
        with self._locked() as file:
            if commit.version > self._newest(os.pread(file, 2 * SLOT_BYTES, 0)).version:
                os.pwrite(file, _slot(commit), commit.version % 2 * SLOT_BYTES)
                os.fsync(file)

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """Open the file and lock it: processes may record commits out of order."""
        file = os.open(self.path, os.O_RDWR)
        try:
            _lock(file)
            yield file
        finally:
            os.close(file)

    def _newest(self, data: bytes) -> Commit:
        slots = (data[:SLOT_BYTES], data[SLOT_BYTES : 2 * SLOT_BYTES])
        commits = [commit for commit in map(_commit, slots) if commit is not None]
        if not commits:
            raise RecordError(f"{self.path}: both copies of the last version are damaged")
        return max(commits)


def _lock(file: int) -> None:
    """Lock a file. Raises OSError after `seconds_to_wait`."""
    until = monotonic() + seconds_to_wait()
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if monotonic() >= until:
                raise
        sleep(LOCK_PAUSE_S)


def _slot(commit: Commit) -> bytes:
    text = f"{commit.version} {commit.digest.hex()}"
    values = {"version": commit.version, "digest": commit.digest.hex(), "sha256": _checksum(text)}
    return json.dumps(values).encode().ljust(SLOT_BYTES - 1) + b"\n"


def _commit(slot: bytes) -> Commit | None:
    """Decode a slot; None if it is damaged."""
    try:
        values = json.loads(slot)
        commit = Commit(values["version"], bytes.fromhex(values["digest"]))
        valid = type(commit.version) is int and commit.version >= 0 and slot == _slot(commit)
        return commit if valid else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
