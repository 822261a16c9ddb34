"""The journal of a model folder: every change since the folder was written, in SQLite (WAL).

Append-only: a change is one transaction, on the disk before it is acknowledged. Each carries the
sha256 of itself and all before it, the first of the folder's manifest, so that a change that is
missing, altered or another model's is noticed. The last acknowledged version also stands in a file
of its own (`commit_record`): a database that has lost its end is refused. The files are named after
the version that the folder holds without them (`journal-12.sqlite`, `journal-12.head`): a process
that still has the journal of a folder since compacted shares no file name, and so no write-ahead
log, with the new one.
"""

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from typing import get_args

from genir.console import command
from genir.corpus.store_file import identity, schema_of, tables_of
from genir.errors import FolderError, InputError
from genir.folders import flush_entry
from genir.living.base import Base
from genir.living.changes import Change, Entry, Kind, Row, digest, from_row, to_row
from genir.living.commit_record import Commit, RecordError
from genir.living.waits import seconds_to_wait

APPLICATION = 0x67656E6A  # "genj"
FORMAT = 3
SCHEMA = f"""
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {FORMAT};
CREATE TABLE changes (
    version INTEGER PRIMARY KEY, kind TEXT NOT NULL, made TEXT NOT NULL, target INTEGER,
    digest BLOB NOT NULL
) STRICT;
CREATE TABLE entries (
    version INTEGER NOT NULL, place INTEGER NOT NULL, key TEXT NOT NULL, live INTEGER NOT NULL,
    document TEXT NOT NULL, identifiers TEXT NOT NULL, row BLOB NOT NULL, asked BLOB NOT NULL,
    queries INTEGER NOT NULL,
    PRIMARY KEY (version, place)
) STRICT, WITHOUT ROWID;
CREATE TABLE head (version INTEGER NOT NULL) STRICT;
"""
ENTRY = "key, live, document, identifiers, row, asked, queries"


class Moved(Exception):
    """The folder was replaced by another since it was opened: load it again."""


