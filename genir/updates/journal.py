"""Append-only journal of a model folder, in SQLite (WAL): all changes since the folder was written.

A change is one transaction, flushed before it is acknowledged. Its sha256 covers the previous
change's, starting from the folder's manifest; a missing, altered or foreign change is detected.
`commit_record` stores the last acknowledged version in a separate file, which detects a truncated
database. File names contain the version of the folder (`journal-12.sqlite`, `journal-12.head`):
processes with the journal of a folder that was compacted since do not share a write-ahead log
with the new journal.
"""

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from typing import get_args

from genir.atomic_dirs import fsync_parent
from genir.console import command
from genir.corpus.store_file import identity, schema_of, tables_of
from genir.errors import FolderError, InputError
from genir.updates.base_folder import JournalBase
from genir.updates.changes import Change, Entry, Kind, Row, digest, from_row, to_row
from genir.updates.commit_record import Commit, RecordError
from genir.updates.lock_timeout import seconds_to_wait

APPLICATION = 0x67656E6A  # "genj"
FORMAT = 3
"""Version of the table layout, stored as SQLite user_version."""
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
"""Columns of the table `entries` that encode an entry."""


class FolderReplaced(Exception):
    """The folder was replaced since it was opened; load it again."""


class Journal:
    """Changes of one folder. Safe for concurrent threads and processes."""

    def __init__(self, base: JournalBase) -> None:
        self.base = base
        self.path = base.path
        self.record = base.record
        self._lock = threading.RLock()
        self._open: tuple[sqlite3.Connection, int, tuple[int, int]] | None = None
        self._unchanged = False  # opened as immutable

    # --- reading -------------------------------------------------------------------------------

    def head(self) -> int:
        """Return the version of the last change. Raises as `read` does."""
        if self._is_absent():
            return self.base.version
        with self._reading() as (connection, recorded):
            (last,) = connection.execute("SELECT version FROM head").fetchone()
            if last < recorded.version:
                raise self._lost_error(last, recorded)
            return int(last)

    def read(self, after: int | None = None) -> list[Change]:
        """Return verified changes after a version, oldest first; None reads all.

        Raises:
            FolderReplaced: the folder was replaced.
            InputError: the journal is damaged or belongs to another model.
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
        """Return whether there is no journal. Raises InputError if it was lost."""
        if self._open is not None or self.path.exists():
            return False
        if self.record.exists() and not self.path.exists():
            recorded = self._recorded()
            if recorded.version > self.base.version:
                raise self._lost_error(self.base.version, recorded)
        return True

    def _recorded(self) -> Commit:
        """Return the last recorded commit. Raises FolderReplaced if the files are gone."""
        try:
            return self.record.read()
        except RecordError as error:
            if not self.record.exists() and not self.path.exists():
                raise FolderReplaced from None
            raise self.damaged(str(error)) from None

    def _refuse_lost(self, connection: sqlite3.Connection, recorded: Commit) -> None:
        """Raise InputError unless the database contains the recorded commit."""
        (last,) = connection.execute("SELECT version FROM head").fetchone()
        if last < recorded.version:
            raise self._lost_error(last, recorded)
        if self._digest_at(connection, recorded.version) != recorded.digest:
            raise self.damaged(f"change {recorded.version} differs from the acknowledged one")

    def _lost_error(self, last: int, recorded: Commit) -> InputError:
        return self.damaged(
            f"it ends at version {last}, but version {recorded.version} was acknowledged (is "
            f"{self.path.name}-wal missing or damaged?)"
        )

    def verify(self) -> list[Change]:
        """Return the changes before the first missing or altered one, ignoring the record.

        Raises:
            FolderReplaced: there is no journal.
        """
        found = list[Change]()
        with suppress(InputError, sqlite3.Error, TypeError, ValueError):
            for change in self._chain(self._connection(), self.base.version):
                found.append(change)  # one by one: kept if the next raises
        return found

    def copy_to(self, target: sqlite3.Connection) -> None:
        """Copy the database up to its last commit. Raises as `read` does."""
        with self._reading() as (connection, _):
            connection.backup(target)

    def _checked(self, connection: sqlite3.Connection, after: int) -> list[Change]:
        (last,) = connection.execute("SELECT version FROM head").fetchone()
        found = list(self._chain(connection, after))
        if last != after + len(found):
            raise self.damaged(f"changes {after + len(found) + 1} to {last} are missing")
        return found

    def _chain(self, connection: sqlite3.Connection, after: int) -> Iterator[Change]:
        """Yield the changes after a version. Raises InputError at the first damaged one."""
        before = self._digest_at(connection, after)
        heads = connection.execute(
            "SELECT version, kind, made, target, digest FROM changes WHERE version > ? "
            "ORDER BY version", (after,),
        ).fetchall()  # fmt: skip
        for expected, (*columns, stored) in enumerate(heads, after + 1):
            version, kind, made, target = columns
            rows = connection.execute(
                f"SELECT {ENTRY} FROM entries WHERE version = ? ORDER BY place", (version,)
            ).fetchall()
            before = digest(before, tuple(columns), rows)
            if version != expected or before != stored:
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
    def transaction(self) -> Iterator["Transaction"]:
        """Open a write transaction; its changes are on disk when the block ends.

        Raises:
            FolderReplaced: the folder was replaced.
            InputError: the folder cannot be written or stays locked; nothing has changed.
        """
        self._create()
        with self._lock:
            connection = self._connection()
            try:
                connection.execute("BEGIN IMMEDIATE")
                self._refuse_moved()  # the lock prevents replacement from here on
                self._refuse_lost(connection, self._recorded())
                writing = Transaction(self, connection)
                yield writing
                connection.commit()
            except sqlite3.Error as error:
                raise self._as_input_error(error) from None
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
                "the journal, but may be lost with the disk: repair the disk and repeat the change"
            ) from None

    def append(self, connection: sqlite3.Connection, change: Change) -> Commit:
        """Write a change as the next version; return its commit."""
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
        """Create the files atomically if there are none."""
        if not self._is_absent():
            return
        part = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")
        try:
            part.unlink(missing_ok=True)
            with closing(sqlite3.connect(part)) as connection:
                with connection:
                    connection.executescript(SCHEMA)
                    connection.execute("INSERT INTO head VALUES (?)", (self.base.version,))
                # Before the file is shared: switching the mode would wait for other connections.
                connection.execute("PRAGMA journal_mode = WAL")
            # The record first: a journal without a record counts as damaged.
            self.record.create(Commit(self.base.version, self.base.digest))
            with suppress(FileExistsError):  # another process created it
                os.link(part, self.path)
            fsync_parent(self.path.parent)
        except (OSError, sqlite3.Error) as error:
            raise self._as_input_error(error) from None
        finally:
            for ending in ("", "-journal", "-wal", "-shm"):
                with suppress(OSError):
                    part.with_name(part.name + ending).unlink(missing_ok=True)

    # --- the file ------------------------------------------------------------------------------

    @contextmanager
    def _reading(self) -> Iterator[tuple[sqlite3.Connection, Commit]]:
        """Yield the connection and the last commit, recorded before the read."""
        with self._lock:
            try:
                recorded = self._recorded()
                connection = self._connection()
                self._refuse_moved()
                yield connection, recorded
            except (sqlite3.Error, TypeError, ValueError) as error:
                if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
                    raise self._as_input_error(error) from None
                raise self.damaged(str(error)) from None
            finally:
                if self._unchanged:  # immutable: later writes would be invisible
                    self.close()

    def _connection(self) -> sqlite3.Connection:
        """Return the connection of this process; one is not inherited across a fork."""
        if self._open is None or self._open[1] != os.getpid():
            try:
                connection = self._connect()
            except OSError:
                raise FolderReplaced from None
            self._open = connection, os.getpid(), identity(self.path)
        connection = self._open[0]
        connection.execute(f"PRAGMA busy_timeout = {seconds_to_wait() * 1000:.0f}")
        return connection

    def _connect(self) -> sqlite3.Connection:
        uri, before = self.path.resolve().as_uri(), identity(self.path)
        writable = os.access(self.path.parent, os.W_OK) and os.access(self.path, os.W_OK)
        # A read-only folder cannot hold a new log; without a log the file is immutable.
        log = self.path.with_name(f"{self.path.name}-wal")
        still = not writable and not (log.exists() and log.stat().st_size)
        mode = "mode=rw" if writable else "immutable=1" if still else "mode=ro"
        self._unchanged = mode == "immutable=1"
        connection = sqlite3.connect(
            f"{uri}?{mode}",
            uri=True,
            timeout=seconds_to_wait(),
            check_same_thread=False,
            isolation_level=None,
        )
        try:
            header = [connection.execute(f"PRAGMA {name}").fetchone()[0]
                      for name in ("application_id", "user_version")]  # fmt: skip
            if header != [APPLICATION, FORMAT] or tables_of(connection) != schema_of(SCHEMA):
                raise sqlite3.DatabaseError("it is not a journal of this version of genir")
            if writable:
                connection.execute("PRAGMA synchronous = FULL")
        except sqlite3.Error as error:
            connection.close()
            if "locked" in str(error):
                raise self._as_input_error(error) from None
            raise self.damaged(str(error)) from None
        if identity(self.path) != before:
            connection.close()
            raise FolderReplaced
        return connection

    def _refuse_moved(self) -> None:
        """Raise FolderReplaced if the path is no longer the open file."""
        try:
            there = identity(self.path)
        except OSError:
            raise FolderReplaced from None
        if self._open is None or there != self._open[2]:
            raise FolderReplaced

    def close(self) -> None:
        """Close the connection; the next use opens a new one."""
        with self._lock:
            if self._open is not None and self._open[1] == os.getpid():
                self._open[0].close()
            self._open = None

    def damaged(self, problem: str) -> InputError:
        """Return the error for a damaged or foreign journal."""
        return FolderError(
            f"{self.path}: damaged: {problem}. Restore the folder from a backup; or "
            f"{command('genir', 'recover', self.path.parent)} keeps the intact changes "
            f"(the folder without its journal is version {self.base.version})"
        )

    def _as_input_error(self, error: Exception) -> InputError:
        text = str(error)
        if "locked" in text:
            remedy = "another process holds the write lock; try again"
        elif "full" in text or "disk I/O" in text:
            remedy = f"the disk is full or fails ({text}); free space and try again"
        elif any(word in text for word in ("readonly", "read-only", "Read-only", "ermission")):
            remedy = f"the model folder is read-only ({text}); update a writable copy"
        else:
            remedy = f"{text}; choose a writable folder"
        return FolderError(f"{self.path}: cannot be written: {remedy}. Nothing has changed")


class Transaction:
    """Write transaction on a journal."""

    def __init__(self, journal: Journal, connection: sqlite3.Connection) -> None:
        self._journal, self._connection = journal, connection
        self.last: Commit | None = None

    def changes(self, after: int) -> list[Change]:
        """Return the verified changes after a version."""
        return self._journal._checked(self._connection, after)

    def append(self, kind: Kind, entries: list[Entry], target: int | None = None) -> int:
        """Append a change, acknowledged when the transaction ends; return its version."""
        made = datetime.now(UTC).isoformat(timespec="seconds")
        return self.copy(Change(0, kind, made, entries, target))

    def copy(self, change: Change) -> int:
        """Append a change with its original time as the next version; return the version."""
        self.last = self._journal.append(self._connection, change)
        return self.last.version
