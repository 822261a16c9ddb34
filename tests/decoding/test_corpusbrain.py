"""Answers of several identifiers, against every sequence there is and against a plain beam search.

The oracles write sequences one by one, as the contract of the module has them; they share nothing
with the trie.
"""

from math import exp, inf, log

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import END, Dice, draw, random_live, random_table, seeds, shares
from tiny import tiny_retriever

from genir.decoding.row_mask import RowMask
from genir.decoding.search_options import SearchOptions
from genir.decoding.strategies.corpusbrain import search_sequences
from genir.decoding.trie import Trie
from genir.errors import InputError
from genir.identifiers.table import IdentifierTable
from genir.models.engine.hf_decoder import HFDecoder

normalisations = st.sampled_from(["vocabulary", "trie"])
tables = st.builds(
    random_table,
    documents=st.integers(1, 5),
    symbols=st.sampled_from([1, 2, 50]),
    depth=st.integers(0, 3),
    several=st.integers(1, 2),
    seed=st.integers(0, 2**32 - 1),
)
ALL = 10_000
"""More beams than there are sequences."""


class Parted(Dice):
    """Dice whose last symbol is in no identifier."""

    kind = "dice"

    def __init__(self, table):
        super().__init__(separator_of(table) + 1)
        self.separator = separator_of(table)


def separator_of(table):
    return int(table.symbols.max()) + 1


def search(table, queries, live, beams, several, normalise, model=None, wanted=None):
    """Return {identifier: score} of each query."""
    inputs = torch.tensor(queries)[:, None]
    found = search_sequences(
        model or Parted(table),
        Trie.build(table),
        (inputs, torch.ones_like(inputs)),
        RowMask.build(live, None if len(live) == 1 else range(len(live))),
        SearchOptions(softmax=normalise, beams=beams, max_identifiers=several),
        wanted,
    )
    assert (found.score[:, 1:] <= found.score[:, :-1]).all()
    answers = []
    for lows, highs, scores in zip(*(t.tolist() for t in vars(found).values()), strict=True):
        alive = [beam for beam in zip(lows, highs, scores, strict=True) if beam[2] > -inf]
        rows = {table.identifier(low): range(low, high) for low, high, _ in alive}
        assert len(rows) == len(alive)  # none twice
        for identifier, own in rows.items():
            assert [n for n in range(len(table)) if table.identifier(n) == identifier] == [*own]
        answers.append({table.identifier(low): score for low, _, score in alive})
    return answers


class Written:
    """log p of the symbols that may follow a sequence, for one query."""

    def __init__(self, table, query, live, normalise):
        self.identifiers = {table.identifier(row) for row in np.flatnonzero(live)}
        self.query, self.normalise, self.separator = query, normalise, separator_of(table)

    def following(self, before, prefix):
        """Return {symbol: log p} after whole identifiers and a part of another."""
        depth = len(prefix)
        symbols = {i[depth] for i in self.identifiers if i[:depth] == prefix}
        if END in symbols:
            symbols.add(self.separator)
        logits = draw((self.query, *before, *prefix), self.separator + 1)
        every = range(len(logits)) if self.normalise == "vocabulary" else symbols
        total = log(sum(exp(logits[symbol]) for symbol in every))
        return {symbol: float(logits[symbol]) - total for symbol in symbols}


def add(*logs):
    return log(sum(map(exp, logs)))


def every_sequence(written, several, before=(), score=0.0):
    """Yield (identifier, score) of all sequences of up to `max_identifiers` that end in it."""
    for identifier in written.identifiers if several else ():
        own = score
        for depth, symbol in enumerate(identifier[:-1]):
            own += written.following(before, identifier[:depth])[symbol]
        last = written.following(before, identifier[:-1])
        yield identifier, own + add(last[END], last[written.separator])
        longer = (*before, *identifier[:-1], written.separator)
        yield from every_sequence(written, several - 1, longer, own + last[written.separator])


def brute_force(*asked, several):
    scores = {}
    for identifier, score in every_sequence(Written(*asked), several):
        scores[identifier] = max(score, scores.get(identifier, -inf))
    return scores


