"""Sentence-transformers folders, in the layout of before and after release 5.2."""

import json
import shutil

import pytest

from genir.errors import InputError
from genir.models.encoder import TextEncoder
from genir.models.pooling import pooling_modes, require_mean_pooling

TRANSFORMER, POOLING, NORMALIZE = (
    {"path": path, "type": f"sentence_transformers.models.{kind}"}
    for path, kind in (("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize"))
)
DROPOUT = {"path": "3_Dropout", "type": "sentence_transformers.models.Dropout"}
OWN_CODE = {"path": "", "type": "custom_st.Transformer"}
DENSE = {"path": "2_Dense", "type": "sentence_transformers.models.Dense"}
BASE, OWN = "sentence_transformers.base.modules", "sentence_transformers.sentence_transformer"
NEW = [
    {"path": "", "type": f"{BASE}.transformer.Transformer"},
    {"path": "1_Pooling", "type": f"{OWN}.modules.pooling.Pooling"},
]
MEAN = {"word_embedding_dimension": 16, "pooling_mode_mean_tokens": True}


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
def test_plain_means_are_taken(modules, pooling, settings, write, tiny_encoder, fp32):
    found = TextEncoder.pretrained(str(write(modules, pooling, settings))).embed(["copy"])
    assert (found == TextEncoder.pretrained(str(tiny_encoder)).embed(["copy"])).all()


@pytest.mark.parametrize(
    ("modules", "pooling", "settings", "message"),
    [
        (NEW[:1], None, None, "has the layers Transformer, not one Transformer, then one Pooling"),
        (NEW[1:], MEAN, None, "has the layers Pooling, not one Transformer"),
        (NEW[::-1], MEAN, None, "has the layers Pooling, Transformer, not one Transformer"),
        (NEW[:1] + NEW, MEAN, None, "has the layers Transformer, Transformer, Pooling, not one"),
        ((TRANSFORMER, NORMALIZE, POOLING), MEAN, None, "Transformer, Normalize, Pooling, not one"),
        ([], MEAN, None, "has the layers none, not one Transformer"),
        ((OWN_CODE, POOLING), MEAN, None, "names custom_st.Transformer, custom code"),
        ((TRANSFORMER, POOLING), None, None, "no 1_Pooling/config.json"),
        ((TRANSFORMER, POOLING, DENSE), MEAN, None, "adds a Dense layer"),
        ((TRANSFORMER, POOLING), {"pooling_mode_cls_token": True}, None, "pooling by cls"),
        (
            (TRANSFORMER, POOLING),
            {"pooling_mode_lasttoken": True},
            None,
            "pooling by lasttoken",
        ),
        ((TRANSFORMER, POOLING), {"pooling_mode_max_tokens": True}, None, "pooling by max"),
        ((TRANSFORMER, POOLING), MEAN | {"pooling_mode_cls_token": True}, None, "by cls and mean"),
        (NEW, {"pooling_mode": "cls"}, None, "pooling by cls"),
        (NEW, {"pooling_mode": ["mean", "max"]}, None, "pooling by mean and max"),
        (NEW, {"pooling_mode": 7}, None, "pooling by 7"),
        (NEW, {"pooling_mode": "weightedmean"}, None, "pooling by weightedmean"),
        (NEW, MEAN, {"prompts": {"query": "query: "}}, "prompts .query: 'query: '"),
        (NEW, MEAN, {"truncate_dim": 8}, "its vectors are truncated .truncate_dim = 8."),
        (NEW, MEAN, {"similarity_fn_name": "dot"}, "unnormalised vectors by 'dot'"),
        (NEW, MEAN, {"model_type": "SparseEncoder"}, "a SparseEncoder of sentence-transformers"),
    ],
)
def test_anything_else_is_refused(modules, pooling, settings, message, write):
    folder = write(modules, pooling, settings)
    with pytest.raises(InputError, match=f"cannot load '{folder}': .*{message}.*; give an encoder"):
        TextEncoder.pretrained(str(folder))


@pytest.mark.parametrize("prompts", [["query: "], "query: ", 7])
def test_prompts_are_an_object(prompts, write):
    folder = write(NEW, MEAN, {"prompts": prompts})
    with pytest.raises(
        InputError, match=r"sentence_transformers.json has prompts = .*not a JSON obj"
    ):
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
    found = TextEncoder.pretrained(str(folder)).embed(["Copy"])
    assert (found == TextEncoder.pretrained(str(tiny_encoder)).embed(["Copy"])).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"transformer_task": "fill-mask"}, "transformer_task = 'fill-mask'"),
        ({"processing_kwargs": {"text": {"add_special_tokens": False}}}, "processing_kwargs = "),
        ({"query_expansion": {"length": 32}}, "query_expansion = "),
        ({"module_output_name": "scores"}, "module_output_name = 'scores'"),
        ({"modality_config": TEXT | {"text": {"method": "get_text_features"}}}, "modality_config"),
        ({"modality_config": "text"}, "modality_config = 'text'"),
        ({"config_args": {"num_hidden_layers": 1}}, "config_args = {'num_hidden_layers': 1}"),
        ({"tokenizer_args": ["do_lower_case"]}, "tokenizer_args = "),
    ],
)
def test_settings_that_change_the_states_are_refused(settings, message, write):
    folder = write(NEW, MEAN, transformer=settings)
    with pytest.raises(InputError, match=f"sentence_bert_config.json sets {message}.*; give an en"):
        TextEncoder.pretrained(str(folder))


@pytest.mark.parametrize("file", ["sentence_bert_config.json", "sentence_roberta_config.json"])
def test_lower_case_is_refused_where_the_tokenizer_keeps_capitals(file, write):
    folder = write(NEW, MEAN)
    (folder / file).write_text('{"do_lower_case": true}')
    assert TextEncoder.pretrained(str(folder))
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["normalizer"]["lowercase"] = False
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer | {"do_lower_case": False}))
    with pytest.raises(InputError, match=rf"{file} sets do_lower_case, but its tokenizer is cased"):
        TextEncoder.pretrained(str(folder))


def test_the_transformer_s_own_folder_is_looked_at_in_its_place(tiny_encoder, tmp_path):
    shutil.copytree(tiny_encoder, tmp_path / "0_Transformer")
    modules = [TRANSFORMER | {"path": "0_Transformer"}, POOLING]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text('{"pooling_mode": "cls"}')
    settings = tmp_path / "0_Transformer" / "sentence_bert_config.json"
    with pytest.raises(InputError, match=r"pooling by cls"):
        require_mean_pooling(str(tmp_path / "0_Transformer"), None)
    with pytest.raises(InputError, match=r"transformer is in 0_Transformer; give"):
        TextEncoder.pretrained(str(tmp_path))
    settings.write_text('{"transformer_task": "fill-mask"}')
    with pytest.raises(InputError, match=r"0_Transformer/sentence_bert_config.json sets tr"):
        require_mean_pooling(str(tmp_path / "0_Transformer"), None)


def test_a_plain_encoder_says_nothing_of_pooling(tiny_encoder):
    require_mean_pooling(str(tiny_encoder), None)


def test_modes_without_a_key_are_means():
    assert pooling_modes({}) == ["mean"]
    assert pooling_modes({"pooling_mode": "cls", "pooling_mode_mean_tokens": True}) == ["cls"]
