"""Folders of sentence-transformers: layers and settings are read in either layout, or refused."""

import json
import shutil

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save_file
from sentence_transformers import SentenceTransformer

from genir.errors import InputError
from genir.models.digests import weights_digest
from genir.models.encoder import TextEncoder
from genir.models.sentence_folder import pooling_modes, read_design

TRANSFORMER, POOLING, NORMALIZE = (
    {"path": path, "type": f"sentence_transformers.models.{kind}"}
    for path, kind in (("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize"))
)
DROPOUT = {"path": "3_Dropout", "type": "sentence_transformers.models.Dropout"}
OWN_CODE = {"path": "", "type": "custom_st.Transformer"}
OUTSIDE = {"path": "../1_Pooling", "type": "sentence_transformers.models.Pooling"}
LSTM = {"path": "2_LSTM", "type": "sentence_transformers.models.LSTM"}
DENSE = {"path": "2_Dense", "type": "sentence_transformers.models.Dense"}
ROUTER = {"path": "", "type": "sentence_transformers.models.Router"}
BASE, OWN = "sentence_transformers.base.modules", "sentence_transformers.sentence_transformer"
NEW = [
    {"path": "", "type": f"{BASE}.transformer.Transformer"},
    {"path": "1_Pooling", "type": f"{OWN}.modules.pooling.Pooling"},
]
MEAN = {"word_embedding_dimension": 16, "pooling_mode_mean_tokens": True}
SIZES = {"in_features": 16, "out_features": 8}
NARROW = {"linear.weight": [8, 15], "linear.bias": [8]}


