import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from oracle import (
    AlikeDice,
    Dice,
    RunningDice,
    beam_oracle,
    identifiers,
    random_live,
    random_table,
    seeds,
    shares,
    tables,
)

from genir.decoding import forced_runs
from genir.decoding.beam import beam_search, beam_steps
from genir.decoding.row_mask import RowMask
from genir.decoding.search_options import SearchOptions
from genir.decoding.trie import Trie
from genir.identifiers.table import IdentifierTable

normalisations = st.sampled_from(["vocabulary", "trie"])


models = st.sampled_from([Dice, RunningDice, AlikeDice])


def search(table, queries, live, beams, normalise, device="cpu", model=Dice, wanted=None):
    """Return {identifier: score} of each query, by beam search."""
    inputs = torch.tensor(queries)[:, None]
    found = beam_search(
        model(vocabulary(table), device),
        Trie.build(table, device),
        (inputs, torch.ones_like(inputs)),
        RowMask.build(live, None if len(live) == 1 else range(len(live))).to(device),
        SearchOptions(softmax=normalise, beams=beams),
        wanted,
    )
    return identifiers(table, found)


def vocabulary(table):
    return int(table.symbols.max()) + 2


def oracle(table, query, live, beams, normalise):
    return beam_oracle(table, query, live, beams, normalise, vocabulary(table))


@given(tables, shares, seeds, normalisations, st.integers(0, 20), models)
def test_enough_beams_find_every_live_identifier(table, share, seed, normalise, more, model):
    live = random_live(table, share, seed)
    (found,) = search(table, [7], live[None], len(table) + more, normalise, model=model)
    assert set(found) == {table.identifier(row) for row in np.flatnonzero(live)}
    assert found == pytest.approx(oracle(table, 7, live, len(table), normalise))


@given(tables, shares, seeds, normalisations, st.integers(1, 9), models)
def test_few_beams_find_the_same_as_plain_beam_search(table, share, seed, normalise, beams, model):
    live = random_live(table, share, seed)
    (found,) = search(table, [7], live[None], beams, normalise, model=model)
    assert found == pytest.approx(oracle(table, 7, live, beams, normalise))


@given(tables, seeds, normalisations, st.integers(1, 9), models)
def test_a_batch_answers_as_its_queries_alone(table, seed, normalise, beams, model):
    queries = [3, 1, 4]
    live = np.stack([random_live(table, share, seed) for share in (0.3, 1.0, 0.0)])
    together = search(table, queries, live, beams, normalise, model=model)
    for query, mask, found in zip(queries, live, together, strict=True):
        assert [found] == [
            pytest.approx(own)
            for own in search(table, [query], mask[None], beams, normalise, model=model)
        ]


@pytest.mark.parametrize(
    "many", [0, forced_runs.SPLIT_MIN_SYMBOLS]
)  # read in portions, or all together
@pytest.mark.parametrize("model", [RunningDice, AlikeDice])
@given(tables, shares, seeds, normalisations, st.integers(1, 9), st.integers(1, 9))
def test_the_wanted_are_the_same_when_only_they_are_wanted(
    many, model, table, share, seed, normalise, beams, wanted
):
    live = np.stack([random_live(table, share, seed + query) for query in range(3)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forced_runs, "SPLIT_MIN_SYMBOLS", many)
        asked = (table, [7, 8, 9], live, beams, normalise)
        every = search(*asked, model=model)
        some = search(*asked, model=model, wanted=wanted)
    for all_, few in zip(every, some, strict=True):
        ranked = [sorted(found.items(), key=lambda item: -item[1]) for found in (all_, few)]
        assert ranked[0][:wanted] == [(i, pytest.approx(s)) for i, s in ranked[1][:wanted]]


class Counting(RunningDice):
    """Counts the rows that read a run."""

    rows = 0

    def extend(self, state, rows, symbols, lengths, last=False):
        Counting.rows += len(rows)
        return super().extend(state, rows, symbols, lengths, last)


def test_the_better_half_of_the_beams_can_decide_early(monkeypatch, measured):
    # Of six first symbols, the even ones have a choice at once, the others after three forced ones.
    forced = {first: (6, 7, 8) if first % 2 else () for first in range(6)}
    tails = [[(first, *forced[first], last)] for first in range(6) for last in range(8)]
    table = IdentifierTable.build(tails, [str(n) for n in range(len(tails))])
    asked = (table, list(range(20)), np.ones((1, len(table)), bool), 6, "trie")
    rows = []
    for many in (10_000, 0):
        monkeypatch.setattr(forced_runs, "SPLIT_MIN_SYMBOLS", many)
        Counting.rows = 0
        few = search(*asked, model=Counting, wanted=6)
        rows.append(Counting.rows)
    for all_, own in zip(search(*asked, model=RunningDice), few, strict=True):
        assert sorted(all_, key=all_.get)[-6:] == sorted(own, key=own.get)[-6:]
    monkeypatch.setattr(
        forced_runs, "SPLIT_MIN_SYMBOLS", 100
    )  # there are 300 symbols: too few where bf16 is fast
    for share, expected in ((0.4, rows[0]), (0.7, rows[1])):
        measured({"answering": share})
        Counting.rows = 0
        with torch.autocast("cpu", torch.bfloat16):
            search(*asked, model=Counting, wanted=6)
        assert Counting.rows == expected
    assert rows[1] < rows[0]


@pytest.mark.parametrize("normalise", ["vocabulary", "trie"])
@pytest.mark.parametrize("wanted", [None, 3])
def test_a_search_ends_once_nothing_is_left_to_choose(normalise, wanted):
    tails = [[(first, *[1 + first] * 9)] for first in range(3)]  # one choice, then nine forced
    table = IdentifierTable.build(tails, ["a", "b", "c"])
    inputs = torch.tensor([[7]])
    steps = beam_steps(
        RunningDice(vocabulary(table)), Trie.build(table), (inputs, torch.ones_like(inputs)),
        RowMask.build([table.live]), SearchOptions(softmax=normalise, beams=3), wanted,
    )  # fmt: skip
    levels = list(steps)
    # Runs of the vocabulary cost something: they are read with the second level.
    assert len(levels) == (10 if wanted is None else 1 if normalise == "trie" else 2)
    expected = oracle(table, 7, table.live, 3, normalise)
    assert identifiers(table, levels[-1].finished) == [pytest.approx(expected)]


@given(tables, shares, seeds, normalisations)
def test_one_mask_serves_all_queries(table, share, seed, normalise):
    live = random_live(table, share, seed)[None]
    shared = search(table, [3, 1], live, 5, normalise)
    assert shared == search(table, [3, 1], live.repeat(2, axis=0), 5, normalise)


@given(tables, normalisations)
def test_nothing_alive_gives_nothing(table, normalise):
    assert search(table, [1, 2], np.zeros((1, len(table)), bool), 5, normalise) == [{}, {}]


@given(tables, shares, seeds)
def test_legal_probabilities_of_live_identifiers_add_up_to_one(table, share, seed):
    live = random_live(table, share, seed)
    (found,) = search(table, [7], live[None], len(table), "trie")
    if live.any():
        assert sum(np.exp(list(found.values()))) == pytest.approx(1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
@pytest.mark.parametrize("normalise", ["vocabulary", "trie"])
def test_a_gpu_finds_the_same(normalise):
    table = random_table(documents=200, symbols=60, depth=3, several=2, seed=0)
    live = random_live(table, 0.5, 0)[None]
    here = search(table, [1, 2], live, 20, normalise)
    there = search(table, [1, 2], live, 20, normalise, "cuda")
    assert here == [pytest.approx(found) for found in there]