def plain_beams(*asked, several, beams):
    """Extend the best `beams` sequences of one identifier, and of several, step by step."""
    written = Written(*asked)
    going, done = {(0, (), ()): 0.0}, {}
    while going and written.identifiers:
        longer = {}
        for (count, before, prefix), score in going.items():
            for symbol, log_p in written.following(before, prefix).items():
                if symbol == written.separator and count + 1 < several:
                    longer[count + 1, (*before, *prefix, symbol), ()] = score + log_p
                elif symbol not in (END, written.separator):
                    longer[count, before, (*prefix, symbol)] = score + log_p
                elif symbol == END:
                    last = written.following(before, prefix)
                    whole = score + add(last[END], last[written.separator])
                    done[*prefix, END] = max(whole, done.get((*prefix, END), -inf))
        first = best({s: p for s, p in longer.items() if s[0] == 0}, beams)
        going = first | best({s: p for s, p in longer.items() if s[0] > 0}, beams)
        done = best(done, beams)
    return done


def best(scores, count):
    return dict(sorted(scores.items(), key=lambda item: -item[1])[:count])


def near(scores):
    return pytest.approx(scores, rel=1e-4, abs=1e-4)


@settings(max_examples=60)
@given(tables, shares, seeds, normalisations, st.integers(2, 3))
def test_enough_beams_weigh_every_sequence(table, share, seed, normalise, several):
    live = random_live(table, share, seed)
    (found,) = search(table, [7], live[None], ALL, several, normalise)
    assert found == near(brute_force(table, 7, live, normalise, several=several))
    assert set(found) == {table.identifier(row) for row in np.flatnonzero(live)}


@settings(max_examples=60)
@given(tables, shares, seeds, normalisations, st.integers(2, 4), st.integers(1, 9))
def test_few_beams_find_the_same_as_a_plain_search(table, share, seed, normalise, several, beams):
    live = random_live(table, share, seed)
    (found,) = search(table, [7], live[None], beams, several, normalise)
    assert found == near(plain_beams(table, 7, live, normalise, several=several, beams=beams))


@settings(max_examples=40)
@given(tables, shares, seeds, normalisations, st.integers(2, 5))
def test_as_many_beams_as_rows_find_all_that_may_be_found(table, share, seed, normalise, several):
    live = random_live(table, share, seed)
    (found,) = search(table, [7], live[None], len(table), several, normalise)
    assert set(found) == {table.identifier(row) for row in np.flatnonzero(live)}


@settings(max_examples=40)
@given(tables, seeds, normalisations, st.integers(1, 9))
def test_a_batch_answers_as_its_queries_alone(table, seed, normalise, beams):
    live = np.stack([random_live(table, share, seed) for share in (0.4, 1.0, 0.0)])
    together = search(table, [3, 1, 4], live, beams, 3, normalise)
    for query, mask, found in zip([3, 1, 4], live, together, strict=True):
        assert search(table, [query], mask[None], beams, 3, normalise) == [near(found)]


@settings(max_examples=40)
@given(tables, shares, seeds, normalisations, st.integers(1, 9), st.integers(1, 4))
def test_the_wanted_are_the_same_when_only_they_are_wanted(
    table, share, seed, normalise, beams, wanted
):
    live = random_live(table, share, seed)[None]
    (every,) = search(table, [7], live, beams, 3, normalise)
    (some,) = search(table, [7], live, beams, 3, normalise, wanted=wanted)
    assert best(some, wanted) == near(best(every, wanted))


class Fair(Parted):
    """Every symbol is as likely as any other."""

    def step(self, state, parents, symbols):
        state, hidden = super().step(state, parents, symbols)
        return state, torch.zeros_like(hidden)


A, B, AB = (1, END), (2, END), (1, 2, END)


def test_worked_by_hand():
    """Five symbols: END, 1, 2, 3 and the separator."""
    table = IdentifierTable.build([[A], [AB], [(3, END)]], ["a", "ab", "c"])
    live = np.array([table.identifier(row) != (3, END) for row in range(3)])[None]
    (found,) = search(table, [7], live, 9, 2, "vocabulary", Fair(table))
    # 1 and an end, END or the separator; for AB one symbol more. Never better as the second.
    assert found == near({A: log(1 / 5 * 2 / 5), AB: log(1 / 5 * 1 / 5 * 2 / 5)})
    (found,) = search(table, [7], live, 9, 2, "trie", Fair(table))
    # 1 is certain, then END, 2 and the separator share; after 2 an end is certain.
    assert found == near({A: log(2 / 3), AB: log(1 / 3)})