@pytest.fixture
def write(tiny_encoder, tmp_path):
    """Return a function that writes the folder and returns its path."""

    def make(modules=(TRANSFORMER, POOLING), pooling=None, settings=None, transformer=None):
        folder = shutil.copytree(tiny_encoder, tmp_path / "model")
        (folder / "modules.json").write_text(json.dumps(list(modules)))
        (folder / "1_Pooling").mkdir()
        if pooling is not None:
            (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
        if settings is not None:
            path = folder / "config_sentence_transformers.json"
            path.write_text(json.dumps(settings))
        if transformer is not None:
            (folder / "sentence_bert_config.json").write_text(json.dumps(transformer))
        return folder

    return make


@pytest.mark.parametrize(
    ("modules", "pooling", "settings"),
    [
        ((TRANSFORMER, POOLING), MEAN, None),
        ((TRANSFORMER, POOLING, NORMALIZE), MEAN, {"similarity_fn_name": "dot"}),
        (NEW, {"embedding_dimension": 16, "pooling_mode": "mean", "include_prompt": True}, None),
        (NEW, {"pooling_mode": ["mean"]}, {"model_type": "SentenceTransformer"}),
        ((TRANSFORMER, POOLING), MEAN, {"prompts": {"query": "", "document": ""}}),
        ((TRANSFORMER, POOLING), MEAN, {"prompts": {}, "similarity_fn_name": None}),
        ((TRANSFORMER, POOLING), MEAN, {"prompts": None, "truncate_dim": None}),
        ((TRANSFORMER, POOLING, DROPOUT), MEAN, None),
    ],
)
def test_plain_means_need_no_layers(modules, pooling, settings, write, tiny_encoder, fp32):
    encoder = TextEncoder.pretrained(str(write(modules, pooling, settings)))
    assert encoder.layers is None and encoder.document_encoder is None
    plain = TextEncoder.pretrained(str(tiny_encoder))
    assert (encoder.embed(["copy"], "document") == plain.embed(["copy"], "document")).all()


@pytest.mark.parametrize(
    ("modules", "pooling", "settings", "message"),
    [
        (NEW[1:], MEAN, None, "has the layers Pooling, not one Transformer"),
        (NEW[::-1], MEAN, None, "has the layers Pooling, Transformer, not one Transformer"),
        ([*NEW[:1], *NEW], MEAN, None, "has the layers Transformer, Pooling, not one"),
        ([], MEAN, None, "has the layers none, not one Transformer"),
        (NEW[:1], None, None, "its layers do not end in one vector a text"),
        ((TRANSFORMER, NORMALIZE), MEAN, None, "its layers do not end in one vector a text"),
        ((OWN_CODE, POOLING), MEAN, None, "names custom_st.Transformer, custom code"),
        ((TRANSFORMER, OUTSIDE), MEAN, None, "its path '../1_Pooling' is outside its folder"),
        ((TRANSFORMER, POOLING), None, None, "no 1_Pooling/config.json"),
        ((TRANSFORMER, POOLING, LSTM), MEAN, None, "adds a LSTM layer"),
        ((TRANSFORMER, POOLING, DENSE), MEAN, None, "2_Dense/config.json sets in_features = "),
        ((ROUTER,), None, None, "its router in '.' has no usable route for a query"),
        (
            ({**DROPOUT, "path": "a" * 5_000, "type": f"{BASE}.transformer.Transformer"}, POOLING),
            MEAN,
            None,
            "names the folder 'aaa.*which does not exist",
        ),
        (NEW, MEAN, {"prompts": {"query": "\ud800"}}, "a prompt with an unpaired surrogate"),
        (NEW, {"pooling_mode": 7}, None, r"sets pooling_mode.0 = 7"),
        (NEW, {"pooling_mode": "best"}, None, r"sets pooling_mode.0 = 'best', .*'cls'"),
        (NEW, {"pooling_mode": ["cls", "cls"]}, None, "a pooling mode occurs twice"),
        (NEW, {"pooling_mode": "mean", "of": 1}, None, "1_Pooling/config.json sets of = 1"),
        (NEW, MEAN, {"truncate_dim": "8"}, "has truncate_dim = '8', not a number"),
        (NEW, MEAN, {"similarity_fn_name": "dot"}, "not normalised by 'dot'"),
        (NEW, MEAN, {"similarity_fn_name": "euclidean"}, "not normalised by 'euclidean'"),
        (
            (TRANSFORMER, POOLING, NORMALIZE),
            MEAN,
            {"similarity_fn_name": "dot", "truncate_dim": 8},
            "not normalised by 'dot'",
        ),
        (NEW, MEAN, {"model_type": "SparseEncoder"}, "a SparseEncoder of sentence-transformers"),
        (NEW, MEAN, {"prompts": ["query: "]}, "has prompts = .*not a JSON object of texts"),
        (NEW, MEAN, {"prompts": "query: "}, "has prompts = .*not a JSON object of texts"),
        (NEW, MEAN, {"prompts": {"query": 7}}, "has prompts = .*not a JSON object of texts"),
    ],
)
def test_anything_else_is_refused(modules, pooling, settings, message, write):
    folder = write(modules, pooling, settings)
    with pytest.raises(InputError, match=f"cannot load '{folder}': .*{message}.*; "):
        TextEncoder.pretrained(str(folder))


TEXT = {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}


@pytest.mark.parametrize(
    "settings",
    [
        {"max_seq_length": 128, "do_lower_case": False},
        {"do_lower_case": True},  # as the tokenizer does
        {"transformer_task": "feature-extraction", "module_output_name": "token_embeddings",
         "modality_config": TEXT, "processing_kwargs": {}, "query_length": None},
        {"model_args": {"attn_implementation": "eager", "trust_remote_code": True}},
    ],
)  # fmt: skip
def test_settings_that_leave_the_states_as_they_are_are_taken(settings, write, tiny_encoder, fp32):
    folder = write(NEW, MEAN, transformer=settings)
    found = TextEncoder.pretrained(str(folder)).embed(["Copy"], "document")
    assert (found == TextEncoder.pretrained(str(tiny_encoder)).embed(["Copy"], "document")).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"transformer_task": "fill-mask"}, "transformer_task = 'fill-mask'"),
        ({"processing_kwargs": {"text": {"add_special_tokens": False}}}, "processing_kwargs = "),
        ({"query_expansion": {"length": 32}}, "query_expansion = "),
        ({"query_length": 32}, "query_length = 32"),
        ({"module_output_name": "scores"}, "module_output_name = 'scores'"),
        ({"modality_config": TEXT | {"text": {"method": "get_text_features"}}}, "modality_config"),
        ({"modality_config": TEXT | {"message": {"method": "forward"}}}, "modality_config"),
        ({"modality_config": "text"}, "modality_config = 'text'"),
        ({"config_args": {"num_hidden_layers": 1}}, "config_args = {'num_hidden_layers': 1}"),
        ({"tokenizer_args": ["do_lower_case"]}, "tokenizer_args = "),
        ({"max_seq_length": "128"}, "max_seq_length = '128'"),
        ({"max_seq_length": 0}, "max_seq_length = 0"),
    ],
)
def test_settings_that_change_the_states_are_refused(settings, message, write):
    folder = write(NEW, MEAN, transformer=settings)
    with pytest.raises(InputError, match=f"sentence_bert_config.json sets {message}.*; "):
        TextEncoder.pretrained(str(folder))