class Journal:
    """The changes of one folder. Safe to use from several threads and processes."""

    def __init__(self, base: Base) -> None:
        self.base = base
        self.path = base.path
        self.record = base.record
        self._lock = threading.RLock()
        self._open: tuple[sqlite3.Connection, int, tuple[int, int]] | None = None
        self._still = False  # whether it was opened as a file that nobody writes to

    # --- reading -------------------------------------------------------------------------------

    def head(self) -> int:
        """Return the version of the last change. Raises Moved, and InputError as `read` does."""
        if self._is_absent():
            return self.base.version
        with self._reading() as (connection, recorded):
            (last,) = connection.execute("SELECT version FROM head").fetchone()
            if last < recorded.version:
                raise self._lost(last, recorded)
            return int(last)

    def read(self, after: int | None = None) -> list[Change]:
        """Return the changes after a version, checked, oldest first; by default all.

        Raises Moved, and InputError naming what is damaged or another model's.
        """
        after = self.base.version if after is None else after
        if self._is_absent():
            return []
        with self._reading() as (connection, recorded):
            connection.execute("BEGIN")
            try:
                self._refuse_lost(connection, recorded)
                return self._checked(connection, after)
            finally:
                connection.rollback()

    def _is_absent(self) -> bool:
        """Return whether the folder has no journal. Raises InputError where it has lost one."""
        if self._open is not None or self.path.exists():
            return False
        if self.record.exists() and not self.path.exists():
            recorded = self._recorded()
            if recorded.version > self.base.version:
                raise self._lost(self.base.version, recorded)
        return True

    def _recorded(self) -> Commit:
        """Return the last recorded commit; a folder that has been replaced has no record."""
        try:
            return self.record.read()
        except RecordError as error:
            if not self.record.exists() and not self.path.exists():
                raise Moved from None
            raise self.damaged(str(error)) from None

    def _refuse_lost(self, connection: sqlite3.Connection, recorded: Commit) -> None:
        """Raise InputError unless the database holds the recorded commit, unchanged."""
        (last,) = connection.execute("SELECT version FROM head").fetchone()
        if last < recorded.version:
            raise self._lost(last, recorded)
        if self._digest_at(connection, recorded.version) != recorded.digest:
            raise self.damaged(f"change {recorded.version} is not the one that was acknowledged")

    def _lost(self, last: int, recorded: Commit) -> InputError:
        return self.damaged(
            f"it ends at version {last}, but version {recorded.version} was acknowledged (is "
            f"{self.path.name}-wal missing or damaged?)"
        )

    def intact(self) -> list[Change]:
        """Return the changes up to the first that is missing or altered, whatever the record says.

        Raises Moved where there is no journal.
        """
        found = list[Change]()
        with suppress(InputError, sqlite3.Error, TypeError, ValueError):
            for change in self._chain(self._connection(), self.base.version):
                found.append(change)  # kept when the next one raises
        return found

    def copy_to(self, target: sqlite3.Connection) -> None:
        """Copy the database as it is after its last commit. Raises as `read` does."""
        with self._reading() as (connection, _):
            connection.backup(target)

    def _checked(self, connection: sqlite3.Connection, after: int) -> list[Change]:
        (last,) = connection.execute("SELECT version FROM head").fetchone()
        found = list(self._chain(connection, after))
        if last != after + len(found):
            raise self.damaged(f"changes {after + len(found) + 1} to {last} are missing")
        return found

    def _chain(self, connection: sqlite3.Connection, after: int) -> Iterator[Change]:
        """Yield the changes after a version. Raises InputError at the first that is damaged."""
        before = self._digest_at(connection, after)
        heads = connection.execute(
            "SELECT version, kind, made, target, digest FROM changes WHERE version > ? "
            "ORDER BY version", (after,),
        ).fetchall()  # fmt: skip
        for expected, (*columns, told) in enumerate(heads, after + 1):
            version, kind, made, target = columns
            rows = connection.execute(
                f"SELECT {ENTRY} FROM entries WHERE version = ? ORDER BY place", (version,)
            ).fetchall()
            before = digest(before, tuple(columns), rows)
            if version != expected or before != told:
                raise self.damaged(f"change {expected} is missing or altered")
            if target is not None and not self.base.version <= target < version:
                raise self.damaged(f"change {version} goes back to version {target}")
            if kind not in get_args(Kind):
                raise self.damaged(f"change {version} is of an unknown kind, {kind!r}")
            try:
                entries = [from_row(row, f"change {version}") for row in rows]
            except InputError as error:
                raise self.damaged(str(error)) from None
            yield Change(version, kind, made, entries, target)

    def _digest_at(self, connection: sqlite3.Connection, version: int) -> bytes:
        if version == self.base.version:
            return self.base.digest
        found = connection.execute("SELECT digest FROM changes WHERE version = ?", (version,))
        row = found.fetchone()
        if row is None:
            raise self.damaged(f"change {version} is missing")
        return bytes(row[0])

    # --- writing -------------------------------------------------------------------------------

    @contextmanager
    def writing(self) -> Iterator["Writing"]:
        """Keep other writers out of the block. What it appends is on the disk when it ends.

        Raises Moved, and InputError when the folder cannot be written or another process does not
        stop writing; then nothing has changed.
        """
        self._create()
        with self._lock:
            connection = self._connection()
            try:
                connection.execute("BEGIN IMMEDIATE")
                self._refuse_moved()  # nobody can replace the folder while this lock is held
                self._refuse_lost(connection, self._recorded())
                writing = Writing(self, connection)
                yield writing
                connection.commit()
            except sqlite3.Error as error:
                raise self._refused(error) from None
            finally:
                with suppress(sqlite3.Error):
                    connection.rollback()
            if writing.last is not None:
                self._acknowledge(writing.last)

    def _acknowledge(self, commit: Commit) -> None:
        try:
            self.record.advance(commit)
        except (OSError, RecordError) as error:
            raise FolderError(
                f"{self.record.path}: cannot be written ({error}); version {commit.version} is in "
                "the journal, but may be lost with the disk: mend the disk and change it again"
            ) from None

    def append(self, connection: sqlite3.Connection, change: Change) -> Commit:
        """Write a change as the next version; return its version and digest."""
        (last,) = connection.execute("SELECT version FROM head").fetchone()
        head: Row = (last + 1, change.kind, change.made, change.target)
        rows = [to_row(entry) for entry in change.entries]
        signed = digest(self._digest_at(connection, last), head, rows)
        connection.execute("INSERT INTO changes VALUES (?, ?, ?, ?, ?)", (*head, signed))
        connection.executemany(
            "INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            ((last + 1, place, *row) for place, row in enumerate(rows)),
        )
        connection.execute("UPDATE head SET version = ?", (last + 1,))
        return Commit(int(last) + 1, signed)

    def _create(self) -> None:
        """Make the files if there are none: whole under other names, then put into place."""
        if not self._is_absent():
            return
        part = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")
        try:
            part.unlink(missing_ok=True)
            with closing(sqlite3.connect(part)) as connection:
                with connection:
                    connection.executescript(SCHEMA)
                    connection.execute("INSERT INTO head VALUES (?)", (self.base.version,))
                # Here, where nobody else has it open: the switch does not wait for others.
                connection.execute("PRAGMA journal_mode = WAL")
            # The record first, so that no journal is ever without one.
            self.record.create(Commit(self.base.version, self.base.digest))
            with suppress(FileExistsError):  # another process was faster
                os.link(part, self.path)
            flush_entry(self.path.parent)
        except (OSError, sqlite3.Error) as error:
            raise self._refused(error) from None
        finally:
            for ending in ("", "-journal", "-wal", "-shm"):
                with suppress(OSError):
                    part.with_name(part.name + ending).unlink(missing_ok=True)

    # --- the file ------------------------------------------------------------------------------

    @contextmanager
    def _reading(self) -> Iterator[tuple[sqlite3.Connection, Commit]]:
        """Yield the connection, and the last commit recorded before it is read."""
        with self._lock:
            try:
                recorded = self._recorded()
                connection = self._connection()
                self._refuse_moved()
                yield connection, recorded
            except (sqlite3.Error, TypeError, ValueError) as error:
                if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
                    raise self._refused(error) from None
                raise self.damaged(str(error)) from None
            finally:
                if self._still:  # somebody else may begin to write: it would not be seen
                    self.close()

    def _connection(self) -> sqlite3.Connection:
        """Return the connection; a forked process must not use its parent's."""
        if self._open is None or self._open[1] != os.getpid():
            try:
                connection = self._connect()
            except OSError:
                raise Moved from None
            self._open = connection, os.getpid(), identity(self.path)
        connection = self._open[0]
        connection.execute(f"PRAGMA busy_timeout = {seconds_to_wait() * 1000:.0f}")
        return connection

    def _connect(self) -> sqlite3.Connection:
        uri, before = self.path.resolve().as_uri(), identity(self.path)
        writable = os.access(self.path.parent, os.W_OK) and os.access(self.path, os.W_OK)
        # Where nobody can write, a log would have to be made first; without one, none is needed.
        log = self.path.with_name(f"{self.path.name}-wal")
        still = not writable and not (log.exists() and log.stat().st_size)
        mode = "mode=rw" if writable else "immutable=1" if still else "mode=ro"
        self._still = mode == "immutable=1"
        connection = sqlite3.connect(
            f"{uri}?{mode}",
            uri=True,
            timeout=seconds_to_wait(),
            check_same_thread=False,
            isolation_level=None,
        )
        try:
            told = [connection.execute(f"PRAGMA {name}").fetchone()[0]
                    for name in ("application_id", "user_version")]  # fmt: skip
            if told != [APPLICATION, FORMAT] or tables_of(connection) != schema_of(SCHEMA):
                raise sqlite3.DatabaseError("it is no journal of this genir")
            if writable:
                connection.execute("PRAGMA synchronous = FULL")
        except sqlite3.Error as error:
            connection.close()
            if "locked" in str(error):
                raise self._refused(error) from None
            raise self.damaged(str(error)) from None
        if identity(self.path) != before:
            connection.close()
            raise Moved
        return connection

    def _refuse_moved(self) -> None:
        """Raise Moved when the path leads to another file than the one that is open."""
        try:
            there = identity(self.path)
        except OSError:
            raise Moved from None
        if self._open is None or there != self._open[2]:
            raise Moved

    def close(self) -> None:
        """Close the connection; the next use opens another."""
        with self._lock:
            if self._open is not None and self._open[1] == os.getpid():
                self._open[0].close()
            self._open = None

    def damaged(self, what: str) -> InputError:
        """Return the error for a journal that is damaged or another model's."""
        return FolderError(
            f"{self.path}: damaged: {what}. Restore the folder from a backup; or "
            f"{command('genir', 'recover', self.path.parent)} keeps the changes that are "
            f"intact (the folder itself is that of version {self.base.version})"
        )

    def _refused(self, error: Exception) -> InputError:
        text = str(error)
        if "locked" in text:
            mend = "another process goes on writing, or was stopped while it wrote; try again"
        elif "full" in text or "disk I/O" in text:
            mend = f"the disk is full or fails ({text}); make room and do it again"
        elif any(word in text for word in ("readonly", "read-only", "Read-only", "ermission")):
            mend = f"the model folder is read-only ({text}); change a copy that can be written"
        else:
            mend = f"{text}; choose a place that can be written"
        return FolderError(f"{self.path}: cannot be written: {mend}. Nothing has changed")


class Writing:
    """A journal that no other process can write to."""

    def __init__(self, journal: Journal, connection: sqlite3.Connection) -> None:
        self._journal, self._connection = journal, connection
        self.last: Commit | None = None

    def changes(self, after: int) -> list[Change]:
        """Return the changes after a version, checked."""
        return self._journal._checked(self._connection, after)

    def append(self, kind: Kind, entries: list[Entry], target: int | None = None) -> int:
        """Write a change; it is acknowledged when the block ends. Return its version."""
        made = datetime.now(UTC).isoformat(timespec="seconds")
        return self.copy(Change(0, kind, made, entries, target))

    def copy(self, change: Change) -> int:
        """Write a change with the time it was made at, as the next version. Return the version."""
        self.last = self._journal.append(self._connection, change)
        return self.last.version
