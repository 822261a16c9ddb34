import json
from math import nan
from shutil import copytree
from time import thread_time

import pytest
import torch
from crafted import sign
from safetensors.torch import load_file, save_file
from tiny import tiny_retriever
from torch import nn

from genir.errors import InputError
from genir.models import size_limits
from genir.models.size_limits import build_within, refuse_labels
from genir.retriever import Retriever

HUGE = [
    ("atomic", "config.json", "hidden_size", 10**6),
    ("atomic", "config.json", "vocab_size", 10**9),
    ("atomic", "config.json", "intermediate_size", 10**9),
    ("atomic", "config.json", "num_hidden_layers", 10**6),
    ("atomic", "config.json", "max_position_embeddings", 10**9),
    ("atomic", "config.json", "num_labels", 10**8),
    ("atomic", "identifiers/scheme.json", "size", 10**9),
    ("residual", "identifiers/scheme.json", "ties", 60_000),
    ("url", "config.json", "d_ff", 10**9),
    ("url", "config.json", "d_kv", 10**8),
    ("url", "config.json", "num_decoder_layers", 10**6),
]


def states(folder, name, key, value):
    """Write a value into the only place of a JSON file that holds the key, or at the top."""
    path = folder / name
    values = json.loads(path.read_text())
    places = [values, *(part for part in values.values() if isinstance(part, dict))]
    next((place for place in places if key in place), values)[key] = value
    path.write_text(json.dumps(values))
    sign(folder)


@pytest.mark.parametrize(("scheme", "name", "key", "value"), HUGE)
def test_a_size_beyond_the_weights_is_refused_before_it_is_made(
    tiny_folder, tmp_path, scheme, name, key, value
):
    folder = copytree(tiny_folder(scheme), tmp_path / "model")
    states(folder, name, key, value)
    began = thread_time()
    with pytest.raises(InputError, match=rf"{name}: (.*states .* model\.safetensors|{key} = )"):
        Retriever.load(folder, "cpu")
    assert thread_time() - began < 5  # 10**8 labels alone take longer


def test_compact_sets_of_another_size_are_refused(tiny_encoder, tiny_corpus, tmp_path):
    words = {"word_set_size": 6, "compact_words": True}
    decoding = {"strategy": "lookahead", "full_scores": True}
    retriever = tiny_retriever(
        tiny_encoder, tiny_corpus, tmp_path / "store.sqlite", "residual", words, **decoding
    )
    retriever.save(tmp_path / "model")
    states(tmp_path / "model", "model.json", "word_set_size", 1024)
    with pytest.raises(
        InputError, match=r"model.json: word_set_size: states \[40, 1024\] for words"
    ):
        Retriever.load(tmp_path / "model", "cpu")


@pytest.mark.parametrize(
    ("name", "value"),
    [("words.mean_length", 0.0), ("words.mean_length", nan), ("words.frequencies", -1),
     ("words.weights", nan), ("word_weight", nan), ("word_weight", -1.0)],
)  # fmt: skip
def test_invalid_word_statistics_are_refused_by_name(tiny_folder, tmp_path, name, value):
    folder = copytree(tiny_folder("atomic"), tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    tensors[name].fill_(value)
    save_file(tensors, folder / "model.safetensors")
    sign(folder)
    with pytest.raises(
        InputError, match=rf"model\.safetensors: {name} has invalid values; restore"
    ):
        Retriever.load(folder, "cpu")


@pytest.mark.parametrize("length", [513, 10**9])
def test_a_source_length_beyond_the_positions_is_refused(tiny_folder, tmp_path, length):
    folder = copytree(tiny_folder("atomic"), tmp_path / "model")
    path = folder / "recipe.toml"
    lines = [
        f"source_length = {length}" if line.startswith("source_length") else line
        for line in path.read_text().splitlines()
    ]
    path.write_text("\n".join(lines))
    sign(folder)
    with pytest.raises(InputError, match=r"recipe\.toml: \[training\] source_length = .* 512"):
        Retriever.load(folder, "cpu")


def test_a_network_is_built_as_far_as_the_weights_go():
    weights = nn.Linear(8, 8).state_dict()
    assert build_within(weights, lambda: nn.Linear(8, 8), "x").weight.device.type == "cpu"
    with pytest.raises(InputError, match=r"x: states a weight of \[8, 10000000000\]"):
        build_within(weights, lambda: nn.Linear(10**10, 8), "x")
    made = []

    def layers():
        return nn.ModuleList(made.append(1) or nn.Linear(1, 1) for _ in range(10**6))

    with pytest.raises(InputError, match="more than the 2 tensors"):
        build_within(weights, layers, "x")
    assert len(made) < 100


def test_a_network_that_cannot_be_built_without_memory_is_bounded_as_well():
    def looks(size):
        return nn.Linear(8, size * int(torch.ones(()).item()))

    weights = nn.Linear(8, 8).state_dict()
    assert build_within(weights, lambda: looks(8), "x").out_features == 8
    with pytest.raises(InputError, match="more than"):
        build_within(weights, lambda: looks(2**18), "x")


def test_a_limit_ends_with_its_block():
    build_within({}, lambda: None, "x")
    nn.Linear(2048, 2048)


@pytest.mark.parametrize("value", [size_limits.MAX_LABELS + 1, -1, "9", [3], 1e9])
def test_labels_are_bounded_at_any_depth(tmp_path, value):
    (tmp_path / "config.json").write_text(json.dumps({"encoder": {"num_labels": value}}))
    with pytest.raises(InputError, match=r"config\.json: num_labels = "):
        refuse_labels(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"encoder": {"num_labels": 3}}))
    refuse_labels(tmp_path)
