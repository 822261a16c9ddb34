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

    def make(modules=(TRANSFORMER, POOLING), pooling=None, settings=None):
        folder = shutil.copytree(tiny_encoder, tmp_path / "model")
        (folder / "modules.json").write_text(json.dumps(list(modules)))
        (folder / "1_Pooling").mkdir()
        if pooling is not None:
            (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
        if settings is not None:
            path = folder / "config_sentence_transformers.json"
            path.write_text(json.dumps(settings))
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
    ],
)
def test_plain_means_are_taken(modules, pooling, settings, write, tiny_encoder, fp32):
    found = TextEncoder.pretrained(str(write(modules, pooling, settings))).embed(["copy"])
    assert (found == TextEncoder.pretrained(str(tiny_encoder)).embed(["copy"])).all()


@pytest.mark.parametrize(
    ("modules", "pooling", "settings", "message"),
    [
        (NEW[:1], None, None, "0 Pooling layers, not one"),
        ((TRANSFORMER, POOLING), None, None, "no 1_Pooling/config.json"),
        ((TRANSFORMER, POOLING, DENSE), MEAN, None, "adds a Dense layer"),
        ((TRANSFORMER, POOLING), {"pooling_mode_cls_token": True}, None, "pools by cls"),
        ((TRANSFORMER, POOLING), {"pooling_mode_lasttoken": True}, None, "pools by lasttoken"),
        ((TRANSFORMER, POOLING), {"pooling_mode_max_tokens": True}, None, "pools by max"),
        ((TRANSFORMER, POOLING), MEAN | {"pooling_mode_cls_token": True}, None, "by cls and mean"),
        (NEW, {"pooling_mode": "cls"}, None, "pools by cls"),
        (NEW, {"pooling_mode": ["mean", "max"]}, None, "pools by mean and max"),
        (NEW, {"pooling_mode": 7}, None, "pools by 7"),
        (NEW, {"pooling_mode": "weightedmean"}, None, "pools by weightedmean"),
        (NEW, MEAN, {"prompts": {"query": "query: "}}, "prompts .query: 'query: '"),
        (NEW, MEAN, {"similarity_fn_name": "dot"}, "vectors of any length by 'dot'"),
        (NEW, MEAN, {"model_type": "SparseEncoder"}, "a SparseEncoder of sentence-transformers"),
    ],
)
def test_anything_else_is_refused(modules, pooling, settings, message, write):
    folder = write(modules, pooling, settings)
    with pytest.raises(InputError, match=f"cannot load '{folder}': .*{message}.*; give an encoder"):
        TextEncoder.pretrained(str(folder))


def test_the_transformer_s_own_folder_is_looked_at_in_its_place(tiny_encoder, tmp_path):
    shutil.copytree(tiny_encoder, tmp_path / "0_Transformer")
    modules = [TRANSFORMER | {"path": "0_Transformer"}, POOLING]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text('{"pooling_mode": "cls"}')
    with pytest.raises(InputError, match=r"pools by cls"):
        require_mean_pooling(str(tmp_path / "0_Transformer"))
    with pytest.raises(InputError, match=r"transformer is in 0_Transformer; give"):
        TextEncoder.pretrained(str(tmp_path))


def test_a_plain_encoder_says_nothing_of_pooling(tiny_encoder):
    require_mean_pooling(str(tiny_encoder))


def test_modes_without_a_key_are_means():
    assert pooling_modes({}) == ["mean"]
    assert pooling_modes({"pooling_mode": "cls", "pooling_mode_mean_tokens": True}) == ["cls"]
