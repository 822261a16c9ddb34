"""Steps through the opened transformer against the untouched one of transformers, as oracle."""

import copy

import pytest
import torch
from nets import FAST, GENERAL, T5, VOCABULARY, make, whole
from transformers import T5Config, T5ForConditionalGeneration

from genir.errors import InputError
from genir.models.backbone import Seq2SeqBackbone, score_tokens
from genir.models.engine.decoder import FusedDecoder
from genir.models.engine.hf_decoder import HFDecoder


@pytest.fixture(params=[*FAST, *GENERAL])
def net(request):
    return make(request.param)


@pytest.fixture
def sources():
    mask = torch.ones(2, 5, dtype=torch.long)
    mask[1, 3:] = 0
    return torch.randint(5, VOCABULARY, (2, 5)), mask


@pytest.fixture
def targets():
    """Three targets a query, [2, 3, 4]."""
    return torch.randint(5, VOCABULARY, (2, 3, 4))


@torch.inference_mode()
def stepwise(transformer, sources, targets):
    """Logits [2, 3, 5, V] of targets fed one by one; beams grow from 1 to 3 and change places."""
    encoded = transformer.encode(*sources)
    state = transformer.steps.encode(encoded.states, encoded.mask)
    start = torch.full((2, 1), transformer.start)
    state, hidden = transformer.steps.step(state, None, transformer.embed(start))
    rows, parents = [hidden.expand(-1, 3, -1)], torch.zeros(2, 3, dtype=torch.long)
    orders = torch.tensor([[[0, 1, 2], [0, 1, 2]], [[2, 0, 1], [1, 2, 0]]])
    for place in range(4):
        order = orders[place % 2]  # at odd places the beams stand elsewhere
        back = order.argsort(dim=1)
        tokens = targets[:, :, place].gather(1, order)
        state, hidden = transformer.steps.step(state, parents, transformer.embed(tokens))
        rows.append(hidden.take_along_dim(back[..., None], dim=1))
        parents = back.gather(1, orders[(place + 1) % 2])
    return transformer.logits(torch.stack(rows, dim=2))


def expected_logits(net, sources, targets):
    each = tuple(values.repeat_interleave(3, dim=0) for values in sources)
    return whole(net, each, targets.view(6, 4)).view(2, 3, 5, -1)


def assert_equal(found, expected):
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_steps_equal_the_whole_pass_of_transformers(net, sources, targets):
    expected = expected_logits(copy.deepcopy(net), sources, targets)
    assert_equal(stepwise(Seq2SeqBackbone(net), sources, targets), expected)


@pytest.mark.parametrize("name", FAST)
def test_the_general_path_serves_all(name, sources, targets):
    net = make(name)
    expected = expected_logits(copy.deepcopy(net), sources, targets)
    transformer = Seq2SeqBackbone(net)
    assert isinstance(transformer.steps, FusedDecoder)
    transformer.steps = HFDecoder(transformer.net)
    assert_equal(stepwise(transformer, sources, targets), expected)


@pytest.mark.parametrize("name", GENERAL)
def test_other_families_have_no_fast_path(name):
    assert isinstance(Seq2SeqBackbone(make(name)).steps, HFDecoder)


def test_decoding_whole_targets_equals_it_too(net, sources, targets):
    expected = expected_logits(copy.deepcopy(net), sources, targets)[:, 0]
    transformer = Seq2SeqBackbone(net)
    start = torch.full((2, 1), transformer.start)
    with torch.inference_mode():
        embeds = transformer.embed(torch.cat([start, targets[:, 0]], dim=1))
        encoded = transformer.encode(*sources)
        found = transformer.logits(transformer.decode(encoded, embeds))
        state = transformer.steps.encode(encoded.states, encoded.mask)
        turned = transformer.steps.teacher_forced_states(
            state, torch.tensor([1, 0]), embeds.flip(0)
        )
    assert_equal(found, expected)
    assert_equal(transformer.logits(turned.flip(0)), expected)


def test_a_state_can_be_stepped_from_twice(net, sources):
    transformer = Seq2SeqBackbone(net)
    with torch.inference_mode():
        encoded = transformer.encode(*sources)
        state = transformer.steps.encode(encoded.states, encoded.mask)
        state, _ = transformer.steps.step(state, None, transformer.embed(torch.tensor([[0], [0]])))
        once, other = (transformer.embed(torch.tensor([[n], [n + 1]])) for n in (7, 9))
        parents = torch.tensor([[0], [0]])
        then, first = transformer.steps.step(state, parents, once)
        transformer.steps.step(state, parents, other)
        again, second = transformer.steps.step(state, parents, once)
        assert torch.equal(first, second)
        after = (transformer.steps.step(both, parents, other)[1] for both in (then, again))
        assert torch.equal(*after)


def test_the_configuration_is_kept_as_it_was(net):
    before = net.config.to_dict()
    assert Seq2SeqBackbone(net).config.to_dict() == before


class Doubled(T5ForConditionalGeneration):
    """Squares its logits, unlike an output matrix."""

    def forward(self, *args, **kwargs):
        answer = super().forward(*args, **kwargs)
        answer.logits = answer.logits.square()
        return answer


def test_an_architecture_that_cannot_be_opened_is_refused():
    with pytest.raises(InputError, match="a Doubled decodes differently in steps"):
        Seq2SeqBackbone(Doubled(T5Config(**T5)))


@pytest.mark.parametrize(("wanted", "among"), [(1, 500), (300, 500), (60, 9)])
@pytest.mark.parametrize("bias", [None, torch.randn(500)])
def test_gathered_rows_shared_rows_and_the_whole_product_agree(wanted, among, bias):
    hidden, rows = torch.randn(2, 3, 8), torch.randn(500, 8)
    candidates = torch.randint(among, (2, 3, wanted)) + 500 - among
    expected = hidden @ rows.T + (0 if bias is None else bias)
    found = score_tokens(hidden, rows, bias, candidates)
    torch.testing.assert_close(found, expected.gather(-1, candidates), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        score_tokens(hidden, rows, bias, None), expected, rtol=1e-5, atol=1e-5
    )


def test_rows_that_states_share_are_read_once(monkeypatch):
    read = []
    gathered = torch.nn.functional.embedding

    def embedding(numbers, rows):
        read.append(numbers.numel())
        return gathered(numbers, rows)

    monkeypatch.setattr("torch.nn.functional.embedding", embedding)
    hidden, rows = torch.randn(40, 1, 8), torch.randn(30_000, 8)
    candidates = torch.randint(90, (40, 1, 100))
    found = score_tokens(hidden, rows, None, candidates)
    assert read == [len(candidates.unique())]
    torch.testing.assert_close(found, (hidden @ rows.T).gather(-1, candidates))


def test_nothing_is_counted_where_the_whole_product_is_cheapest(monkeypatch):
    monkeypatch.setattr("genir.models.backbone._distinct", None)
    hidden, rows = torch.randn(80, 1, 8), torch.randn(256, 8)
    candidates = torch.arange(256).expand(80, 1, 256)
    torch.testing.assert_close(score_tokens(hidden, rows, None, candidates), hidden @ rows.T)
