"""Random damage to the journal's database, log and record: each is harmless, refused or repaired.

GENIR_DAMAGES folders are damaged (10 by default): flipped bits, cuts, zeros, missing and old files.
"""

import logging
import os
import random
import shutil
from collections import Counter

import pytest
from changing import make_document, state

from genir.errors import InputError
from genir.retriever import Retriever
from genir.updates.backup import recover

DAMAGES = int(os.environ.get("GENIR_DAMAGES", "10"))
CHANGES = (("add", "a"), ("add", "b"), ("delete", "a"), ("replace", "b"), ("delete", "copy-disk"),
           ("add", "c"), ("delete", "b"))  # fmt: skip


@pytest.fixture
def histories(folder, tmp_path):
    """Return folders after a SIGKILL, after an orderly end and half way, and every right state."""
    retriever = Retriever.load(folder, "cpu")
    states, copies = [state(retriever)], {}
    for number, (verb, key) in enumerate(CHANGES):
        given = [key] if verb == "delete" else [make_document(key, f"erase a wire {number}")]
        getattr(retriever, verb)(given)
        states.append(state(retriever))
        if number == 3:
            copies["old"] = shutil.copytree(folder, tmp_path / "old")
    copies["killed"] = shutil.copytree(folder, tmp_path / "killed")
    retriever.close()  # moves the log into the database
    copies["closed"] = shutil.copytree(folder, tmp_path / "closed")
    return copies, states


def flip(path, rng, old):
    data = bytearray(path.read_bytes())
    for _ in range(rng.choice([1, 1, 1, 2, 20])):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def cut(path, rng, old):
    os.truncate(path, rng.randrange(path.stat().st_size))


def zero(path, rng, old):
    data = bytearray(path.read_bytes())
    start = rng.randrange(len(data))
    data[start : start + 4096] = bytes(len(data[start : start + 4096]))
    path.write_bytes(data)


def lose(path, rng, old):
    path.unlink()


def lose_log_and_database(path, rng, old):
    for name in ("journal-0.sqlite", "journal-0.sqlite-wal"):
        (path.parent / name).unlink(missing_ok=True)


def grow(path, rng, old):
    with path.open("ab") as file:
        file.write(rng.randbytes(rng.choice([1, 24, 4096])))


def take_older(path, rng, old):
    """Put a file of an earlier version into its place, as a partial restore does."""
    shutil.copyfile(old / path.name, path)


DAMAGE = (flip, flip, flip, cut, cut, zero, lose, lose_log_and_database, grow, take_older)


def loaded(folder):
    """Return the documents of a folder; None if it is refused by the name of its journal."""
    try:
        retriever = Retriever.load(folder, "cpu")
    except InputError as error:
        assert str(folder / "journal-0.") in str(error)
        return None
    found = state(retriever)
    retriever.close()
    return found


@pytest.mark.timeout(120 + 5 * DAMAGES)
def test_damage_is_harmless_refused_or_repaired(histories, tmp_path):
    copies, states = histories
    tally = Counter()
    for number in range(DAMAGES):
        rng = random.Random(number)
        source = rng.choice(["killed", "killed", "closed"])
        folder = shutil.copytree(copies[source], tmp_path / f"model-{number}")
        reader = Retriever.load(folder, "cpu") if rng.random() < 0.3 else None
        files = sorted(path for path in folder.glob("journal-*") if path.stat().st_size)
        path, damage = rng.choice(files), DAMAGE[number % len(DAMAGE)]
        damage(path, rng, copies["old"])
        place = (number, source, path.name, damage.__name__)
        if reader is not None:
            try:
                reader.sync()
            except InputError as error:
                assert str(folder / "journal-0.") in str(error), place
            assert state(reader) == states[-1], place
            reader.close()
        served = loaded(folder)
        assert served in (None, states[-1]), place
        tally["harmless" if served else "refused"] += 1
        if served is None:
            recover(folder)
            repaired = loaded(folder)
            assert repaired in states, place
            tally["repaired in full" if repaired == states[-1] else "repaired in part"] += 1
        shutil.rmtree(folder)
    logging.info("%d damages: %s", DAMAGES, dict(tally))
    assert tally["refused"] >= DAMAGES / 5
