import copy

import pytest
import torch
from nets import T5
from torch import nn
from transformers import T5Config, T5ForConditionalGeneration
from transformers.activations import GELUActivation, NewGELUActivation

from genir.models.backbone import Seq2SeqBackbone
from genir.models.engine import onednn
from genir.models.engine.onednn import PrepackedLinear, product, supports_prepacking
from genir.models.engine.weights import FeedForward, activation

BIG = (130, 150)
"""A matrix large enough for prepacking."""


def close(found, expected):
    tolerance = 1e-5 if expected.dtype == torch.float32 else 2e-2
    assert found.dtype == expected.dtype
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(1,), (7,), (3, 5), (200,), (0,), (2, 0)])
@pytest.mark.parametrize("biased", [True, False])
def test_a_product_is_that_of_the_plain_matrix(dtype, shape, biased):
    torch.manual_seed(0)
    weight, bias = torch.randn(BIG).div(12).to(dtype), torch.randn(BIG[0]).to(dtype)
    states = torch.randn(*shape, BIG[1]).to(dtype)
    bias = bias if biased else None
    with torch.no_grad():
        found = product(weight, bias)(states)
    assert found.shape == (*shape, BIG[0])
    close(found, nn.functional.linear(states, weight, bias))


def test_states_need_not_lie_in_one_piece():
    torch.manual_seed(0)
    weight, states = torch.randn(BIG), torch.randn(BIG[1], 9).T
    close(product(weight, None)(states), nn.functional.linear(states, weight))


@pytest.mark.parametrize("weight", [torch.randn(4, 3), torch.randn(BIG).double()])
def test_small_matrices_and_other_precisions_are_multiplied_as_they_are(weight):
    made = product(weight, None)
    assert made.func is nn.functional.linear
    close(made(weight[:2]), weight[:2] @ weight.T)


def test_a_torch_without_the_operators_is_detected(monkeypatch):
    def absent(*_):
        raise AttributeError("no such operator")

    monkeypatch.setattr(onednn, "_prepack", absent)
    supports_prepacking.cache_clear()
    assert not supports_prepacking(torch.float32)
    assert product(torch.randn(BIG), None).func is nn.functional.linear
    monkeypatch.undo()
    supports_prepacking.cache_clear()


def test_a_layer_follows_the_precision_it_was_made_in():
    layer = nn.Linear(BIG[1], BIG[0])
    for dtype in (torch.float32, torch.bfloat16):
        stand_in = PrepackedLinear(layer, dtype)
        states = torch.randn(3, BIG[1])
        close(stand_in(states), layer(states).detach().to(dtype))
        assert stand_in.weight.dtype == dtype and not stand_in.weight.requires_grad


ACTIVATIONS = [NewGELUActivation(), GELUActivation(), nn.ReLU(), nn.SiLU()]


@pytest.mark.parametrize("module", ACTIVATIONS, ids=lambda module: type(module).__name__)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [BIG, (4, 3)])
def test_an_activation_follows_the_product(module, dtype, shape):
    torch.manual_seed(0)
    weight, states = torch.randn(shape).div(12).to(dtype), torch.randn(7, shape[1]).to(dtype)
    with torch.no_grad():
        found = product(weight, None, activation(module))(states)
        close(found, module(nn.functional.linear(states, weight)))


def test_known_activations_are_reckoned_while_multiplying():
    assert [activation(module).fused is None for module in ACTIVATIONS] == [False] * 3 + [True]


@pytest.mark.parametrize("module", [NewGELUActivation(), nn.SiLU()])
@pytest.mark.parametrize("width", [160, 8])
def test_a_gate_multiplies_the_values_apart_or_joined(module, width):
    torch.manual_seed(0)
    gate, values, outer = (nn.Linear(width, width, bias=False) for _ in range(3))
    gain, states = torch.rand(width), torch.randn(9, width)
    with torch.no_grad():
        made = FeedForward.build(torch.float32, [gate, values], outer, activation(module), gain)
        scaled = states * gain
        close(made(states), outer(module(gate(scaled)) * values(scaled)))


@pytest.mark.parametrize("inner", ["relu", "gated-gelu"])
def test_a_transformer_answers_the_same_and_follows_its_weights(inner):
    torch.manual_seed(0)
    sizes = {"d_model": 160, "d_ff": 256, "d_kv": 40, "vocab_size": 200}
    config = T5Config(**(T5 | sizes), feed_forward_proj=inner)
    net = T5ForConditionalGeneration(config).eval()
    transformer = Seq2SeqBackbone(copy.deepcopy(net))
    sources = torch.tensor([[5, 9, 33, 7], [12, 6, 0, 0]])
    sources = (sources, (sources > 0).long())
    for scale in (1.0, 1.5):
        with torch.no_grad():
            for each in (net, transformer.net):
                each.shared.weight.mul_(scale)
            expected = net(*sources, decoder_input_ids=torch.zeros(2, 1, dtype=torch.long)).logits
            encoded = transformer.encode(*sources)
            start = transformer.embed(torch.zeros(2, 1, dtype=torch.long))
            state = transformer.steps.encode(encoded.states, encoded.mask)
            hidden = transformer.steps.step(state, None, start)[1]
            close(transformer.logits(hidden), expected)
            some = torch.tensor([[[3, 1]], [[5, 7]]])
            close(transformer.logits(hidden, some), expected.gather(-1, some))
