"""Copies of a folder that is changed meanwhile, and a folder whose journal has lost its end."""

import json
import os
import shutil
import sqlite3
from contextlib import closing
from functools import partial

import pytest
from changing import found, make_document, state
from typer.testing import CliRunner
from writer import KEYS, work

from genir.cli import app
from genir.errors import InputError
from genir.manifest import check_manifest
from genir.retriever import Retriever
from genir.updates import backup
from genir.updates.backup import Recovered, back_up, recover
from genir.updates.changes import Change, SetLive
from genir.updates.journal import Transaction
from genir.updates.journal_shape import journal_validator


def genir(*arguments):
    done = CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_backup_is_the_folder_at_its_last_version(folder, tmp_path):
    retriever = Retriever.load(folder, "cpu")
    retriever.add([make_document("a")])
    retriever.delete(["copy-file"])
    report = json.loads(genir("backup", folder, tmp_path / "copy", "--json"))
    assert report["version"] == 2 and report["bytes"] > 1000
    copy = Retriever.load(tmp_path / "copy", "cpu")
    assert state(copy) == state(retriever) and copy.version == 2
    copy.delete(["a"])
    assert "a" in state(Retriever.load(folder, "cpu"))
    with pytest.raises(InputError, match="exists already"):
        back_up(folder, tmp_path / "copy")
    assert back_up(folder, tmp_path / "copy", overwrite=True) == 2
    assert "a" in state(Retriever.load(tmp_path / "copy", "cpu"))


def test_a_folder_without_changes_is_copied(folder, tmp_path):
    assert back_up(folder, tmp_path / "copy") == 0
    assert state(Retriever.load(tmp_path / "copy", "cpu")) == state(Retriever.load(folder, "cpu"))


