"""A process that changes a model folder until it is killed, and logs acknowledged changes."""

import json
import os
import random

import torch
from changing import edit_pages, make_document, text_of

from genir.corpus.readers import read_corpus
from genir.retriever import Retriever

TEXTS = ("erase a drive", "show every task", "find one tree")
KEYS = [f"n{number}" for number in range(8)]


def work(folder, log, seed, keys=KEYS, refreshing=False):
    """Change at random, forever; one line before each change, one after it is acknowledged."""
    last = ["refresh"] * (3 if refreshing else 0)
    torch.set_num_threads(1)
    rng = random.Random(seed)
    retriever = Retriever.load(folder, "cpu")
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(*words):
        os.write(descriptor, json.dumps(words).encode() + b"\n")

    while True:
        live = [key for key in keys if retriever.table.is_live(key)]
        name = rng.choice(["add"] * 4 + ["replace"] * 2 + ["delete"] * 4 + ["compact"] * 2 + last)
        among = [key for key in keys if key not in live] if name == "add" else live
        chosen = rng.sample(among, min(len(among), rng.randint(1, 3)))
        if name not in ("compact", "refresh") and not chosen:
            continue
        if name == "refresh" and not any(map(retriever.table.is_live, unlearned(retriever))):
            continue
        text = rng.choice(TEXTS)
        note("begin", name, chosen, text)
        change(retriever, name, chosen, text)
        note("done", retriever.version)


def follow(folder, site, log, seed):
    """Edit a folder of pages and mirror it, forever; log the documents before, "done" after."""
    torch.set_num_threads(1)
    rng = random.Random(seed)
    retriever = Retriever.load(folder, "cpu")
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    while True:
        edit_pages(site, rng)
        wanted = {one.key: text_of(one) for one in read_corpus(site, retriever.base_url)}
        os.write(descriptor, json.dumps(["begin", wanted]).encode() + b"\n")
        retriever.mirror(site)
        os.write(descriptor, json.dumps(["done", retriever.version]).encode() + b"\n")


def change(retriever, name, keys, text):
    if name == "compact":
        retriever.compact()
    elif name == "refresh":
        renew(retriever)
    elif name == "delete":
        retriever.delete(keys)
    else:
        getattr(retriever, name)([make_document(key, text) for key in keys])


def renew(retriever):
    """Train three steps on added documents, and replace the model by the result."""
    from genir.training.incremental import RefreshRequest, refresh

    settings = ("training.max_steps=3", "training.batch_size=8", "training.num_dev_evals=1",
                "training.dev_queries=4", "training.checkpoint_seconds=0",
                "tasks.0.task=title")  # fmt: skip
    refresh(RefreshRequest(retriever.folder, settings=settings, tolerance=1.0, overwrite=True))
    retriever.sync()


def unlearned(retriever):
    """Return the keys of documents that the model was not trained on."""
    keys = zip(retriever.table.keys, retriever.index.untrained, strict=True)
    return [key for key, new in keys if new]