@pytest.mark.parametrize("file", ["sentence_bert_config.json", "sentence_roberta_config.json"])
def test_texts_are_lower_cased_where_the_settings_say_so(file, write, tmp_path, fp32):
    folder = write(NEW, MEAN)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["normalizer"]["lowercase"] = False
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    tokenizer |= {"do_lower_case": False, "tokenizer_class": "BertTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    capitals, small = TextEncoder.pretrained(str(folder)).embed(["COPY", "copy"], "document")
    assert not np.allclose(capitals, small)
    (folder / file).write_text('{"do_lower_case": true}')
    encoder = TextEncoder.pretrained(str(folder))
    for _ in range(2):  # saved and loaded twice
        capitals, small = encoder.embed(["COPY", "copy"], "document")
        assert (capitals == small).all()
        encoder.save(tmp_path)
        encoder.tokenizer.save_pretrained(tmp_path)
        encoder = TextEncoder.restore(tmp_path, encoder.state_dict())
    assert (tmp_path / "tokenizer.json").read_text().count('"Lowercase"') == 1


@pytest.mark.parametrize(
    ("config", "weights", "message"),
    [
        (SIZES, {"linear.bias": [8]}, r"2_Dense/model.safetensors: .*Missing key"),
        (SIZES, NARROW, "2_Dense/model.safetensors: .*size"),
        (SIZES | {"in_features": 15}, NARROW, "do not end in"),
        (SIZES | {"activation_function": "os.system"}, {}, "'os.system', .* not one of torch.nn's"),
        (SIZES | {"activation_function": "torch.nn.Sequential"}, {}, "not one of torch.nn's"),
        (SIZES | {"activation_function": "evil.torch.nn.Tanh"}, {}, "not one of torch.nn's"),
        (SIZES | {"in_features": 2**24}, NARROW, r"Dense .*states a weight of \[8, 16777216\]"),
        (SIZES | {"in_features": 10**30}, NARROW, r"sets in_features = 10{30}, which .*16777216"),
        (SIZES | {"out_features": 0}, {}, "2_Dense/config.json sets out_features = 0"),
        (SIZES, None, r"it has no 2_Dense/model.safetensors; where you trust it"),
    ],
)  # fmt: skip
def test_a_dense_layer_is_checked(config, weights, message, write):
    folder = write((*NEW, DENSE), MEAN)
    (folder / "2_Dense").mkdir()
    (folder / "2_Dense" / "config.json").write_text(json.dumps(config))
    (folder / "2_Dense" / "pytorch_model.bin").touch()
    if weights is not None:
        tensors = {name: torch.ones(shape) for name, shape in weights.items()}
        save_file(tensors, folder / "2_Dense" / "model.safetensors")
    with pytest.raises(InputError, match=f"cannot load '{folder}': .*{message}"):
        TextEncoder.pretrained(str(folder))


def test_weights_of_a_layer_are_finite(write):
    folder = write((*NEW, DENSE), MEAN)
    (folder / "2_Dense").mkdir()
    (folder / "2_Dense" / "config.json").write_text(json.dumps(SIZES))
    weights = {"linear.weight": torch.full((8, 16), torch.nan), "linear.bias": torch.ones(8)}
    save_file(weights, folder / "2_Dense" / "model.safetensors")
    with pytest.raises(InputError, match=r"2_Dense/model.safetensors has values that are not fin"):
        TextEncoder.pretrained(str(folder))


@pytest.mark.parametrize(
    ("prompts", "expected"),
    [
        ({"query": "q: ", "document": "d: ", "passage": "p: "}, ("q: ", "d: ")),
        ({"query": "q: ", "passage": "p: "}, ("q: ", "p: ")),
        ({"query": "q: ", "document": "", "passage": "p: "}, ("q: ", "p: ")),
        ({"corpus": "c: "}, ("", "c: ")),
        ({"query": "q: ", "clustering": "x: "}, ("q: ", "")),
        ({"query": "", "document": ""}, ("", "")),
    ],
)
@pytest.mark.parametrize("default", [None, "clustering"])
def test_prompts_by_name(prompts, expected, default, write, caplog):
    settings = {"prompts": prompts, "default_prompt_name": default}
    _, design = read_design(str(write(NEW, MEAN, settings)))
    assert (design.query_prompt, design.document_prompt) == expected
    assert not caplog.records


def test_prompts_under_other_names(write, caplog, fp32):
    prompts = {"query": "", "search_query": "find: ", "retrieval": "text: "}
    folder = str(write(NEW, MEAN, {"prompts": prompts}))
    _, design = read_design(folder)
    assert (design.query_prompt, design.document_prompt) == ("", "")
    (record,) = caplog.records
    assert record.getMessage() == (
        f"{folder}: its prompts are named 'search_query', 'retrieval', none of them 'query' or "
        "'document', and are not used; to use one, set its text as [model] query_prompt or "
        "document_prompt"
    )


def test_the_default_prompt_is_used_without_one_by_role(write, caplog, fp32):
    prompts = {"query": "", "search": "find: ", "retrieval": "text: "}
    modules = [module | {"name": str(n), "idx": n} for n, module in enumerate(NEW)]
    folder = str(write(modules, MEAN, {"prompts": prompts, "default_prompt_name": "search"}))
    encoder = TextEncoder.pretrained(folder)
    expected = SentenceTransformer(folder, device="cpu").encode("copy", normalize_embeddings=True)
    for role in ("query", "document"):
        assert encoder.prompts[role].text == "find: "
        np.testing.assert_allclose(encoder.embed("copy", role)[0], expected, atol=1e-5)
    assert not [record for record in caplog.records if record.name == "genir.models"]


def test_a_transformer_in_a_folder_of_its_own(tiny_encoder, tmp_path, fp32):
    shutil.copytree(tiny_encoder, tmp_path / "0_Transformer")
    modules = [TRANSFORMER | {"path": "0_Transformer"}, POOLING]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text('{"pooling_mode": "cls"}')
    whole = TextEncoder.pretrained(str(tmp_path)).embed(["copy"], "document")
    inner = TextEncoder.pretrained(str(tmp_path / "0_Transformer")).embed(["copy"], "document")
    assert (inner == whole).all()
    assert not np.allclose(
        whole, TextEncoder.pretrained(str(tiny_encoder)).embed(["copy"], "document")
    )
    settings = tmp_path / "0_Transformer" / "sentence_bert_config.json"
    settings.write_text('{"transformer_task": "fill-mask"}')
    with pytest.raises(InputError, match=r"0_Transformer/sentence_bert_config.json sets tr"):
        TextEncoder.pretrained(str(tmp_path))


def test_the_digest_of_an_inner_folder_is_that_of_the_whole(tiny_encoder, tmp_path):
    inner = shutil.copytree(tiny_encoder, tmp_path / "0_Transformer")
    alone = weights_digest(str(inner))
    modules = [TRANSFORMER | {"path": "0_Transformer"}, POOLING]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    assert weights_digest(str(inner)) == weights_digest(str(tmp_path)) != alone


@pytest.mark.parametrize("kind", ["Transformer", "StaticEmbedding"])
def test_a_missing_folder_is_not_looked_up_on_the_hub(kind, write, monkeypatch):
    folder = write(
        [{"path": "inner", "type": f"sentence_transformers.models.{kind}"}, POOLING], MEAN
    )
    monkeypatch.chdir(folder.parent)
    message = "cannot load 'model': its modules.json names the folder 'inner', which does not exist"
    with pytest.raises(InputError, match=message):
        TextEncoder.pretrained("model")


def test_layers_end_in_one_vector_a_text(write):
    folder = write((*NEW, DENSE), MEAN)
    (folder / "2_Dense").mkdir()
    names = {"module_input_name": "token_embeddings", "module_output_name": "sentence_embedding"}
    (folder / "2_Dense" / "config.json").write_text(json.dumps(SIZES | names))
    weights = {"linear.weight": torch.ones(8, 16), "linear.bias": torch.ones(8)}
    save_file(weights, folder / "2_Dense" / "model.safetensors")
    with pytest.raises(InputError, match=r"its layers do not end in one vector a text \(shape \["):
        TextEncoder.pretrained(str(folder))


def in_hub_cache(folder, commit, cache, monkeypatch):
    """Copy a folder to a hub cache as `acme/encoder`."""
    model = cache / "models--acme--encoder"
    shutil.copytree(folder, model / "snapshots" / commit)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(commit)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def test_the_digest_of_a_model2vec_hub_model_is_its_commit(tmp_path, monkeypatch):
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "config.json").write_text('{"model_type": "model2vec"}')
    in_hub_cache(tmp_path / "static", "b" * 40, tmp_path / "cache", monkeypatch)
    assert weights_digest("acme/encoder") == f"commit {'b' * 40}"


