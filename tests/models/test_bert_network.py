"""BERT and tokenizer of a model folder, against those of transformers."""

import copy
import json
import subprocess
import sys

import pytest
import torch
from transformers import AutoTokenizer, BertConfig, BertModel

from genir.models.bert_network import BertNetwork, supported_config
from genir.models.checkpoint_io import read_tokenizer
from genir.models.saved_tokenizer import SavedTokenizer
from genir.retriever import Retriever
from genir.training.optimization import enable_gradient_checkpointing

IDS = torch.tensor([[5, 9, 33, 7, 8], [12, 6, 21, 0, 0], [30, 5, 17, 11, 0]])
MASK = (IDS > 0).long()
TEXTS = [
    "Copy a file!",
    "",
    "DUPLICATE  the\tdirectory tree, éà 東京",
    "clone " * 40,
    "[SEP] x [PAD]",
]


def config(**changes):
    values = {
        "vocab_size": 40, "hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 2,
        "intermediate_size": 24, "max_position_embeddings": 20,
    }  # fmt: skip
    return BertConfig(**values | changes)


def both(**changes):
    """The network of transformers without pooler, and genir's with its weights."""
    torch.manual_seed(0)
    theirs = BertModel(config(**changes), add_pooling_layer=False)
    own = supported_config(json.loads(theirs.config.to_json_string()))
    net = BertNetwork(own)
    assert not any(net.load_state_dict(theirs.state_dict()))
    return theirs, net


@pytest.mark.parametrize("activation", ["gelu", "gelu_new"])
def test_states_equal_those_of_transformers(activation):
    theirs, net = both(hidden_act=activation)
    real = MASK.bool()
    with torch.no_grad():
        expected = theirs.eval()(input_ids=IDS, attention_mask=MASK).last_hidden_state
        found = net.eval()(IDS, MASK).last_hidden_state
    torch.testing.assert_close(found[real], expected[real], rtol=1e-5, atol=1e-5)


def test_training_equals_that_of_transformers():
    gradients = []
    for net in both():
        if isinstance(net, BertModel):
            net.set_attn_implementation("eager")
        net.train()
        torch.manual_seed(1)  # of dropout
        states = net(input_ids=IDS, attention_mask=MASK).last_hidden_state
        (states * MASK[..., None]).square().mean().backward()
        gradients.append({name: p.grad for name, p in net.named_parameters()})
    expected, found = gradients
    assert expected.keys() == found.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize(
    "changes",
    [
        {"model_type": "roberta"},
        {"position_embedding_type": "relative_key"},
        {"is_decoder": True},
        {"hidden_act": "relu"},
        {"hidden_size": 15},
        {"hidden_size": "16"},
        {"num_hidden_layers": None},
    ],
)
def test_other_networks_are_left_to_transformers(changes):
    values = json.loads(config().to_json_string())
    assert supported_config(values) is not None
    assert supported_config(values | changes) is None


@pytest.fixture(scope="module")
def folder(tiny_folder):
    return tiny_folder("atomic")


def test_a_folder_is_restored_without_transformers(folder):
    retriever = Retriever.load(folder)
    assert isinstance(retriever.model.encoder.backbone, BertNetwork)
    assert isinstance(retriever.model.tokenizer, SavedTokenizer)


@pytest.mark.parametrize("length", [None, 2, 3, 16])
@pytest.mark.parametrize("special", [True, False])
def test_tokens_equal_those_of_transformers(folder, length, special):
    expected, found = AutoTokenizer.from_pretrained(folder), read_tokenizer(folder)
    options = {"add_special_tokens": special, "truncation": length is not None}
    for texts in (TEXTS, TEXTS[2]):
        wanted = expected(texts, max_length=length, **options)["input_ids"]
        assert found(texts, max_length=length, **options)["input_ids"] == wanted
    assert len(found) == len(expected)
    assert found.pad_token_id == expected.pad_token_id
    assert found.unk_token_id == expected.unk_token_id
    assert set(found.all_special_ids) == set(expected.all_special_ids)


@pytest.mark.parametrize("changes", [{"truncation_side": "left"}, {"split_special_tokens": True}])
def test_settings_beyond_tokenizer_json_are_read_by_transformers(folder, tmp_path, changes):
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_text((folder / name).read_text())
    path = tmp_path / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    expected, found = AutoTokenizer.from_pretrained(tmp_path), read_tokenizer(tmp_path)
    for text in TEXTS:
        options = {"truncation": True, "max_length": 5}
        assert found(text, **options)["input_ids"] == expected(text, **options)["input_ids"]


def test_checkpointing_gives_the_same_gradients():
    _, net = both()
    layers = []
    for layer in net.encoder.layer:
        layer.output.dense.register_forward_pre_hook(lambda *_: layers.append(1))

    def gradients():
        layers.clear()
        torch.manual_seed(1)  # of the dropout
        net.train().zero_grad()
        net(IDS, MASK).last_hidden_state.square().sum().backward()
        return len(layers), [p.grad.clone() for p in net.parameters()]

    once, expected = gradients()
    enable_gradient_checkpointing(net)
    twice, found = gradients()
    assert (once, twice) == (2, 4)
    for own, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(own, wanted)


def test_the_rest_is_that_of_transformers(folder, tmp_path):
    tokenizer = read_tokenizer(folder)
    ids = tokenizer("copy a file")["input_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "copy a file"
    assert len(copy.deepcopy(tokenizer)) == len(tokenizer)
    tokenizer.save_pretrained(tmp_path)
    assert read_tokenizer(tmp_path)("copy a file")["input_ids"] == ids


def test_a_model_that_is_saved_again_is_the_same(folder, tmp_path):
    first = Retriever.load(folder)
    first.save(tmp_path / "again")
    again = Retriever.load(tmp_path / "again")
    key = lambda hits: [(hit.key, hit.score) for hit in hits]  # noqa: E731
    assert key(again.search("copy a file", 5)[0]) == key(first.search("copy a file", 5)[0])
    saved = json.loads((tmp_path / "again" / "config.json").read_text())
    assert saved == json.loads((folder / "config.json").read_text())


def test_search_does_not_import_transformers(folder):
    code = (
        "import sys; from genir import Retriever; "
        f"assert Retriever.load({str(folder)!r}).search('copy a file', 3)[0]; "
        "names = {'transformers', 'sentence_transformers', 'sklearn', 'datasets', 'accelerate', "
        "'sympy', 'torch._dynamo', 'triton', 'pandas', 'matplotlib', 'ir_measures', "
        "'scipy.optimize', 'scipy.stats', 'fastapi'}; "
        "assert not names & sys.modules.keys(), names & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
