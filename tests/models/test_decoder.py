"""The fast path: runs of any length, rows of any query, against transformers' own passes."""

import copy
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import FAST, VOCABULARY, make, whole

from genir.errors import InputError
from genir.models.backbone import Seq2SeqBackbone

SOURCES = torch.tensor([[5, 9, 33, 7, 8], [12, 6, 21, 0, 0], [30, 5, 17, 11, 0]])
SOURCES = (SOURCES, (SOURCES > 0).long())


@cache
def pair(name):
    """The untouched net, and the opened one."""
    net = make(name)
    return net, Seq2SeqBackbone(copy.deepcopy(net))


class Rows:
    """A state, and the input of each of its rows, [(query, tokens)]."""

    def __init__(self, name):
        self.net, self.backbone = pair(name)
        encoded = self.backbone.encode(*SOURCES)
        steps = self.steps = self.backbone.steps
        start = self.backbone.embed(torch.full((3, 1), self.backbone.start))
        self.state, _ = steps.step(steps.encode(encoded.states, encoded.mask), None, start)
        self.read_so_far = [(query, []) for query in range(3)]

    def follow(self, slots):
        self.state = self.steps.select_rows(self.state, torch.tensor(slots))
        self.read_so_far = [self.read_so_far[slot] for slot in slots]

    def read(self, rows, runs):
        """Read a run after each of some rows; compare every place with transformers."""
        lengths = torch.tensor([len(run) for run in runs])
        padded = torch.full((len(rows), int(lengths.max()) + 1), 3)  # more room than is needed
        for place, (row, run) in enumerate(zip(rows, runs, strict=True)):
            padded[place, : len(run)] = torch.tensor(run)
            query, before = self.read_so_far[row]
            self.read_so_far[row] = (query, before + run)
        embeds = self.backbone.embed(padded)
        before, slots = self.state, torch.tensor(rows)
        self.state, hidden = self.steps.extend(before, slots, embeds, lengths)
        found = self.backbone.logits(hidden)
        if len(rows) % 2:  # half of the time go on from there
            self.state, ends = self.steps.extend(before, slots, embeds, lengths, last=True)
            last = hidden[torch.arange(len(rows)), lengths - 1]
            torch.testing.assert_close(ends[:, 0], last, atol=1e-5, rtol=1e-5)
        for place, (row, run) in enumerate(zip(rows, runs, strict=True)):
            assert_equal(found[place, : len(run)], self.expected(row)[-len(run) :])

    def step(self, parents, tokens):
        """Advance beams, [3, K] each, by one symbol; compare."""
        beams = len(parents[0])
        former = len(self.read_so_far) // 3
        chosen = [query * former + p for query in range(3) for p in parents[query]]
        embeds = self.backbone.embed(torch.tensor(tokens))
        self.state, hidden = self.steps.step(self.state, torch.tensor(parents), embeds)
        flat = [token for row in tokens for token in row]
        self.read_so_far = [
            (self.read_so_far[slot][0], [*self.read_so_far[slot][1], token])
            for slot, token in zip(chosen, flat, strict=True)
        ]
        found = self.backbone.logits(hidden).view(3 * beams, -1)
        for row in range(3 * beams):
            assert_equal(found[row], self.expected(row)[-1])

    def expected(self, row):
        query, tokens = self.read_so_far[row]
        sources = tuple(values[query : query + 1] for values in SOURCES)
        return whole(self.net, sources, torch.tensor([tokens], dtype=torch.long).view(1, -1))[0]


