"""The encoder on joined weights, against the one of transformers."""

import copy

import pytest
import torch
from nets import FAST, make
from transformers import BertModel, RobertaModel, XLMRobertaModel

from genir.models.backbone import Seq2SeqBackbone
from genir.models.encoder import TextEncoder
from genir.models.engine.encoder import Encoder

NAMES = ["T5", "T5 v1.1", "mT5", "BERT2BERT"]
LONG = torch.arange(5, 19)[None]
"""Longer than the relative positions of the tests reach."""
PADDED = torch.tensor([[5, 9, 33, 7, 8], [12, 6, 21, 0, 0], [30, 5, 17, 11, 0]])


def states_of(name, ids, dtype=None):
    """States of transformers and of genir, with zeros at padding."""
    net = make(name)
    transformer = Seq2SeqBackbone(copy.deepcopy(net))
    mask = (ids > 0).long()
    with torch.inference_mode(), torch.autocast("cpu", dtype, enabled=dtype is not None):
        expected = net.get_encoder()(input_ids=ids, attention_mask=mask).last_hidden_state
        found = transformer.encode(ids, mask).states
    assert isinstance(transformer.encoder.cast_copy, Encoder)
    return [states * mask[..., None] for states in (expected, found)]


@pytest.mark.parametrize("ids", [LONG, PADDED], ids=["long", "padded"])
@pytest.mark.parametrize("name", NAMES)
def test_it_encodes_as_transformers_does(name, ids):
    expected, found = states_of(name, ids)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    expected, found = states_of(name, ids, torch.bfloat16)
    assert found.dtype == expected.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=5e-2, atol=5e-2)


def text_encoder(kind=BertModel):
    torch.manual_seed(0)
    config = kind.config_class(
        vocab_size=40, hidden_size=16, num_attention_heads=2, num_hidden_layers=2,
        intermediate_size=24, max_position_embeddings=20,
    )  # fmt: skip
    return TextEncoder(kind(config), None, 20).eval()


@pytest.mark.parametrize("ids", [LONG, PADDED], ids=["long", "padded"])
@pytest.mark.parametrize(("dtype", "near"), [(None, 1e-5), (torch.bfloat16, 5e-2)])
@pytest.mark.parametrize("kind", [BertModel, RobertaModel, XLMRobertaModel])
def test_so_does_a_bert_alone(kind, ids, dtype, near):
    encoder, mask = text_encoder(kind), (ids > 0).long()
    with torch.inference_mode():
        expected = encoder.backbone(input_ids=ids, attention_mask=mask).last_hidden_state
        with torch.autocast("cpu", dtype, enabled=dtype is not None):
            found = encoder.states(ids, mask)
    assert isinstance(encoder.cast_cache.cast_copy, Encoder)
    real = mask.bool()
    torch.testing.assert_close(found[real], expected[real], rtol=near, atol=near)


def test_an_heir_of_bert_is_left_to_transformers():
    class Heir(BertModel):
        pass

    encoder = text_encoder(Heir)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        encoder.states(LONG, torch.ones_like(LONG))
    assert not isinstance(encoder.cast_cache.cast_copy, Encoder)


def test_others_and_training_are_left_to_transformers():
    others = Seq2SeqBackbone(make("BART"))
    with torch.inference_mode():
        others.encode(PADDED, (PADDED > 0).long())
    assert not isinstance(others.encoder.cast_copy, Encoder)
    own = Seq2SeqBackbone(make("T5"))
    assert own.encode(PADDED, (PADDED > 0).long()).states.requires_grad
    assert own.encoder.cast_copy is None and set(NAMES) < set(FAST)


def test_answers_follow_the_weights():
    own = Seq2SeqBackbone(make("T5 v1.1"))
    mask = torch.ones_like(LONG)
    with torch.no_grad():
        before = own.encode(LONG, mask).states
        own.net.encoder.block[1].layer[1].DenseReluDense.wi_0.weight.mul_(-3)
        assert not torch.allclose(own.encode(LONG, mask).states, before)
