"""A process that changes a model folder until it is killed, and notes what was acknowledged."""

import json
import os
import random

import torch
from changing import make_document

from genir.retriever import Retriever

TEXTS = ("erase a drive", "show every task", "find one tree")
KEYS = [f"n{number}" for number in range(8)]


def work(folder, log, seed, keys=KEYS):
    """Change at random, forever; one line before each change, one after it is acknowledged."""
    torch.set_num_threads(1)
    rng = random.Random(seed)
    retriever = Retriever.load(folder, "cpu")
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(*words):
        os.write(descriptor, json.dumps(words).encode() + b"\n")

    while True:
        live = [key for key in keys if retriever.table.is_live(key)]
        name = rng.choice(["add", "add", "replace", "delete", "delete", "compact"])
        among = [key for key in keys if key not in live] if name == "add" else live
        chosen = rng.sample(among, min(len(among), rng.randint(1, 3)))
        if name != "compact" and not chosen:
            continue
        text = rng.choice(TEXTS)
        note("begin", name, chosen, text)
        change(retriever, name, chosen, text)
        note("done", retriever.version)


def change(retriever, name, keys, text):
    if name == "compact":
        retriever.compact()
    elif name == "delete":
        retriever.delete(keys)
    else:
        getattr(retriever, name)([make_document(key, text) for key in keys])
