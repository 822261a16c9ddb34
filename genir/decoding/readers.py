"""What the model says of the edges that a beam search may take. Knows no beams to come.

`StepReader` reads one symbol a level, for every beam, and never waits for the device. `RunReader`
reads a symbol together with the run of symbols that it forces, in one pass, and beams whose
identifier is certain not at all; it looks at the device to find out which, so it is for CPUs.
Both give the same scores.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from genir.decoding.trie import Edges, Trie
from genir.identifiers.table import PAD
from genir.models.base import DocidModel

Normalise = Literal["vocabulary", "legal"]

SCORED = 512
"""Hidden states scored together: each takes the memory of a whole vocabulary of logits."""
NEVER = 2**31
"""The depth at which a beam whose identifier is certain has anything left to choose."""


@dataclass(frozen=True)
class Taken:
    """How the beams came to be: int64 [B, K] each.

    low, high: their row ranges, empty where dead. score: float32, their log p, best first. parents:
    the beams before that they continue. symbols: what they took. done: float32 [B, D], the scores
    of the identifiers that have ended, best first.
    """

    low: Tensor
    high: Tensor
    score: Tensor
    parents: Tensor
    symbols: Tensor
    done: Tensor


class EdgeReader(Protocol):
    """Scores the edges of one level after the other."""

    passes: int

    def read(self, depth: int, taken: Taken | None, edges: Edges, legal: Tensor) -> Tensor:
        """Return log p of each edge, float32 [B, K, C]: -inf where illegal, 0 where finished.

        taken: how the beams that the edges lead out of came to be; None at the root.
        """

    def finals(self, depth: int, taken: Taken) -> Tensor | None:
        """Return the scores that the beams at a depth will end with, float32 [B, K], once nothing
        is left to choose below any of them; None before, or where that is not looked at.
        """


def open_reader(
    model: DocidModel, trie: Trie, state: object, normalise: Normalise, wanted: int | None
) -> EdgeReader:
    """Choose a reader for queries that the model has encoded: `state` is what `start` returned."""
    if model.reads_runs and trie.symbols.device.type == "cpu":
        return RunReader(model, trie, state, normalise, wanted)
    return StepReader(model, state, normalise)


class StepReader:
    """One symbol a level and beam."""

    def __init__(self, model: DocidModel, state: object, normalise: Normalise) -> None:
        self.model = model
        self.state = state
        self.normalise: Normalise = normalise
        self.passes = 0

    def read(self, depth: int, taken: Taken | None, edges: Edges, legal: Tensor) -> Tensor:
        """Advance every beam by the symbol it took."""
        moves = (None, None) if taken is None else (taken.parents, taken.symbols)
        self.state, hidden = self.model.step(self.state, *moves)
        self.passes += 1
        return score_edges(self.model, hidden, depth, edges, legal, self.normalise)

    def finals(self, depth: int, taken: Taken) -> None:
        """Never look: it would wait for the device."""


class RunReader:
    """A symbol and what it forces, for the beams that need it.

    Of each beam it keeps, [B, K, ...]: `slot`, its row in the model's state; `end`, the depth up to
    which it has been read (NEVER: to the identifier's end); `hidden`, the model's state there;
    `ahead`, log p of the forced symbols on the way, by depth.
    """

    def __init__(
        self,
        model: DocidModel,
        trie: Trie,
        state: object,
        normalise: Normalise,
        wanted: int | None = None,
    ) -> None:
        self.model = model
        self.trie = trie
        self.normalise: Normalise = normalise
        self.wanted = wanted
        self.state, self.hidden = model.step(state, None, None)
        self.passes = 1
        batch = self.hidden.shape[0]
        self.slot = torch.arange(batch).unsqueeze(1)
        self.end = torch.zeros(batch, 1, dtype=torch.long)
        self.ahead = torch.zeros(batch, 1, trie.depth)

    def read(self, depth: int, taken: Taken | None, edges: Edges, legal: Tensor) -> Tensor:
        """Read on where a beam has just chosen; take the scores of forced symbols from before."""
        if taken is None:
            return self._score(depth, legal.any(dim=-1), edges, legal, self._ahead(depth, legal))
        self._follow(taken.parents)
        living = taken.low < taken.high
        chose = living & (self.end == depth - 1)
        log_p = self._ahead(depth, legal & ~chose.unsqueeze(-1))
        log_p = self._score(depth, living & ~chose, edges, legal, log_p)
        left, floor = chose, self._floor(depth, living & ~chose, taken, edges, log_p)
        for portion in self._portions(chose.shape[1]):
            now = left & portion & (taken.score >= floor)
            self._read_on(depth, now, taken)
            log_p = torch.where(now.unsqueeze(-1), self._ahead(depth, legal), log_p)
            log_p = self._score(depth, now, edges, legal, log_p)
            left = left & ~now
            floor = self._floor(depth, living & ~left, taken, edges, log_p)
        return log_p

    def finals(self, depth: int, taken: Taken) -> Tensor | None:
        """Add up what is forced below each beam, if that is all there is.

        What a beam has just chosen is still to be read, but costs nothing where only legal symbols
        count and nothing is left to choose after it.
        """
        queries = torch.arange(len(taken.parents)).unsqueeze(1)
        end, living = self.end[queries, taken.parents], taken.low < taken.high
        open_ends = living & (end < NEVER)
        if open_ends.any():
            chose = open_ends & (end == depth - 1)
            if self.normalise == "vocabulary" or not torch.equal(chose, open_ends):
                return None
            low, high = taken.low[chose], taken.high[chose]
            if not self._certain(low, depth + self.trie.run_length(low, high, depth)).all():
                return None
        rest = self.ahead[queries, taken.parents, depth:].sum(dim=-1)
        return taken.score + rest.masked_fill(open_ends, 0.0)

    def _ahead(self, depth: int, legal: Tensor) -> Tensor:
        """Return what is known of forced symbols, as log p of the only edge there is."""
        return self.ahead[..., depth].unsqueeze(-1).masked_fill(~legal, -torch.inf)

    def _score(
        self, depth: int, beams: Tensor, edges: Edges, legal: Tensor, log_p: Tensor
    ) -> Tensor:
        """Fill in log p of the edges of those among `beams` that have been read up to here."""
        ready = (beams & (self.end == depth)).nonzero(as_tuple=True)
        if len(ready[0]):
            own = Edges(*(t[ready].unsqueeze(1) for t in (edges.symbols, edges.low, edges.high)))
            hidden, allowed = self.hidden[ready].unsqueeze(1), legal[ready].unsqueeze(1)
            scores = score_edges(self.model, hidden, depth, own, allowed, self.normalise)
            log_p[ready] = scores.squeeze(1).float()
        return log_p

    def _portions(self, beams: int) -> Iterator[Tensor]:
        """Yield which places of the beam, bool [K], to read together: the best ones first.

        What they turn out to be may tell that the others cannot be among the wanted.
        """
        places, start, size = torch.arange(beams), 0, min(self.wanted or beams, beams)
        while start < beams:
            yield (places >= start) & (places < start + size)
            start, size = start + size, 2 * size

    def _floor(
        self, depth: int, known: Tensor, taken: Taken, edges: Edges, log_p: Tensor
    ) -> Tensor:
        """Return what a prefix must score to be of use, float32 [B, 1]: -inf where unknown.

        Scores only fall, so it is the score of the last of the wanted among the identifiers that
        are certain by now: those that have ended, `known` beams with nothing left to choose, and,
        where what is forced costs nothing, their children of one row. A beam search that read all
        would drop what is below no later than these.
        """
        if self.wanted is None:
            return taken.score.new_full((len(known), 1), -torch.inf)
        certain = known & (self.end == NEVER)
        finals = taken.score + self.ahead[..., depth:].sum(dim=-1)
        ends = [taken.done, finals.masked_fill(~certain, -torch.inf)]
        if self.normalise == "legal":
            single = (edges.high - edges.low == 1) & ~certain.unsqueeze(-1)
            totals = taken.score.unsqueeze(-1) + log_p
            ends.append(totals.masked_fill(~single, -torch.inf).flatten(1))
        best = torch.cat(ends, dim=1)
        if best.shape[1] < self.wanted:
            return best.new_full((len(best), 1), -torch.inf)
        return best.topk(self.wanted, dim=1).values[:, -1:]

    def _follow(self, parents: Tensor) -> None:
        """Let each beam go on from where its parent stood."""
        queries = torch.arange(len(parents)).unsqueeze(1)
        self.slot, self.end = self.slot[queries, parents], self.end[queries, parents]
        self.hidden, self.ahead = self.hidden[queries, parents], self.ahead[queries, parents]

    def _read_on(self, depth: int, now: Tensor, taken: Taken) -> None:
        """Let beams, bool [B, K], read the symbols they chose, and the runs that follow them."""
        beams = now.nonzero(as_tuple=True)
        if not len(beams[0]):
            return
        low, high = taken.low[beams], taken.high[beams]
        run = self.trie.run_length(low, high, depth)
        certain = self._certain(low, depth + run)
        self.end[beams] = torch.where(certain, NEVER, depth + run)
        # A symbol is read to score what follows it: nothing follows the last one, and what is
        # forced has no need of a score where only legal symbols count.
        lengths = torch.where(certain, 0 if self.normalise == "legal" else run, run + 1)
        wanted = lengths > 0
        if not wanted.any():
            return
        beams = (beams[0][wanted], beams[1][wanted])
        lengths, run, longest = lengths[wanted], run[wanted], int(lengths.max())
        forced = self.trie.symbols_of(low[wanted], depth, longest)
        symbols = torch.cat([taken.symbols[beams].unsqueeze(1), forced[:, :-1].clamp(min=0)], dim=1)
        living = (self.end < NEVER) & (taken.low < taken.high)
        hidden = self._pass(beams, symbols, lengths, living)
        self.hidden[beams] = hidden[torch.arange(len(lengths)), lengths - 1]
        if self.normalise == "vocabulary":
            self._score_runs(depth, beams, hidden, forced, run)

    def _certain(self, low: Tensor, depth: Tensor) -> Tensor:
        """Tell of which nodes nothing but their identifier's end is left at a depth, bool [N]."""
        over = depth == self.trie.depth
        following = self.trie.symbols[low, depth.clamp(max=self.trie.depth - 1)]
        return over | (following == PAD)

    def _pass(
        self, beams: tuple[Tensor, ...], symbols: Tensor, lengths: Tensor, living: Tensor
    ) -> Tensor:
        """Let the model read symbols [N, T] at some beams; return hidden states [N, T, H].

        Beyond these, only `living` beams, which will choose again, keep a row in its state.
        """
        kept = living.index_put(beams, torch.tensor(True))
        state = self.model.continue_from(self.state, self.slot[kept])
        self.slot = torch.where(kept, kept.flatten().cumsum(0).view_as(kept) - 1, 0)
        self.state, hidden = self.model.read(state, self.slot[beams], symbols, lengths)
        self.passes += 1
        return hidden

    def _score_runs(
        self, depth: int, beams: tuple[Tensor, ...], hidden: Tensor, forced: Tensor, run: Tensor
    ) -> None:
        """Note log p of forced symbols [N, T], of which a beam has `run` [N], after hidden states.

        Those of one set of symbols are scored together, whatever their depth.
        """
        row, place = (torch.arange(int(run.max())) < run[:, None]).nonzero(as_tuple=True)
        depths = torch.zeros_like(place) if self.model.same_symbols else depth + place
        scores = hidden.new_empty(len(row), dtype=torch.float32)
        for level in sorted(set(depths.tolist())):
            for some in (depths == level).nonzero()[:, 0].split(SCORED):
                states = hidden[row[some], place[some]].unsqueeze(1)
                symbols = forced[row[some], place[some]].view(-1, 1, 1)
                logits = self.model.logits(states, level, symbols)[:, 0, 0]
                scores[some] = (logits - self.model.log_normaliser(states, level)[:, 0]).float()
        self.ahead[beams[0][row], beams[1][row], depth + place] = scores


def score_edges(
    model: DocidModel,
    hidden: Tensor,
    depth: int,
    edges: Edges,
    legal: Tensor,
    normalise: Normalise,
) -> Tensor:
    """Return log p of each edge, float32 [B, K, C]: -inf where illegal, 0 where finished."""
    finished = edges.symbols == PAD
    logits = model.logits(hidden, depth, edges.symbols.clamp(min=0))
    if normalise == "vocabulary":
        total = model.log_normaliser(hidden, depth).unsqueeze(-1)
    else:
        total = logits.masked_fill(~legal, -torch.inf).logsumexp(dim=-1, keepdim=True)
    return (logits - total).masked_fill(finished, 0.0).masked_fill(~legal, -torch.inf)
