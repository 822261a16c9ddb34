"""The journal on its own: damage is named, a cut log leaves the acknowledged prefix."""

import os
import random
import resource
import shutil
import sqlite3
from contextlib import closing, contextmanager
from datetime import datetime

import pytest
from changing import make_document, state

from genir.errors import InputError
from genir.retriever import Retriever
from genir.updates import journal as living_journal
from genir.updates import lock_timeout
from genir.updates.base_folder import JournalBase
from genir.updates.changes import Change, NetChanges, SetLive, Upsert
from genir.updates.commit_record import Commit, RecordError
from genir.updates.journal import FolderReplaced, Journal
from genir.updates.versions import resolve_rollbacks


def put(key, text="a text"):
    return Upsert(make_document(key, text), [(1, 2)], None, 3)


@pytest.fixture
def base(tmp_path):
    return JournalBase(tmp_path, 4, b"digest")


def write(base, *entries):
    journal = Journal(base)
    for entry in entries:
        with journal.transaction() as writing:
            writing.append("add", [entry])
    return journal


def test_written_files_are_read_back(base):
    journal = write(base, put("a"), SetLive("b", live=False))
    for one in (journal, Journal(base)):
        first, second = one.read()
        assert (first.version, second.version, one.head()) == (5, 6, 6)
        assert first.entries == [put("a")] and second.entries == [SetLive("b", live=False)]
        assert one.read(after=5) == [second] and one.read(after=6) == []


def test_versions_give_the_order_though_the_clock_jumps_back(folder, monkeypatch):
    years = iter((2031, 1970, 2040, 1999))

    class Jumping:
        @staticmethod
        def now(zone):
            return datetime(next(years), 1, 1, tzinfo=zone)

    monkeypatch.setattr(living_journal, "datetime", Jumping)
    retriever = Retriever.load(folder, "cpu")
    for text in ("erase a wire", "hide one host"):
        retriever.put([make_document("a", text)])
    retriever.delete(["copy-file"])
    for one in (retriever, Retriever.load(folder, "cpu")):
        assert [version.made[:4] for version in one.versions()[1:]] == ["2031", "1970", "2040"]
        assert one.documents.find("a").text == "hide one host" and one.version == 3
    retriever.rollback(1)
    assert state(retriever) == state(Retriever.load(folder, "cpu"))
    assert retriever.documents.find("a").text == "erase a wire" and "copy-file" in state(retriever)


def test_a_folder_exchanged_within_a_tick_of_the_clock_is_noticed(folder):
    reader, writer = Retriever.load(folder, "cpu"), Retriever.load(folder, "cpu")
    facts = (folder / "manifest.json").stat()
    writer.delete(["copy-file"])
    writer.compact()
    os.utime(folder / "manifest.json", ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert reader.sync() and state(reader) == state(writer)


def test_a_folder_without_a_journal_has_no_changes(base):
    assert Journal(base).read() == [] and Journal(base).head() == 4
    assert not base.path.exists()


def test_a_block_that_fails_writes_nothing(base):
    journal = write(base, put("a"))
    with pytest.raises(ZeroDivisionError), journal.transaction() as writing:
        writing.append("add", [put("b")])
        _ = 1 / 0
    assert len(journal.read()) == 1 == len(Journal(base).read())


def change(statement):
    def damage(path):
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(statement)

    return damage


def cut(share):
    def damage(path):
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * share)])

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        change("UPDATE entries SET live = 0 WHERE version = 5"),
        change("UPDATE entries SET document = replace(document, 'text', 'test')"),
        change("UPDATE changes SET kind = 'delete' WHERE version = 6"),
        change("DELETE FROM entries WHERE version = 5"),
        change("DELETE FROM changes WHERE version = 6"),
        change("DELETE FROM changes WHERE version = 7"),
        change("DELETE FROM changes"),
        change("UPDATE head SET version = 9"),
        change("DROP TABLE changes"),
        change("PRAGMA user_version = 1"),
        change("CREATE TRIGGER t AFTER INSERT ON changes BEGIN DELETE FROM entries; END"),
        change("CREATE VIEW v AS SELECT 1"),
        cut(0),
        cut(0.3),
        cut(0.8),
        lambda path: path.write_bytes(b"no database" * 1000),
    ],
)
def test_damage_is_noticed_and_named(base, damage):
    write(base, put("a"), put("b"), put("c", "x" * 20_000)).close()
    damage(base.path)
    with pytest.raises(InputError, match=rf"^{base.path}: damaged: .*version 4"):
        Journal(base).read()


def test_another_model_s_journal_is_noticed(base):
    write(base, put("a")).close()
    with pytest.raises(InputError, match="change 5 is missing or altered"):
        Journal(JournalBase(base.folder, 4, b"other")).read()