class Chained(Parted):
    """Writes A, and B hardly but after A."""

    def step(self, state, parents, symbols):
        state, hidden = super().step(state, parents, symbols)
        for query, beams in enumerate(state):
            for beam, path in enumerate(beams):
                hidden[query, beam] = torch.tensor(self.likely(path[1:])).log()
        return state, hidden

    def likely(self, path):
        """Return p of END, 1, 2, 3 and the separator."""
        if not path:
            return [0.01, 0.80, 0.04, 0.10, 0.05]
        if path[-1] == self.separator:
            return [0.05, 0.05, 0.80, 0.05, 0.05]
        return [0.30, 0.03, 0.04, 0.03, 0.60]


def test_a_second_identifier_counts_by_the_best_sequence():
    table = IdentifierTable.build([[A], [B], [(3, END)]], ["a", "b", "c"])
    (found,) = search(table, [7], table.live[None], 3, 2, "vocabulary", Chained(table))
    # A, then B: .8 x .6 x .8 x .9; B alone: .04 x .9. C alone: .1 x .9, after A less.
    assert found == near(
        {A: log(0.8 * 0.9), B: log(0.8 * 0.6 * 0.8 * 0.9), (3, END): log(0.1 * 0.9)}
    )


def test_a_model_without_a_separator_is_refused():
    table = IdentifierTable.build([[A], [B]], ["a", "b"])
    model = Parted(table)
    model.separator = None
    with pytest.raises(
        InputError,
        match=r"\[decoding\] max_identifiers = 2: a 'dice' model .*set max_identifiers = 1",
    ):
        search(table, [7], table.live[None], 3, 2, "trie", model)


@pytest.fixture(scope="module")
def retriever(tiny_encoder, tiny_corpus, tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "documents.sqlite"
    return tiny_retriever(
        tiny_encoder, tiny_corpus, path, "url", strategy="corpusbrain", max_identifiers=2
    )


def forced(model, state, symbols):
    """Return log p of every symbol at each place of a sequence: [T, V], in one pass."""
    hidden = model.states_for_prefixes(
        state, torch.zeros(1, dtype=torch.long), torch.tensor([symbols])
    )
    return [model.level_logits(h, 0)[0].double().log_softmax(dim=-1) for h in hidden]


@pytest.mark.parametrize("path", ["fast", "general"])
@torch.inference_mode()
def test_a_network_is_asked_as_in_one_pass(retriever, path, monkeypatch):
    model, table = retriever.model, retriever.table
    if path == "general":
        steps = HFDecoder(model.backbone.net)
        monkeypatch.setattr(model.backbone, "steps", steps)
    live = np.arange(len(table)) % 8 == 3  # five of them
    inputs = retriever.decoder.stage.encode(["clone a text"])
    decoding = SearchOptions(beams=200, max_identifiers=2)
    found = search_sequences(
        model, retriever.decoder.stage.trie, inputs, RowMask.build([live]), decoding
    )
    own = [table.identifier(row) for row in np.flatnonzero(live)]
    expected = {}
    for first in [(), *own]:
        for last in own:
            before = [*first[:-1], model.separator] if first else []
            log_p = forced(model, model.encode(*inputs), [*before, *last[:-1]])
            score = sum(float(log_p[n][s]) for n, s in enumerate([*before, *last[:-1]]))
            score += float(log_p[-1][[last[-1], model.separator]].logsumexp(dim=0))
            expected[last] = max(score, expected.get(last, -inf))
    rows = zip(found.low[0].tolist(), found.score[0].tolist(), strict=True)
    assert {table.identifier(low): score for low, score in rows} == near(expected)


def test_filters_hold_in_every_query_of_a_batch(retriever):
    asked, wheres = ["clone a text", "erase", "watch"], [{"section": 2}, None, {"verb": "copy"}]
    together = retriever.search(asked, 6, wheres)
    for query, where, hits in zip(asked, wheres, together, strict=True):
        (alone,) = retriever.search([query], 6, where)
        assert [hit.key for hit in hits] == [hit.key for hit in alone]
        matching = {document.key for document in retriever.documents} if where is None else {
            retriever.table.keys[n] for n in np.flatnonzero(retriever.documents.matching(where))
        }  # fmt: skip
        assert len(hits) == min(6, len(matching)) and {hit.key for hit in hits} <= matching
