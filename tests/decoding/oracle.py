"""Random tables, models without a network, and the decoding contract in plain Python.

The oracles look at the identifiers one by one; they share nothing with the trie.
"""

from contextlib import nullcontext
from functools import cache
from math import exp, log
from types import SimpleNamespace

import numpy as np
import torch
from hypothesis import strategies as st

from genir.config import StageConfig
from genir.decoding.row_mask import RowMask
from genir.decoding.search_options import SearchOptions
from genir.decoding.trie import Trie
from genir.identifiers.table import IdentifierTable

END = 0


def random_table(documents, symbols, depth, several, seed):
    """Up to `max_identifiers` identifiers a document, of `depth` symbols from 1 on, ended by END.

    Few symbols give shared prefixes and shared identifiers, many give wide nodes.
    """
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, depth, (documents, several), endpoint=True)
    owned = [
        {(*rng.integers(1, symbols, length, endpoint=True).tolist(), END) for length in own}
        for own in lengths
    ]
    keys = [f"key-{number}" for number in rng.permutation(documents)]
    return IdentifierTable.build([sorted(own) for own in owned], keys)


tables = st.builds(
    random_table,
    documents=st.one_of(st.integers(1, 12), st.integers(30, 100)),
    symbols=st.sampled_from([1, 2, 3, 60]),
    depth=st.integers(0, 4),
    several=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)


def random_live(table, share, seed):
    return np.random.default_rng(seed).random(len(table)) < share


shares = st.sampled_from([1.0, 0.5, 0.1, 0.0])
seeds = st.integers(0, 2**32 - 1)

# --- models ------------------------------------------------------------------------------------


@cache
def draw(path, vocabulary):
    return np.random.default_rng(path).normal(scale=2.0, size=vocabulary)


class Dice:
    """A DocidModel's decoding half: each prefix of each query has logits drawn by it as the seed.

    Its hidden states are the logits, on the device, in float64.
    """

    supports_multi_token = False

    def __init__(self, vocabulary, device="cpu"):
        self.vocabulary = vocabulary
        self.device = device

    def encode(self, input_ids, attention_mask):
        return [[(query,)] for query in input_ids[:, 0].tolist()]

    def step(self, state, parents, symbols):
        if parents is not None:
            state = [
                [(*beams[p], s) for p, s in zip(ps, ss, strict=True)]
                for beams, ps, ss in zip(state, parents.tolist(), symbols.tolist(), strict=True)
            ]
        return state, self._throw(state)

    def draw(self, query, prefix):
        return draw((query, *prefix), self.vocabulary)

    def _throw(self, paths):
        drawn = [[self.draw(query, prefix) for query, *prefix in row] for row in paths]
        return torch.from_numpy(np.array(drawn)).to(self.device)

    def logits(self, hidden, depth, candidates):
        return hidden.gather(2, candidates)

    def level_logits(self, hidden, depth):
        return hidden

    def scores(self, hidden, depth, candidates):
        return self.logits(hidden, depth, candidates), self.log_normaliser(hidden, depth)

    def log_normaliser(self, hidden, depth):
        return hidden.logsumexp(dim=-1)


class RunningDice(Dice):
    """The same dice, thrown for a whole run of symbols at once; its state is a list of paths."""

    supports_multi_token = True
    shares_vocabulary = False

    def encode(self, input_ids, attention_mask):
        return [(query,) for query in input_ids[:, 0].tolist()]

    def step(self, state, parents, symbols):
        assert parents is None and symbols is None
        return state, self._throw([[path] for path in state])

    def select_rows(self, state, slots):
        return [state[slot] for slot in slots.tolist()]

    def extend(self, state, rows, symbols, lengths, last=False):
        after, visited = list(state), []
        given = (rows.tolist(), symbols.tolist(), lengths.tolist())
        for row, taken, length in zip(*given, strict=True):
            assert length > 0 and min(taken[:length]) >= 0
            paths = [(*state[row], *taken[: n + 1]) for n in range(len(taken))]
            after[row] = paths[length - 1]
            visited.append(paths[:length] + [(0,)] * (len(taken) - length))
        if last:
            visited = [[path[length - 1]] for path, length in zip(visited, given[2], strict=True)]
        return after, self._throw(visited)