def test_a_journal_with_another_last_change_is_detected(base):
    (base.folder / "other").mkdir()
    other = JournalBase(base.folder / "other", 4, b"digest")
    write(base, put("a")).close()
    write(other, put("b")).close()
    assert not log_of(other).exists()  # everything is in the database
    shutil.copyfile(other.path, base.path)
    with pytest.raises(InputError, match="change 5 differs from the acknowledged one"):
        Journal(base).read()


def test_a_truncated_log_is_detected_or_keeps_acknowledged_changes(base, tmp_path):
    journal = write(base, *(put(f"n{n}", "x" * 3000) for n in range(6)))
    whole, data = base.path.read_bytes(), log_of(base).read_bytes()
    record = base.record.path.read_bytes()
    digests = dict(journal._connection().execute("SELECT version, digest FROM changes"))
    for number, size in enumerate(range(0, len(data), len(data) // 9)):
        folder = tmp_path / f"cut-{number}"
        folder.mkdir()
        copy = JournalBase(folder, 4, b"digest")
        copy.path.write_bytes(whole)
        log_of(copy).write_bytes(data[:size])
        copy.record.path.write_bytes(record)
        with pytest.raises(InputError, match=r"version 10 was acknowledged"):
            Journal(copy).read()
        changes = Journal(copy).verify()
        # As after a power cut in the middle of the next commit.
        last = changes[-1].version if changes else 4
        copy.record.path.unlink()
        copy.record.create(Commit(last, digests.get(last, b"digest")))
        assert Journal(copy).read() == changes
        assert [one.entries for one in changes] == [[put(f"n{n}", "x" * 3000)]
                                                   for n in range(len(changes))]  # fmt: skip
    assert len(journal.read()) == 6


def test_a_log_that_is_gone_is_noticed(base):
    journal = write(base, put("a"), put("b"))
    copy = shutil.copytree(base.folder, base.folder / "copy")
    log_of(JournalBase(copy, 4, b"digest")).unlink()
    for look in ("head", "read"):
        with pytest.raises(InputError, match=r"version 4, but version 6 was acknowledged"):
            getattr(Journal(JournalBase(copy, 4, b"digest")), look)()
    with (
        pytest.raises(InputError, match=r"genir recover"),
        Journal(JournalBase(copy, 4, b"digest")).transaction(),
    ):
        raise AssertionError
    assert journal.head() == 6


def test_any_flipped_byte_of_the_log_or_the_record_is_noticed_or_changes_nothing(base, tmp_path):
    journal = write(base, put("a"), put("b"))
    right, rng = journal.read(), random.Random(0)
    noticed = 0
    for number in range(200):
        folder = shutil.copytree(base.folder, tmp_path / "flips" / str(number),
                                 ignore=shutil.ignore_patterns("flips", "*-shm"))  # fmt: skip
        copy = JournalBase(folder, 4, b"digest")
        path = rng.choice([copy.path, log_of(copy), copy.record.path])
        data = bytearray(path.read_bytes())
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        try:
            assert Journal(copy).read() == right
        except InputError as error:
            assert str(copy.path) in str(error)
            noticed += 1
    assert noticed > 20 and journal.read() == right


@pytest.mark.parametrize("target", [6, 7, 3, -1])
def test_a_rollback_to_itself_or_to_no_version_is_damage(base, target):
    journal = write(base, put("a"))
    with journal.transaction() as writing:
        writing.append("rollback", [], target)
    with pytest.raises(InputError, match=f"change 6 goes back to version {target}"):
        journal.read()


def test_commits_recorded_out_of_order_keep_the_last(base):
    record = base.record
    record.create(Commit(4, b"digest"))
    for version in (5, 7, 6, 4, 8, 7):
        record.advance(Commit(version, bytes([version])))
    assert record.read() == Commit(8, b"\x08")


def test_a_commit_is_recorded_on_disk_before_it_is_acknowledged(base, monkeypatch):
    flushed = []
    monkeypatch.setattr(
        os, "fsync", lambda file: flushed.append(os.readlink(f"/proc/self/fd/{file}"))
    )
    write(base, put("a")).close()
    assert flushed.count(str(base.record.path)) == 1  # the change
    assert any(path.endswith(".part") for path in flushed)  # the new record


@pytest.mark.parametrize("slot", [0, 1])
def test_a_record_torn_while_it_was_written_leaves_the_commit_before(base, slot):
    record = base.record
    record.create(Commit(4, b"digest"))
    record.advance(Commit(5, b"five"))
    record.advance(Commit(6, b"six"))
    data = bytearray(record.path.read_bytes())
    data[slot * 512 + 3] ^= 1
    record.path.write_bytes(data)
    assert record.read().version == (5 if slot == 0 else 6)
    record.path.write_bytes(data[:40])
    with pytest.raises(RecordError, match="both copies"):
        record.read()


def log_of(base):
    return base.path.with_name(f"{base.path.name}-wal")


def test_a_writer_that_waits_too_long_gets_an_error(base, monkeypatch):
    monkeypatch.setattr(lock_timeout, "MIN_WAIT_S", 0.05)
    first, second = write(base, put("a")), Journal(base)
    with (
        lock_timeout.waiting_until(0.0),
        first.transaction() as writing,
        pytest.raises(
            InputError, match=r"another process holds the write lock.* Nothing has changed"
        ),
        second.transaction(),
    ):
        raise AssertionError
    with first.transaction() as writing:
        writing.append("add", [put("b")])
    assert len(second.read()) == 2


def test_a_journal_whose_folder_was_exchanged_is_not_written_to(tmp_path):
    old, new = (JournalBase(tmp_path / "model", version, b"digest") for version in (4, 5))
    old.folder.mkdir()
    journal = write(old, put("a"))
    old.folder.rename(tmp_path / "old")
    new.folder.mkdir()
    write(new, put("b"))
    with pytest.raises(FolderReplaced):
        journal.read()
    with pytest.raises(FolderReplaced), journal.transaction():
        raise AssertionError
    journal.close()
    assert [one.entries for one in Journal(new).read()] == [[put("b")]]


def test_rollbacks_undo_changes_after_their_target():
    def made(version, target=None):
        return Change(version, "add" if target is None else "rollback", "", [], target)

    changes = [made(5), made(6), made(7, 5), made(8), made(9, 7), made(10, 8), made(11)]
    assert [one.version for one in resolve_rollbacks(changes[:2], 4)] == [5, 6]
    assert [one.version for one in resolve_rollbacks(changes[:3], 4)] == [5]
    assert [one.version for one in resolve_rollbacks(changes[:5], 4)] == [5]
    assert [one.version for one in resolve_rollbacks(changes, 4)] == [5, 8, 11]
    assert resolve_rollbacks([made(5), made(6, 4)], 4) == [] == resolve_rollbacks([], 4)


def test_the_last_word_on_a_key_counts():
    outcome = NetChanges.fold(
        [
            Change(1, "add", "", [put("a"), put("b")]),
            Change(2, "delete", "", [SetLive("a", live=False), SetLive("c", live=False)]),
            Change(3, "replace", "", [put("b", "another")]),
            Change(4, "add", "", [SetLive("c", live=True)]),
        ]
    )
    assert outcome.live == {"a": False, "b": True, "c": True}
    assert outcome.upserts == {"a": put("a"), "b": put("b", "another")}


@contextmanager
def no_file_above(size):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_named_and_loses_nothing(folder):
    retriever = Retriever.load(folder, "cpu")
    retriever.add([make_document("a")])
    before = state(retriever)
    limit = (folder / "journal-0.sqlite-wal").stat().st_size + 1000
    with no_file_above(limit), pytest.raises(InputError, match=r"disk is full.*Nothing has chang"):
        retriever.add([make_document("b", "long " * 20_000)])
    assert state(retriever) == before == state(Retriever.load(folder, "cpu"))
    with no_file_above(1000), pytest.raises(InputError, match=r"cannot be written: .*is unchanged"):
        retriever.compact()
    assert state(retriever) == before == state(Retriever.load(folder, "cpu"))
    retriever.add([make_document("b")])
    assert state(Retriever.load(folder, "cpu")).keys() == {*before, "b"}


def test_a_read_only_process_sees_changes_of_others(folder, monkeypatch):
    writer = Retriever.load(folder, "cpu")
    writer.add([make_document("a")])
    writer.updates._journal.close()  # leaves no log
    with monkeypatch.context() as patch:
        patch.setattr(living_journal.os, "access", lambda path, mode: False)
        reader = Retriever.load(folder, "cpu")
    writer.delete(["a"])
    monkeypatch.setattr(living_journal.os, "access", lambda path, mode: False)
    assert reader.sync() and state(reader) == state(writer) and "a" not in state(reader)


@pytest.mark.parametrize("logged", [False, True])
def test_a_folder_that_cannot_be_written_still_answers(folder, logged, monkeypatch):
    writer = Retriever.load(folder, "cpu")
    writer.add([make_document("a")])
    before = state(writer)
    if not logged:
        writer.updates._journal.close()
    monkeypatch.setattr(living_journal.os, "access", lambda path, mode: False)
    reader = Retriever.load(folder, "cpu")
    assert state(reader) == before
    with pytest.raises(InputError, match=r"the model folder is read-only .*Nothing has changed"):
        reader.delete(["a"])
    assert state(reader) == before


@pytest.mark.parametrize("version", [-1, None, "zzz", True, 4.0])
def test_a_record_of_another_type_is_damage(base, version):
    base.record.create(Commit(version, b"digest"))
    with pytest.raises(RecordError, match="both copies"):
        base.record.read()
