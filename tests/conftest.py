"""Shared fixtures: a tiny encoder and a tiny corpus folder, created on the spot."""

import json
import os
import re
from itertools import product
from pathlib import Path
from string import ascii_lowercase, digits

import interpreted  # noqa: F401
import pytest
import torch
from huggingface_hub import constants
from hypothesis import HealthCheck, settings
from tiny import tiny_retriever
from transformers import BertConfig, BertModel, BertTokenizer

from genir.models import precision
from genir.training import plots, publish

# No deadline: machines may be busy; pytest's timeout stops hanging tests.
settings.register_profile(
    "genir",
    max_examples=int(os.environ.get("GENIR_EXAMPLES", "50")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("genir")

# Models this small take 20 times longer on many threads, which wait for each other.
torch.set_num_threads(1)

SYNONYMS = {
    "copy": ("duplicate", "clone"),
    "delete": ("remove", "erase"),
    "list": ("show", "print"),
    "move": ("rename", "shift"),
    "search": ("find", "look"),
    "compress": ("pack", "shrink"),
    "encrypt": ("hide", "protect"),
    "watch": ("monitor", "follow"),
}
THINGS = {
    "file": ("document", "text"),
    "folder": ("directory", "tree"),
    "disk": ("drive", "volume"),
    "network": ("host", "connection"),
    "process": ("program", "task"),
}
COMMANDS = tuple(product(SYNONYMS, THINGS))
"""40 documents: each verb applied to each thing."""


# Tests that drive a browser or other processes, or that measure time: a busy machine can make one
# fail. They are repeated, at most twice, and the summary lists each repetition.
TIMED = (
    "benchmarks/test_load.py",
    "corpus/test_spelling.py",
    "corpus/test_tokens.py",
    "folders",
    "serving",
    "test_cli_imports.py",
    "test_growth.py",
    "test_serve_your_own.py",
    "test_stop_request.py",
    "training/test_kill.py",
    "updates/test_kills.py",
)


def pytest_collection_modifyitems(items):
    timed = tuple(Path(__file__).parent / name for name in TIMED)
    for item in items:
        if any(item.path.is_relative_to(path) for path in timed):
            item.add_marker(pytest.mark.flaky(reruns=2))


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """Keep the cache of evaluations out of the home folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def fast_files():
    """Do not wait for the disk, and draw one training curve: it takes a third of a tiny training.

    Durability after a power failure cannot be tested here; tests/training/test_plots.py draws.
    """
    curves, draw = [], plots.draw_curve

    def draw_once(history, title, path):
        if not curves:
            draw(history, title, path)
            curves.append(path.read_bytes())
        path.write_bytes(curves[0])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        patch.setattr(publish, "draw_curve", draw_once)
        yield


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory) -> Path:
    """A folder with an untrained BERT of 16 dimensions, and a tokenizer trained on the corpus."""
    folder = tmp_path_factory.mktemp("encoder")
    asked = " ".join(question(form, *command) for command in COMMANDS for form in range(3))
    words = set(re.findall(r"\w{2,}", asked + json.dumps([document(*c) for c in COMMANDS]).lower()))
    letters = ascii_lowercase + digits
    pieces = [*".-/:?", *letters, *(f"##{letter}" for letter in letters), *sorted(words)]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = BertTokenizer({piece: n for n, piece in enumerate([*special, *pieces])})
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        initializer_range=0.5,  # large enough to distinguish texts without training
    )
    torch.manual_seed(0)
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_corpus(tmp_path_factory) -> Path:
    """A corpus folder: 40 documents with titles, URLs and metadata, 80 train and 20 test queries.

    Every document has two train queries, and every second one a test query.
    """
    folder = tmp_path_factory.mktemp("corpus")
    commands = list(enumerate(COMMANDS))
    write_lines(folder / "corpus.jsonl", [document(*command) for _, command in commands])
    train = [(f"train-{n}-{form}", form, c) for n, c in commands for form in (0, 1)]
    test = [(f"test-{n}", 2, c) for n, c in commands if n % 2]
    queries = [{"_id": key, "text": question(form, *c)} for key, form, c in train + test]
    write_lines(folder / "queries.jsonl", queries)
    (folder / "qrels").mkdir()
    for split, rows in {"train": train, "test": test}.items():
        judged = [f"{key}\t{'-'.join(command)}\t1\n" for key, _, command in rows]
        text = "query-id\tcorpus-id\tscore\n" + "".join(judged)
        (folder / "qrels" / f"{split}.tsv").write_text(text)
    return folder


@pytest.fixture(scope="session")
def tiny_folder(tiny_encoder, tiny_corpus, tmp_path_factory):
    """Return a function: scheme -> folder of its untrained model, created on first use.

    Copy the folder before changing it.
    """
    made, place = {}, tmp_path_factory.mktemp("saved")

    def saved(scheme) -> Path:
        if scheme not in made:
            store, made[scheme] = place / f"{scheme}.sqlite", place / scheme
            tiny_retriever(tiny_encoder, tiny_corpus, store, scheme).save(made[scheme])
        return made[scheme]

    return saved


def document(verb, thing):
    verbs, things = SYNONYMS[verb], THINGS[thing]
    return {
        "_id": f"{verb}-{thing}",
        "title": f"{verb} {thing}",
        "text": f"{verbs[0]} a {things[0]} here. It can also {verbs[1]} every {things[1]}.",
        "url": f"https://docs.example.org/{thing}/{verb}",
        "verb": verb,
        "section": list(THINGS).index(thing),
        "tags": [verb, thing],
    }


def question(form, verb, thing):
    verbs, things = SYNONYMS[verb], THINGS[thing]
    return (
        f"how do i {verbs[0]} a {things[0]}?",
        f"{verbs[1]} my {things[1]}",
        f"best way to {verb} one {things[0]}",
    )[form]


def write_lines(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


@pytest.fixture
def fp32(monkeypatch):
    """Compute in float32 if `auto` may choose, independent of this processor."""
    monkeypatch.setattr(precision, "has_bf16", lambda device: False)


@pytest.fixture
def measured(monkeypatch):
    """Return a function that simulates bf16 at a fraction of float32's time, for all or some work.

    It returns the list of kinds of work that were measured afterwards.
    """

    def at(shares):
        asked = []

        def measure(work):
            asked.append(work)
            return precision.Timing(1.0, shares[work] if isinstance(shares, dict) else shares)

        monkeypatch.setattr(precision, "measure", measure)
        precision.timing.cache_clear()
        return asked

    monkeypatch.setattr(precision, "has_bf16", lambda device_type: True)
    monkeypatch.setattr(precision, "_fixed", {})
    yield at
    precision.timing.cache_clear()


@pytest.fixture
def offline(monkeypatch):
    """Forbid access to the hub, with or without network."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