class AlikeDice(RunningDice):
    """The same dice, whose symbols mean the same at every depth."""

    shares_vocabulary = True


class PriorDice(Dice):
    """Dice of few values, which often tie, with a document prior; any prefix can be scored.

    With `free` the logits of a level are the same after every prefix, as an encoder-head model's.
    """

    def __init__(self, table, free):
        super().__init__(int(table.symbols.max()) + 2)
        self.rows, self.depth, self.free = len(table), table.depth, free

    def draw(self, query, prefix):
        path = (query, len(prefix)) if self.free else (query, *prefix)
        return draw(path, self.vocabulary).round(1)

    def _throw(self, paths):
        return super()._throw(paths).float()

    def states_for_prefixes(self, state, queries, symbols, first=0):
        asked = [state[query][0][0] for query in queries.tolist()]
        rows = symbols.tolist()
        return [
            self._throw([[(query, *row[:n]) for query, row in zip(asked, rows, strict=True)]])[0]
            for n in range(first, symbols.shape[1] + 1)
        ]

    def prefix_free_log_probs(self, state):
        if not self.free:
            return None
        depths = [[[(query, *[0] * n) for ((query,),) in state]] for n in range(self.depth)]
        return [self._throw(paths)[0].log_softmax(dim=-1) for paths in depths]

    def prior(self, state):
        return torch.from_numpy(np.array([prior_of(query, self.rows) for ((query,),) in state]))


def prior_of(query, rows):
    return draw((query, 99), rows).round(1).astype(np.float32)


# --- oracles -----------------------------------------------------------------------------------


def beam_oracle(table, query, live, beams, normalise, vocabulary, logits_of=None):
    """Return {identifier: score} of the best finished identifiers, from live rows alone."""
    return prefix_oracle(table, query, live, beams, normalise, vocabulary, logits_of)[1]


def prefix_oracle(table, query, live, beams, normalise, vocabulary, logits_of=None):
    """Return {prefix: score} of all prefixes in the beams, and of the complete identifiers.

    logits_of: (query, prefix) -> logits; by default `Dice`.
    """
    logits_of = logits_of or Dice(vocabulary).draw
    identifiers = {table.identifier(row) for row in np.flatnonzero(live)}
    follow = {}
    for identifier in identifiers:
        for depth, symbol in enumerate(identifier):
            follow.setdefault(identifier[:depth], set()).add(symbol)
    going, done, held = {(): 0.0}, {}, {}
    while going and identifiers:
        longer = {}
        for prefix, score in going.items():
            logits, legal = logits_of(query, prefix), follow[prefix]
            every = range(vocabulary) if normalise == "vocabulary" else legal
            total = log(sum(exp(logits[symbol]) for symbol in every))
            for symbol in legal:
                longer[*prefix, symbol] = score + float(logits[symbol]) - total
        done = best({**done, **{i: s for i, s in longer.items() if i in identifiers}}, beams)
        going = best({i: s for i, s in longer.items() if i not in identifiers}, beams)
        held |= going
    return held, done


def best(scores, beams):
    return dict(sorted(scores.items(), key=lambda item: -item[1])[:beams])


def exhaustive_oracle(model, table, query, live, softmax="vocabulary", lookahead_weight=0.0):
    """Return {identifier: score} of all live identifiers of a `PriorDice`, best first."""
    scores = beam_oracle(table, query, live, len(table), softmax, model.vocabulary, model.draw)
    prior = prior_of(query, len(table))
    for identifier in scores if lookahead_weight else ():
        rows = [row for row in np.flatnonzero(live) if table.identifier(row) == identifier]
        scores[identifier] += lookahead_weight * max(prior[rows])
    return best(scores, len(scores))


