"""Folders from strangers: refused by name or served, without a traceback, a hang or a signal.

GENIR_CRAFTED folders are made (46 by default, each kind of change twice).
"""

import logging
import multiprocessing
import os
import shutil
import sqlite3
from collections import Counter
from contextlib import closing

import pytest
from crafted import CRAFTS, craft, sign

from genir.errors import InputError
from genir.retriever import Retriever
from genir.serving import load_sandbox

COUNT = int(os.environ.get("GENIR_CRAFTED", str(2 * len(CRAFTS))))
SECONDS = 60
"""Time limit for one folder in seconds; above it is a hang."""


def attempt(folder, out):
    """Load a folder and query it in every way; send the outcome."""
    try:
        retriever = Retriever.load(folder, "cpu")
        hits = retriever.search(["clone a text", "erase"], 5)
        retriever.search(["erase"], 3, where={"verb": "copy"})
        retriever.versions()
        list(retriever.documents)
        out.send(("served", [len({hit.key for hit in own}) for own in hits]))
    except InputError as error:
        out.send(("refused", str(error)))


@pytest.fixture(scope="module")
def context():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["genir.retriever", "genir.models.seq2seq"])
    return context


def try_out(folder, out):
    """Try a folder as a server does before it swaps it in."""
    out.send(("tried", load_sandbox._attempt(folder)))


def outcome(context, folder, target=attempt):
    """Return the outcome of a separate process for a folder."""
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=target, args=(folder, sender))
    process.start()
    sender.close()
    try:
        detail = receiver.recv() if receiver.poll(SECONDS) else ("hang", "")
    except EOFError:  # it sent nothing: an exception, or a signal
        process.join()
        detail = ("traceback" if process.exitcode > 0 else "signal", process.exitcode)
    process.kill()
    process.join()
    return detail


def test_a_trial_takes_a_good_folder_and_names_a_bad_one(context, tiny_folder, tmp_path):
    assert outcome(context, tiny_folder("url"), try_out) == ("tried", None)
    kind, detail = outcome(context, tmp_path / "none", try_out)
    assert kind == "tried" and detail.startswith(f"{tmp_path}/none: no such model folder")


def test_a_trial_reads_every_document(context, tiny_folder, tmp_path):
    folder = shutil.copytree(tiny_folder("url"), tmp_path / "model")
    with closing(sqlite3.connect(folder / "documents.sqlite")) as connection, connection:
        connection.execute("UPDATE documents SET metadata = '[1' WHERE number = 39")
    sign(folder)
    kind, detail = outcome(context, folder, try_out)
    assert kind == "tried" and detail.startswith(
        f"{folder}/documents.sqlite: damaged: document 'wat"
    )


@pytest.mark.timeout(120 + 5 * COUNT)
@pytest.mark.parametrize("scheme", ["residual", "atomic", "url"])
def test_a_crafted_folder_is_refused_or_served(context, tiny_folder, scheme, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    tally, bad = Counter(), []
    for number in range(COUNT):
        folder = tmp_path / f"model-{number}"
        name = craft(tiny_folder(scheme), folder, number)
        kind, detail = outcome(context, folder)
        tally[kind] += 1
        if kind not in ("served", "refused") or (kind == "refused" and str(folder) not in detail):
            bad.append((number, name, kind, detail))
        if kind == "served":
            assert detail == [5, 5] or name in ("change_json", "craft_journal", "flip_bytes"), name
    logging.info("%s: %s", scheme, dict(tally))
    assert not bad
    assert tally["refused"] > COUNT / 3