def assert_equal(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


TOKENS = st.integers(5, VOCABULARY - 1)
RUNS = st.lists(TOKENS, min_size=1, max_size=5)


@pytest.mark.parametrize("name", FAST)
@settings(max_examples=6)
@given(data=st.data())
@torch.inference_mode()
def test_runs_of_any_length_after_rows_of_any_query(name, data):
    rows = Rows(name)
    for _ in range(3):
        slots = st.integers(0, len(rows.read_so_far) - 1)
        rows.follow(data.draw(st.lists(slots, min_size=1, max_size=5)))
        every = range(len(rows.read_so_far))
        some = data.draw(st.lists(st.sampled_from(every), min_size=1, unique=True))
        rows.read(some, [data.draw(RUNS) for _ in some])


@pytest.mark.parametrize("name", FAST)
@settings(max_examples=3)
@given(data=st.data())
@torch.inference_mode()
def test_steps_go_on_from_ragged_rows(name, data):
    rows = Rows(name)
    grid = st.lists(st.lists(TOKENS, min_size=2, max_size=2), min_size=3, max_size=3)
    rows.step([[0, 0]] * 3, data.draw(grid))
    rows.follow([1, 0, 2, 3, 5, 4])
    some = data.draw(st.lists(st.sampled_from(range(6)), min_size=1, unique=True))
    rows.read(some, [data.draw(RUNS) for _ in some])
    rows.step([[1, 0], [1, 1], [0, 1]], data.draw(grid))


@pytest.mark.parametrize("name", FAST)
@torch.inference_mode()
def test_rows_that_are_all_short_again_see_nothing_of_longer_ones(name):
    rows = Rows(name)
    rows.read([1], [[6, 7, 8, 9, 10]])
    rows.follow([0, 2, 0])
    rows.read([0, 1, 2], [[11], [12], [13]])
    rows.follow([0, 2, 1])
    assert rows.state.length == 2
    rows.read([2, 0, 1], [[14], [15], [16]])


@torch.inference_mode()
def test_a_grid_of_short_rows_steps_on():
    rows = Rows("BART")
    rows.follow([0, 0, 1, 1, 2, 2])
    rows.read([0, 2, 4], [[6, 7, 8, 9], [10, 11], [12]])
    rows.follow([1, 3, 5])
    rows.read([0, 1, 2], [[11], [12], [13]])
    rows.step([[0, 0]] * 3, [[5, 6], [7, 8], [9, 10]])


@torch.inference_mode()
def test_the_source_is_kept_once_per_query():
    rows = Rows("T5 v1.1")
    rows.step([[0] * 20] * 3, [list(range(10, 30))] * 3)
    assert {len(layer) for layer in rows.state.cross_attention.layers} == {3}


@torch.inference_mode()
def test_unreferenced_slots_are_dropped():
    rows = Rows("mT5")
    for place in range(12):
        rows.follow([0] * 8)
        rows.steps.extend(
            rows.state,
            torch.arange(8),
            rows.backbone.embed(torch.full((8, 1), 5 + place)),
            torch.ones(8, dtype=torch.long),
        )
    assert rows.state.pool.used <= 40
    rows.read([3], [[7, 8]])


@torch.inference_mode()
def test_positions_beyond_the_model_s_are_refused():
    rows = Rows("BART")
    rows.read([0], [[5] * 31])
    with pytest.raises(InputError, match="an identifier of 33 symbols exceeds the 32"):
        rows.read([0], [[5]])


@pytest.mark.parametrize("name", FAST)
@torch.inference_mode()
def test_bf16_is_close(name):
    _, transformer = pair(name)
    tokens = torch.randint(5, VOCABULARY, (3, 2, 6), generator=torch.manual_seed(0))
    exact = logits_of(transformer, tokens)
    with torch.autocast("cpu", torch.bfloat16):
        found = logits_of(transformer, tokens)
        assert transformer.steps._decoder.layers[0].self_attention.dtype == torch.bfloat16
    assert found.dtype == torch.float32
    # By less than 2% of the differences between tokens on average: bf16 has two to three digits.
    assert (found - exact).abs().mean() < 0.02 * exact.std()
    assert not torch.equal(found, exact)
    assert torch.equal(logits_of(transformer, tokens), exact)


def logits_of(transformer, tokens):
    """Logits [3, 2, V] at the end of targets, [3, 2, T]."""
    encoded = transformer.encode(*SOURCES)
    state = transformer.steps.encode(encoded.states, encoded.mask)
    start = torch.full((3, 1), transformer.start)
    state, _ = transformer.steps.step(state, None, transformer.embed(start))
    parents = torch.zeros(tokens.shape[:2], dtype=torch.long)
    for place in range(tokens.shape[2]):
        embeds = transformer.embed(tokens[:, :, place])
        state, hidden = transformer.steps.step(state, parents, embeds)
        parents = torch.arange(tokens.shape[1]).expand(3, -1)
    return transformer.logits(hidden)


@pytest.mark.parametrize("name", ["T5 v1.1", "mBART", "BERT2BERT"])
def test_weights_that_changed_are_taken_over(name):
    net = make(name)
    transformer = Seq2SeqBackbone(copy.deepcopy(net))
    tokens = torch.full((3, 1, 1), 9)
    before = logits_of(transformer, tokens)
    state = transformer.state_dict()
    with torch.no_grad():
        for both in (net, transformer.net):
            for key, parameter in both.get_decoder().named_parameters():
                parameter.mul_(1.5 if "layer" in key or "block" in key else 1)
    assert state.keys() == transformer.state_dict().keys()
    found = logits_of(transformer, tokens)
    assert not torch.allclose(found, before, rtol=0.1)
    assert_equal(found[:, 0], whole(net, SOURCES, tokens[:, 0])[:, -1])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="asks for a GPU")
@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("name", FAST)
@torch.inference_mode()
def test_steps_do_not_wait_for_the_gpu(name, bf16):
    _, transformer = pair(name)
    tokens = torch.randint(5, VOCABULARY, (3, 2, 4), generator=torch.manual_seed(0))
    exact = logits_of(transformer, tokens)
    moved = copy.deepcopy(transformer).to("cuda")
    encoded = moved.encode(*(values.cuda() for values in SOURCES))
    embeds = [moved.embed(column) for column in tokens.cuda().unbind(2)]
    parents = [torch.zeros(3, 2, dtype=torch.long), *[torch.tensor([[0, 1]] * 3)] * 3]
    parents = [each.cuda() for each in parents]
    first = moved.embed(torch.full((3, 1), moved.start, device="cuda"))
    with torch.autocast("cuda", torch.bfloat16, enabled=bf16):
        state = moved.steps.encode(encoded.states, encoded.mask)
        torch.cuda.set_sync_debug_mode("error")
        try:
            state, _ = moved.steps.step(state, None, first)
            for row, read in zip(parents, embeds, strict=True):
                state, hidden = moved.steps.step(state, row, read)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    difference = (moved.logits(hidden).cpu() - exact).abs().mean()
    assert difference < (0.03 if bf16 else 1e-4) * exact.std()