def test_a_hub_model_of_several_folders_is_read_from_its_snapshot(write, tmp_path, monkeypatch):
    folder, commit = write(NEW, {"pooling_mode": "cls"}), "a" * 40
    expected = TextEncoder.pretrained(str(folder)).embed(["copy"], "document")
    in_hub_cache(folder, commit, tmp_path / "cache", monkeypatch)
    assert (TextEncoder.pretrained("acme/encoder").embed(["copy"], "document") == expected).all()
    assert weights_digest("acme/encoder") == f"commit {commit}"


def test_modes_without_a_key_are_means():
    assert pooling_modes({}) == ["mean"]
    assert pooling_modes({"pooling_mode": "cls", "pooling_mode_mean_tokens": True}) == ["cls"]
    legacy = {"pooling_mode_max_tokens": True, "pooling_mode_cls_token": True}
    assert pooling_modes(legacy) == ["cls", "max"]


@pytest.mark.parametrize(
    "changes",
    [
        {"parameters": {"route_mappings": ["query"]}},
        {"parameters": {"route_mappings": {"-" * 100_000 + "1": "query"}}},
        {"structure": {"query": 7, "document": 7}},
        {"types": []},
    ],
)
def test_a_router_of_wrong_types_is_refused(changes, write):
    folder = write((ROUTER,))
    config = {"types": {"a": TRANSFORMER["type"]}, "structure": {"query": ["a"], "document": ["a"]}}
    (folder / "router_config.json").write_text(json.dumps(config | changes))
    with pytest.raises(InputError, match=r"its router in '\.' has no usable route for a query"):
        TextEncoder.pretrained(str(folder))


def test_true_is_no_number_of_tokens(write):
    folder = write(pooling=MEAN, transformer={"max_seq_length": True})
    with pytest.raises(InputError, match="max_seq_length = True, not a number of tokens"):
        TextEncoder.pretrained(str(folder))
