import errno
import os
import resource

import marisa_trie
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_model
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from genir import atomic_dirs
from genir.atomic_dirs import new_folder, remove_leftovers, require_absent
from genir.errors import InputError

LARGE = [f"word {number}" for number in range(2000)]


@pytest.fixture
def old(tmp_path):
    """An existing folder."""
    folder = tmp_path / "model"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "old.txt").write_text("old")
    return folder


def files(folder):
    return {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*.txt")}


def write(folder, text="new"):
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "er" / "new.txt").write_text(text)


def test_a_folder_appears_when_it_is_full(tmp_path):
    target = tmp_path / "made" / "on" / "the" / "way"
    with new_folder(target) as partial:
        write(partial)
        assert not target.exists()
        assert partial.parent == target.parent
    assert files(target) == {"deep/er/new.txt": "new"}
    assert os.listdir(target.parent) == ["way"]
    assert target.stat().st_mode & 0o777 == 0o755


def test_a_folder_in_the_way_is_refused(old):
    for call in (require_absent, lambda target, _: new_folder(target).__enter__()):
        with pytest.raises(InputError, match=f"{old}: exists already; .*with --overwrite"):
            call(old, False)
    assert files(old) == {"inner/old.txt": "old"}


@pytest.mark.parametrize("atomic", [True, False])
def test_a_folder_is_replaced_when_the_new_one_is_full(old, atomic, monkeypatch):
    if not atomic:  # a system that cannot exchange two folders atomically
        monkeypatch.setattr(atomic_dirs, "_exchange", lambda one, other: False)
    with new_folder(old, overwrite=True) as partial:
        write(partial)
        assert files(old) == {"inner/old.txt": "old"}
    assert files(old) == {"deep/er/new.txt": "new"}
    assert os.listdir(old.parent) == ["model"]


@pytest.mark.skipif(not os.path.exists("/proc/self"), reason="renameat2 is Linux's")
def test_linux_exchanges_in_one_step(old):
    new = old.with_name("new")
    write(new)
    assert atomic_dirs._exchange(new, old)
    assert (files(new), files(old)) == ({"inner/old.txt": "old"}, {"deep/er/new.txt": "new"})


def test_a_link_is_kept_and_its_target_replaced(old):
    link = old.with_name("link")
    link.symlink_to(old)
    with new_folder(link, overwrite=True) as partial:
        write(partial)
    assert link.is_symlink()
    assert files(old) == {"deep/er/new.txt": "new"}
    assert sorted(os.listdir(old.parent)) == ["link", "model"]


@pytest.mark.parametrize(
    "error", [ValueError("bug"), RuntimeError("bug"), InputError("(os error 5)")]
)
def test_an_exception_in_the_block_changes_nothing(old, error):
    with pytest.raises(type(error)) as caught, new_folder(old, overwrite=True) as partial:
        write(partial)
        raise error
    assert caught.value is error
    assert files(old) == {"inner/old.txt": "old"}
    assert os.listdir(old.parent) == ["model"]


def test_an_interrupted_block_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), new_folder(tmp_path / "model") as partial:
        write(partial)
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_in_the_way_is_refused(tmp_path, overwrite):
    (tmp_path / "model").write_text("mine")
    with pytest.raises(InputError, match=r"model: (exists already|is a file, not a folder)"):
        new_folder(tmp_path / "model", overwrite).__enter__()
    assert (tmp_path / "model").read_text() == "mine"


def test_a_file_cannot_hold_a_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        new_folder(tmp_path / "file" / "model").__enter__()


@pytest.mark.parametrize(
    ("number", "mend"),
    [
        (errno.ENOSPC, "the disk is full; free space"),
        (errno.EACCES, "no permission to write there"),
        (errno.EROFS, "the file system is read-only"),
        (errno.EIO, "Input/output error; choose another path"),
    ],
)
def test_a_system_error_is_reported_with_its_remedy(number, mend, old, monkeypatch):
    def refuse(descriptor):
        raise OSError(number, os.strerror(number))

    with (
        pytest.raises(InputError, match=f"^{old}: cannot be written: .*{mend}.*is unchanged$"),
        new_folder(old, overwrite=True) as partial,
    ):
        write(partial)
        monkeypatch.setattr(os, "fsync", refuse)
    assert files(old) == {"inner/old.txt": "old"}
    assert os.listdir(old.parent) == ["model"]


def save_tokenizer(folder):
    words = {word: number for number, word in enumerate(LARGE)}
    Tokenizer(WordLevel(words, unk_token=LARGE[0])).save(str(folder / "tokenizer.json"))


@pytest.mark.parametrize(
    "fill",
    [
        lambda folder: (folder / "text.txt").write_text("".join(LARGE)),
        lambda folder: save_file({"a": np.zeros(2000)}, folder / "a.safetensors"),
        lambda folder: save_model(torch.nn.Linear(50, 50), str(folder / "m.safetensors")),
        lambda folder: marisa_trie.Trie(LARGE).save(str(folder / "keys.marisa")),
        save_tokenizer,
    ],
    ids=["text", "numpy", "torch", "marisa", "tokenizer"],
)
def test_every_library_s_failed_write_is_named(fill, old):
    """The system rejects writes beyond 100 bytes of a file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with (
            pytest.raises(InputError, match=f"^{old}: cannot be written: .*is unchanged$"),
            new_folder(old, overwrite=True) as partial,
        ):
            fill(partial)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert files(old) == {"inner/old.txt": "old"}
    assert os.listdir(old.parent) == ["model"]


def test_a_full_disk_is_known_by_its_number_in_words(tmp_path):
    with (
        pytest.raises(InputError, match="the disk is full; free space"),
        new_folder(tmp_path / "model"),
    ):
        raise Exception("No space left on device (os error 28)")  # like tokenizers


def test_others_may_read_written_files(tmp_path):
    with new_folder(tmp_path / "out") as folder:
        (folder / "inner").mkdir(mode=0o700)
        (folder / "inner" / "weights").touch(mode=0o600)
    modes = [path.stat().st_mode & 0o777 for path in (tmp_path / "out").rglob("*")]
    assert modes == [0o755, 0o644]


def test_leftovers_are_removed_and_folders_of_others_are_not(old):
    theirs = {".model.previous", ".model.20261101", ".model.old", ".model.old12345.genir-old"}
    for name in theirs:
        write(old.with_name(name))
    killed = new_folder(old, overwrite=True)
    killed.__enter__()  # and the block is never left
    assert set(os.listdir(old.parent)) > {"model", *theirs}
    remove_leftovers(old)
    assert set(os.listdir(old.parent)) == {"model", *theirs}


def test_without_an_exchange_no_folder_of_others_is_replaced(old, monkeypatch):
    monkeypatch.setattr(atomic_dirs, "_exchange", lambda one, other: False)
    theirs = old.with_name(".model.old")
    theirs.mkdir()
    with new_folder(old, overwrite=True) as partial:
        write(partial)
    write(theirs, "theirs")
    with new_folder(old, overwrite=True) as partial:
        write(partial, "newer")
    assert files(theirs) == {"deep/er/new.txt": "theirs"}
    assert files(old) == {"deep/er/new.txt": "newer"}
    assert sorted(os.listdir(old.parent)) == [".model.old", "model"]