def test_a_damaged_folder_is_not_copied(folder, tmp_path):
    (folder / "documents.sqlite").write_bytes(b"x")
    with pytest.raises(InputError, match=r"documents\.sqlite"):
        back_up(folder, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_folder_compacted_while_it_is_copied_is_copied_again(folder, tmp_path, monkeypatch):
    retriever = Retriever.load(folder, "cpu")
    retriever.add([make_document("a")])
    copy_journal, calls = backup._copy_journal, []

    def compacted_meanwhile(base, copy):
        if not calls:
            retriever.compact()
        calls.append(base.version)
        copy_journal(base, copy)

    monkeypatch.setattr(backup, "_copy_journal", compacted_meanwhile)
    assert back_up(folder, tmp_path / "copy") == 1 and calls == [0, 1]
    assert state(Retriever.load(tmp_path / "copy", "cpu")) == state(retriever)


def test_copies_made_while_a_writer_works_are_whole(folder, tmp_path):
    import multiprocessing

    context = multiprocessing.get_context("spawn")
    process = context.Process(target=work, args=(folder, tmp_path / "log", 0, KEYS))
    process.start()
    try:
        while not (tmp_path / "log").exists() or b"done" not in (tmp_path / "log").read_bytes():
            assert process.is_alive()
        versions = []
        for number in range(6):
            versions.append(back_up(folder, tmp_path / f"copy-{number}"))
            copy = Retriever.load(tmp_path / f"copy-{number}", "cpu")
            assert copy.version == versions[-1] and found(copy)
    finally:
        process.kill()
        process.join()
    assert versions == sorted(versions) and versions[-1] > 0


def lose(folder, *names):
    for name in names:
        (folder / name).unlink()


@pytest.fixture
def changed(folder, tmp_path):
    """Return a copy of a folder with three changes, as a killed process leaves it."""
    retriever = Retriever.load(folder, "cpu")
    for key in "abc":
        retriever.add([make_document(key)])
    copy = shutil.copytree(folder, tmp_path / "killed", ignore=shutil.ignore_patterns("*-shm"))
    with closing(retriever.updates._journal):
        yield copy


@pytest.mark.parametrize("lost", [["journal-0.sqlite-wal"], ["journal-0.head"],
                                  ["journal-0.sqlite"]])  # fmt: skip
def test_a_folder_that_lost_a_file_of_its_journal_is_refused_by_every_reader(changed, lost):
    lose(changed, *lost)
    with pytest.raises(InputError, match=r"journal-0.sqlite: damaged: .*genir recover"):
        Retriever.load(changed, "cpu")


def test_a_running_model_notices_that_the_journal_fell_behind(changed):
    retriever = Retriever.load(changed, "cpu")
    retriever.updates._journal.close()
    base = retriever.updates._journal.base
    base.record.advance(backup.Commit(7, b"more"))
    with pytest.raises(InputError, match="it ends at version 3, but version 7 was acknowledged"):
        retriever.sync()
    with pytest.raises(InputError, match="version 7 was acknowledged"):
        retriever.delete(["a"])


def test_recovering_keeps_intact_changes(changed):
    log = changed / "journal-0.sqlite-wal"
    os.truncate(log, log.stat().st_size - 100)
    with pytest.raises(InputError, match="version 3 was acknowledged"):
        Retriever.load(changed, "cpu")
    out = genir("recover", changed)
    assert "last acknowledged version: 3" in out and out.endswith("; version 2\n")
    recovered = Retriever.load(changed, "cpu")
    assert recovered.version == 2 and {"a", "b"} <= state(recovered).keys() - {"c"}
    (moved,) = changed.parent.glob("killed.damaged-*")
    assert {path.name for path in moved.iterdir()} >= {"journal-0.sqlite", "journal-0.head"}
    recovered.add([make_document("c")])
    assert recovered.version == 3
    assert recover(changed) == Recovered(3, 3, None)
    assert "the journal is intact" in genir("recover", changed)


def test_recovering_without_a_record_keeps_all_that_is_in_the_database(changed):
    lose(changed, "journal-0.head")
    found = recover(changed)
    assert (found.version, found.committed) == (3, None)
    assert {"a", "b", "c"} <= state(Retriever.load(changed, "cpu")).keys()


def test_recovering_without_a_database_goes_back_to_the_folder(changed):
    lose(changed, "journal-0.sqlite", "journal-0.sqlite-wal")
    found = recover(changed)
    assert (found.version, found.committed) == (0, 3)
    assert not state(Retriever.load(changed, "cpu")).keys() & {"a", "b", "c"}


def test_a_damaged_journal_is_named_where_it_is_and_not_copied(changed, tmp_path):
    with closing(sqlite3.connect(changed / "journal-0.sqlite")) as connection, connection:
        connection.execute("UPDATE entries SET live = 0 WHERE version = 2")
    with pytest.raises(InputError, match=rf"^{changed / 'journal-0.sqlite'}: damaged: change 2"):
        back_up(changed, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("place", ["model", "model/inside", ".", "model/../model"])
def test_a_backup_never_goes_to_the_model_itself_inside_or_above(folder, tmp_path, place):
    target = folder.parent / place.replace("model", folder.name)
    (folder.parent / "precious").write_text("x")
    for overwrite in (False, True):
        with pytest.raises(InputError, match="inside it or above it; choose another path"):
            back_up(folder, target, overwrite)
    assert (folder.parent / "precious").exists() and state(Retriever.load(folder, "cpu"))


def test_a_backup_replaces_no_folder_but_a_model(folder, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "file").write_text("x")
    with pytest.raises(InputError, match="is not a model folder, so it is not replaced"):
        back_up(folder, tmp_path / "home", overwrite=True)
    assert (tmp_path / "home" / "file").read_text() == "x"
    (tmp_path / "home" / "manifest.json").write_text('{"name": "a web app"}')
    retriever = Retriever.load(folder, "cpu")
    for write in (partial(back_up, folder), retriever.save):
        with pytest.raises(InputError, match="is not a model folder, so it is not replaced"):
            write(tmp_path / "home", overwrite=True)
    assert (tmp_path / "home" / "file").read_text() == "x"


def about(folder):
    """Put files into a model folder as a clone of a hub has them; return how to read them."""
    (folder / ".git").mkdir()
    names = (".git/HEAD", "README.md", "LICENSE")
    for name in names:
        (folder / name).write_text(name)
    return lambda: [(folder / name).read_text() for name in names] == list(names)


def test_a_folder_written_anew_keeps_the_files_of_a_clone(changed):
    still = about(changed)
    retriever = Retriever.load(changed, "cpu")
    inode = changed.stat().st_ino
    retriever.compact()
    assert still() and changed.stat().st_ino != inode
    retriever.save(changed, overwrite=True)
    assert still()
    (changed / "notes.txt").write_text("x")
    with pytest.raises(InputError, match=r"notes\.txt: not listed"):
        retriever.save(changed, overwrite=True)
    assert (changed / "notes.txt").read_text() == "x"


def test_a_recovered_folder_keeps_the_files_of_a_clone(changed):
    still = about(changed)
    lose(changed, "journal-0.head")
    assert recover(changed).set_aside is not None and still()


def test_a_recovery_that_is_killed_leaves_the_damaged_folder(changed, monkeypatch):
    lose(changed, "journal-0.head")
    before = sorted(path.name for path in changed.iterdir())

    class Killed(BaseException):
        pass

    def kill(self, change):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Transaction, "copy", kill)
        with pytest.raises(Killed):
            recover(changed)
    assert sorted(path.name for path in changed.iterdir()) == before
    with pytest.raises(InputError, match="genir recover"):
        Retriever.load(changed, "cpu")
    assert recover(changed).version == 3


def test_a_folder_in_the_place_of_a_journal_file_is_recovered_from(changed):
    lose(changed, "journal-0.sqlite-wal")
    (changed / "journal-0.sqlite-wal").mkdir()
    found = recover(changed)
    assert found.committed == 3 and found.version == 0
    assert Retriever.load(changed, "cpu").version == 0


@pytest.fixture
def misfit(folder):
    """Return a folder with one change, one of another model, and one after that."""
    retriever = Retriever.load(folder, "cpu")
    retriever.add([make_document("a")])
    journal = retriever.updates._journal
    for version, key in [(2, "absent-key"), (3, "copy-file")]:
        with journal.transaction() as writing:
            writing.copy(Change(version, "delete", "now", [SetLive(key, False)]))
    journal.close()
    return folder


def test_a_folder_that_loading_refuses_is_not_copied(misfit, tmp_path):
    for use in (lambda: Retriever.load(misfit, "cpu"), lambda: back_up(misfit, tmp_path / "copy")):
        with pytest.raises(
            InputError, match="'absent-key': is marked live or deleted, but was never"
        ) as refused:
            use()
        assert f"{misfit}/journal-0.sqlite: damaged" in str(refused.value)
    assert not (tmp_path / "copy").exists()


def test_recovering_keeps_the_changes_before_one_of_another_model(misfit):
    recovered = recover(misfit)
    assert (recovered.version, recovered.committed) == (1, 3) and recovered.set_aside.is_dir()
    again = Retriever.load(misfit, "cpu")
    assert again.version == 1 and {"a", "copy-file"} <= state(again).keys()
    assert recover(misfit) == Recovered(1, 1, None)


@pytest.mark.parametrize("scheme", ["atomic", "residual", "url"])
def test_a_journal_is_held_against_the_bounds_that_loading_has(tiny_folder, scheme):
    folder = tiny_folder(scheme)
    assert (
        journal_validator(folder).func.__self__
        == Retriever.load(folder, "cpu").updates.loaded.shape
    )


def test_a_folder_that_is_replaced_while_it_is_checked_is_checked_again(
    folder, tmp_path, monkeypatch
):
    failures = ["replaced"]

    def check(place):
        if failures:
            os.utime(place / "manifest.json", ns=(1, 1))
            raise InputError(failures.pop())
        return check_manifest(place)

    monkeypatch.setattr("genir.updates.backup.check_manifest", check)
    back_up(folder, tmp_path / "copy")
    assert not failures and check_manifest(tmp_path / "copy")


def test_a_damaged_folder_is_not_checked_for_ever(folder, tmp_path):
    (folder / "documents.sqlite").write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"documents\.sqlite: 7 bytes instead of"):
        back_up(folder, tmp_path / "copy")
