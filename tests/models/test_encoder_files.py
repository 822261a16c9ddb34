"""The encoder of a model folder: every fault of its description is named, and no code is run."""

import json

import pytest
from sentence_models import Formats

from genir.errors import InputError
from genir.models.checkpoint_io import load_weights
from genir.models.encoder import TextEncoder


@pytest.fixture(scope="module")
def formats(tiny_encoder, tmp_path_factory):
    return Formats(tiny_encoder, tmp_path_factory.mktemp("formats"))


@pytest.fixture
def saved(formats, tmp_path):
    """Return a folder with two towers that share a Dense layer, and its weights."""
    encoder = TextEncoder.pretrained(formats.write("router"))
    encoder.save(tmp_path)
    encoder.tokenizer.save_pretrained(tmp_path)
    return tmp_path, encoder.state_dict()


def test_a_folder_holds_all_that_the_encoder_needs(saved, formats, offline, fp32):
    folder, weights = saved
    again = TextEncoder.restore(folder, weights)
    load_weights(again, weights)
    before = TextEncoder.pretrained(formats.write("router"))
    for role in ("query", "document"):
        assert (again.embed("copy a file", role) == before.embed("copy a file", role)).all()
    assert [tower.length for tower in again.towers()] == [8_192, 80]
    assert again.prompts == before.prompts
    assert again.layers[1] is again.document_encoder.layers[1]
    assert not any(p.requires_grad for p in again.document_encoder.backbone.parameters())
    assert {path.suffix for path in folder.rglob("*") if path.is_file()} == {".json"}


def part(folder, kind):
    design = json.loads((folder / "encoder.json").read_text())
    return design, next(one for one in design["parts"].values() if one["type"] == kind)


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("Transformer", {"folder": "../document_encoder"}, "has no valid folder and length"),
        ("Transformer", {"length": None}, "has no valid folder and length"),
        ("Transformer", {"length": 0}, "length = 0: "),
        ("Transformer", {"length": 81}, r"encoder.json: length = 81: .* at most 80 tokens"),
        ("Transformer", {"length": 10**30}, "length = 10{30}: "),
        ("StaticEmbedding", {"rows": 2**24}, "states a weight of .16777216, 16., more than"),
        ("StaticEmbedding", {"rows": 10**30}, "rows = 10{30}: "),
        ("StaticEmbedding", {"type": "os.system"}, "Input should be"),
        ("Dense", {"type": "Transformer", "config": {}}, "not a network followed by layers"),
        (
            "Dense",
            {"config": {"in_features": 2**24, "out_features": 9}},
            "a weight of .9, 16777216",
        ),
        (
            "Dense",
            {"config": {"in_features": 10**30, "out_features": 9}},
            "in_features: .*16777216",
        ),
        ("Dense", {"config": {"in_features": 16}}, "out_features: Field required"),
        ("Dense", {"config": {"in_features": 9, "out_features": 12}}, "do not end in one vector"),
        (
            "Dense",
            {"config": {"in_features": 16, "out_features": 12, "activation_function": "os.abort"}},
            "activation_function: .*not one of torch.nn's",
        ),
        (
            "Dense",
            {
                "config": {
                    "in_features": 16,
                    "out_features": 12,
                    "module_input_name": "token_embeddings",
                    "module_output_name": "sentence_embedding",
                }
            },
            r"encoder.json: its layers do not end in one vector a text .shape \[1, 1, 12\]",
        ),
        (
            "Pooling",
            {"config": {"pooling_mode": ["best"]}},
            "pooling_mode.0: Input should be 'cls'",
        ),
        ("Pooling", {"config": {"pooling_mode": []}}, "pooling_mode: .*at least 1 item"),
        ("Pooling", {"config": {"pooling_mode": ["max", "max"]}}, "a pooling mode occurs twice"),
        (
            "Pooling",
            {"config": {"pooling_mode": ["max", "cls"]}},
            "encoder.json: its layers do not",
        ),
        ("Pooling", {"config": {"include_prompt": True, "class": "X"}}, "class: Extra inputs"),
    ],
)
def test_a_damaged_part_is_refused(kind, changes, message, saved):
    folder, weights = saved
    design, found = part(folder, kind)
    found.update(changes)
    (folder / "encoder.json").write_text(json.dumps(design))
    with pytest.raises(InputError, match=message):
        TextEncoder.restore(folder, weights)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"query": []}, "query = "),
        ({"query": ["absent"]}, "query: there is no part 'absent'"),
        ({"document": ["0", "Pooling"]}, "document: there is no part 'Pooling'"),
        ({"document": ["4", "5"]}, "vectors of queries and documents have 12 and 16 dimensions"),
        ({"document_prompt": "text " * 90}, "encoder.json: its document prompt and special tokens"),
        ({"truncate_dim": 0}, "truncate_dim = 0"),
        ({"module": "evil"}, "unknown key 'module'"),
    ],
)
def test_a_damaged_route_is_refused(changes, message, saved):
    folder, weights = saved
    design = json.loads((folder / "encoder.json").read_text()) | changes
    (folder / "encoder.json").write_text(json.dumps(design))
    with pytest.raises(InputError, match=message):
        TextEncoder.restore(folder, weights)


def test_a_folder_without_a_description_is_refused(saved):
    folder, weights = saved
    (folder / "encoder.json").unlink()
    with pytest.raises((InputError, OSError), match=r"encoder\.json"):
        TextEncoder.restore(folder, weights)
