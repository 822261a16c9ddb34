"""A model without a network, of which every prefix can be asked, and its scores by brute force.

With `free` the logits of a level are the same after every prefix, as an encoder-head model's are.
"""

from functools import cache
from math import exp, log

import numpy as np
import torch

from genir.config import DecodingSection
from genir.decoding.row_mask import RowMask
from genir.decoding.trie import Trie


@cache
def draw(seed, size):
    """Few different values, so that scores often tie."""
    return np.random.default_rng(seed).normal(scale=2.0, size=size).round(1)


class Toy:
    """The decoding half of a DocidModel; its hidden states are the logits."""

    supports_multi_token = False

    def __init__(self, table, free):
        self.size, self.rows, self.depth = int(table.symbols.max()) + 2, len(table), table.depth
        self.free = free

    def draw(self, query, prefix):
        return draw((query, len(prefix)) if self.free else (query, *prefix), self.size)

    def draws(self, paths):
        drawn = np.array([self.draw(*path) for path in paths], dtype=np.float32)
        return torch.from_numpy(drawn.reshape(len(paths), self.size))

    def encode(self, input_ids, attention_mask):
        return [[(query, ())] for query in input_ids[:, 0].tolist()]

    def step(self, state, parents, symbols):
        if parents is not None:
            state = [
                [(beams[p][0], (*beams[p][1], s)) for p, s in zip(ps, ss, strict=True)]
                for beams, ps, ss in zip(state, parents.tolist(), symbols.tolist(), strict=True)
            ]
        return state, torch.stack([self.draws(beams) for beams in state])

    def states_for_prefixes(self, state, queries, symbols, first=0):
        asked = [state[query][0][0] for query in queries.tolist()]
        rows = symbols.tolist()
        return [
            self.draws([(query, tuple(row[:n])) for query, row in zip(asked, rows, strict=True)])
            for n in range(first, symbols.shape[1] + 1)
        ]

    def prefix_free_log_probs(self, state):
        if not self.free:
            return None
        depths = [[(query, (0,) * n) for ((query, _),) in state] for n in range(self.depth)]
        return [self.draws(paths).log_softmax(dim=-1) for paths in depths]

    def prior(self, state):
        drawn = np.array([draw((query, 99), self.rows) for ((query, _),) in state])
        return torch.from_numpy(drawn.astype(np.float32))

    def logits(self, hidden, depth, candidates):
        return hidden.gather(2, candidates)

    def scores(self, hidden, depth, candidates):
        return self.logits(hidden, depth, candidates), self.log_normaliser(hidden, depth)

    def log_normaliser(self, hidden, depth):
        return hidden.logsumexp(dim=-1)


def brute_force(model, table, query, live, softmax="vocabulary", lookahead_weight=0.0):
    """Return {identifier: score} of all live identifiers, best first, one by one."""
    owned, follow = {}, {}
    for row in np.flatnonzero(live):
        identifier = table.identifier(row)
        owned.setdefault(identifier, []).append(row)
        for depth, symbol in enumerate(identifier):
            follow.setdefault(identifier[:depth], set()).add(symbol)
    steps = {}
    for prefix, symbols in follow.items():
        logits = model.draw(query, prefix)
        every = range(model.size) if softmax == "vocabulary" else symbols
        total = log(sum(exp(logits[symbol]) for symbol in every))
        steps |= {(*prefix, symbol): logits[symbol] - total for symbol in symbols}
    priors = draw((query, 99), len(table))
    scores = {
        identifier: lookahead_weight * max(priors[rows])
        + sum(steps[identifier[: depth + 1]] for depth in range(len(identifier)))
        for identifier, rows in owned.items()
    }
    return dict(sorted(scores.items(), key=lambda item: -item[1]))


def ask(search, model, table, queries, live, *limits, **decoding):
    """Run a search of `genir.decoding` for numbered queries under live masks, bool [Q, rows]."""
    inputs = torch.tensor(queries)[:, None]
    rows = RowMask.build(live, None if len(live) == 1 else range(len(live)))
    section = DecodingSection(**decoding)
    pair = (inputs, torch.ones_like(inputs))
    return search(model, Trie.build(table), pair, rows, *limits, section)


def identifiers(table, beams):
    """Return each query's {identifier: score}, having checked that ranges hold equal rows, all."""
    answers = []
    for lows, highs, scores in zip(*(t.tolist() for t in vars(beams).values()), strict=True):
        alive = [beam for beam in zip(lows, highs, scores, strict=True) if beam[2] > -np.inf]
        assert [beam[2] for beam in alive] == sorted((beam[2] for beam in alive), reverse=True)
        found = {}
        for low, high, score in alive:
            (identifier,) = {table.identifier(row) for row in range(low, high)}
            assert identifier not in found
            assert (table.symbols == table.symbols[low]).all(axis=1).sum() == high - low
            found[identifier] = score
        answers.append(found)
    return answers