def document_oracle(table, scores, live, aggregate):
    """Return (key, score) of the documents that live rows lead to, best first."""
    found = {}
    for row in np.flatnonzero(live):
        if table.identifier(row) in scores:
            found.setdefault(table.key_of(row), []).append(scores[table.identifier(row)])
    joins = {"max": max, "logsumexp": lambda values: log(sum(map(exp, values))), "views": sum}
    join = joins[aggregate]
    joined = [(key, join(values)) for key, values in found.items()]
    return sorted(joined, key=lambda pair: (-pair[1], pair[0]))


def weight_oracle(log_p, count, total, smoothing):
    """Return how much likelier a text is than by chance, as odds: SEAL's w(n, q)."""
    asked, chance = min(exp(log_p), 0.999), min((count + smoothing) / (total + smoothing), 0.999)
    return max(0.0, log(asked * (1 - chance) / (chance * (1 - asked))))


def ngram_oracle(table, prefixes, live):
    """Return (key, score, rows of its best n-gram) of each document, by prefixes and their log p.

    Documents one by one, and of each the n-grams one by one, the best first.
    """
    rows = [(table.identifier(row), table.documents[row]) for row in range(len(table))]
    weights = {}
    for prefix, log_p in prefixes.items():
        under = [row for row, (i, _) in enumerate(rows) if i[: len(prefix)] == prefix]
        count = sum(bool(table.live[row]) for row in under)
        weights[prefix] = weight_oracle(log_p, count, int(table.live.sum()), 5)
    order = sorted(weights, key=lambda p: (-round(weights[p], 4), -len(p), p))
    found = {}
    for number, key in enumerate(table.keys):
        own = [row for row, (_, d) in enumerate(rows) if d == number and live[row]]
        score, seen, best = 0.0, set(), None
        for prefix in order:
            holds = [row for row in own if rows[row][0][: len(prefix)] == prefix]
            if not holds:
                continue
            own = [row for row in own if row not in holds]
            repeated = len(set(prefix) & seen) / len(set(prefix))
            score += weights[prefix] ** 2 * (1 - 0.8 * repeated)
            seen |= set(prefix)
            best = best or holds
        if best:
            found[key] = (score, best)
    return found


# --- searches ----------------------------------------------------------------------------------


def ask(search, model, table, queries, live, *limits, **decoding):
    """Run a search of `genir.decoding` for numbered queries under live masks, bool [Q, rows]."""
    inputs = torch.tensor(queries)[:, None]
    rows = RowMask.build(live, None if len(live) == 1 else range(len(live)))
    pair = (inputs, torch.ones_like(inputs))
    return search(model, Trie.build(table), pair, rows, *limits, SearchOptions(**decoding))


def search_with(strategy, model, table, queries, live, beams, softmax="vocabulary", **options):
    """Run a search strategy with a model of dice for numbered queries, under masks [Q, rows]."""
    inputs = torch.tensor(queries)[:, None]
    stage = SimpleNamespace(
        model=model,
        table=table,
        trie=Trie.build(table),
        encode=lambda asked: (inputs, torch.ones_like(inputs)),
        autocast=nullcontext,
        has_unique_identifiers=len(table) == len(table.keys),
    )
    decoding = {"strategy": strategy.name, "softmax": softmax} | options
    config = StageConfig.model_validate({"tasks": [{"task": "lead"}], "decoding": decoding})
    rows = RowMask.build(live, None if len(live) == 1 else range(len(live)))
    return strategy(config).search(stage, queries, rows, beams, len(table))


def identifiers(table, beams):
    """Return each query's {identifier: score}, after checking the order and the row ranges."""
    answers = []
    for lows, highs, scores in zip(*(t.tolist() for t in vars(beams).values()), strict=True):
        assert scores == sorted(scores, reverse=True)
        found = {}
        for low, high, score in zip(lows, highs, scores, strict=True):
            if score == -np.inf:
                assert low == high
                continue
            (identifier,) = {table.identifier(row) for row in range(low, high)}
            assert identifier not in found
            assert (table.symbols == table.symbols[low]).all(axis=1).sum() == high - low
            found[identifier] = score
        answers.append(found)
    return answers
