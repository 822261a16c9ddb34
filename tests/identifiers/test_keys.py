"""The child process that reads the trie of keys: its time and memory are bounded."""

import numpy as np
import pytest

from genir.errors import InputError
from genir.identifiers import keys
from genir.identifiers.keys import read_keys, write_keys


@pytest.fixture
def trie(tmp_path):
    names = [f"key {n}" for n in range(50)]
    return tmp_path / "keys.marisa", names, write_keys(tmp_path / "keys.marisa", names)


def becomes(monkeypatch, work):
    """Let the child do other work behind its limits."""
    limits, _, _ = keys.READER_SCRIPT.partition("trie =")
    monkeypatch.setattr(keys, "READER_SCRIPT", limits + work)


def test_keys_are_read_back_in_order(trie):
    path, names, numbers = trie
    assert read_keys(path, numbers) == names
    with pytest.raises(InputError, match="50 keys instead of 3"):
        read_keys(path, np.arange(3))


def test_a_trie_that_takes_memory_without_end_is_refused(trie, monkeypatch):
    monkeypatch.setattr(keys, "BASE_BYTES", 2**28)
    becomes(monkeypatch, "text = 'x' * 1000\nwhile True: text += text\n")
    with pytest.raises(InputError, match=rf"^{trie[0]}: damaged identifier table \(MemoryError"):
        read_keys(trie[0], trie[2])


def test_a_trie_that_is_read_without_end_is_refused(trie, monkeypatch):
    monkeypatch.setattr(keys, "BASE_SECONDS", 0.3)
    becomes(monkeypatch, "while True: pass\n")
    with pytest.raises(InputError, match=r"keys\.marisa: damaged .*reading it timed out"):
        read_keys(trie[0], trie[2])


def test_a_child_whose_parent_is_gone_ends_itself(trie, monkeypatch):
    becomes(monkeypatch, "sys.exit(f'{signal.alarm(0)} seconds were left')\n")
    with pytest.raises(InputError, match=r"\([1-4]\d seconds were left\)"):
        read_keys(trie[0], trie[2])
