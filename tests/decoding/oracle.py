"""Random tables, a model without a network, and the decoding contract in plain Python.

The oracle looks at the identifiers one by one; it shares nothing with the trie.
"""

from functools import cache
from math import exp, log

import numpy as np
import torch
from hypothesis import strategies as st

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


class Dice:
    """A DocidModel's decoding half: each prefix of each query has logits drawn by it as the seed.

    Its hidden states are the logits, in float64, on the device.
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
        drawn = [[draw(path, self.vocabulary) for path in beams] for beams in state]
        return state, torch.from_numpy(np.array(drawn)).to(self.device)

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

    def _throw(self, paths):
        return torch.from_numpy(
            np.array([[draw(path, self.vocabulary) for path in row] for row in paths])
        )


@cache
def draw(path, vocabulary):
    return np.random.default_rng(path).normal(scale=2.0, size=vocabulary)


def log_softmax(logits, symbol, symbols):
    return float(logits[symbol]) - log(sum(exp(logits[s]) for s in symbols))


def beam_oracle(table, query, live, beams, normalise, vocabulary):
    """Return {identifier: score} of the best finished identifiers, from live rows alone."""
    return prefix_oracle(table, query, live, beams, normalise, vocabulary)[1]


def prefix_oracle(table, query, live, beams, normalise, vocabulary):
    """Return {prefix: score} of all that a beam held on its way, and of what it ended in."""
    identifiers = {table.identifier(row) for row in np.flatnonzero(live)}
    going, done, held = {(): 0.0}, {}, {}
    while going and identifiers:
        longer = {}
        for prefix, score in going.items():
            depth = len(prefix)
            legal = {i[depth] for i in identifiers if i[:depth] == prefix}
            logits = draw((query, *prefix), vocabulary)
            every = range(vocabulary) if normalise == "vocabulary" else legal
            for symbol in legal:
                longer[*prefix, symbol] = score + log_softmax(logits, symbol, every)
        done = best({**done, **{i: s for i, s in longer.items() if i in identifiers}}, beams)
        going = best({i: s for i, s in longer.items() if i not in identifiers}, beams)
        held |= going
    return held, done


def best(scores, beams):
    return dict(sorted(scores.items(), key=lambda item: -item[1])[:beams])


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


class AlikeDice(RunningDice):
    """The same dice, whose symbols mean the same at every depth."""

    shares_vocabulary = True
