"""Reading runs of forced symbols in one pass, and only where it matters: for CPUs, since it looks
at the device to find out where.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from genir.decoding.masks import LiveRows
from genir.decoding.readers import EdgeReader, Normalise, StepReader, Taken, score_edges
from genir.decoding.trie import Edges, Trie
from genir.identifiers.table import PAD
from genir.models.base import DocidModel
from genir.models.precision import bf16_speed_up

SCORED = 512
"""Hidden states scored together: each takes the memory of a whole vocabulary of logits."""
NEVER = 2**31
"""The depth at which a beam whose identifier is certain has anything left to choose."""
MANY = 192
"""Symbols above which reading the better half of the beams first costs little: see `_portions`."""
CHEAPER = 4
"""How many times as many there must be where bf16 is `FAST`: products take so little of a pass."""
FAST = 2.0
"""Times as fast as float32 (AMX). At 1.5 times, `CHEAPER` costs up to 6% (docs/design/)."""


def open_reader(
    model: DocidModel, paths: tuple[Trie, LiveRows], state: object, normalise: Normalise,
    wanted: int | None,
) -> EdgeReader:  # fmt: skip
    """Choose a reader for queries that the model has encoded: `state` is what `start` returned."""
    if model.reads_runs and paths[0].symbols.device.type == "cpu":
        return RunReader(model, paths, state, normalise, wanted)
    return StepReader(model, state, normalise)


class RunReader:
    """A symbol and what it forces, for the beams that need it, when they need it.

    Of each beam it keeps, [B, K, ...]: `slot`, its row in the model's state; `reached`, the depth
    up to which it has been read, and `goal`, that up to which it must be, to score what follows;
    `end`, the depth at which it has to choose again (NEVER: at none); `hidden`, the model's state
    where it has been read; `ahead`, log p of the forced symbols on the way, by depth; `sure`, the
    best log p of identifiers at its next choice, [B, K, wanted], where that is known already.

    What is forced has no need of a score where only legal symbols count: there a beam is read when
    its next choice comes, together with others that lag behind, or, if by then the wanted are found
    elsewhere, never.
    """

    may_wait = True

    def __init__(
        self,
        model: DocidModel,
        paths: tuple[Trie, LiveRows],
        state: object,
        normalise: Normalise,
        wanted: int | None = None,
    ) -> None:
        self.model = model
        self.trie, self.live = paths
        self.normalise: Normalise = normalise
        self.wanted = wanted
        self.state, self.hidden = model.step(state, None, None)
        self.passes = 1
        batch = self.hidden.shape[0]
        self.slot = torch.arange(batch).unsqueeze(1)
        self.reached, self.goal, self.end = torch.zeros(3, batch, 1, dtype=torch.long)
        self.ahead = torch.zeros(batch, 1, self.trie.depth)
        self.sure = torch.full((batch, 1, wanted or 0), -torch.inf)

    def read(self, depth: int, taken: Taken | None, edges: Edges, legal: Tensor) -> Tensor:
        """Read on where a beam has to choose; take the scores of forced symbols from before."""
        if taken is None:
            return self._score(depth, legal.any(dim=-1), edges, legal, self._ahead(depth, legal))
        living = taken.low < taken.high
        left = living & (self.reached < self.goal)
        asked = left if self.normalise == "vocabulary" else left & (self.end == depth)
        log_p = self._ahead(depth, legal & ~asked.unsqueeze(-1))
        log_p = self._score(depth, living & ~left, edges, legal, log_p)
        for portion in self._portions(left):
            if not (portion & left & asked).any():
                continue
            floor = self._floor(depth, living & ~left, taken, edges, log_p)
            now = left & portion & (taken.score >= floor)
            if not (now & asked).any():
                continue
            self._read_on(depth, now, taken)
            if (left & ~now).any():
                self._look_beyond(depth, now, taken)
            now = now & asked
            log_p = torch.where(now.unsqueeze(-1), self._ahead(depth, legal), log_p)
            log_p = self._score(depth, now, edges, legal, log_p)
            left = living & (self.reached < self.goal)
        return log_p

    def follow(self, depth: int, taken: Taken) -> None:
        """Let each beam go on from where its parent stood, and see what its symbol forces."""
        queries = torch.arange(len(taken.parents)).unsqueeze(1)
        for name in ("slot", "reached", "goal", "end", "hidden", "ahead", "sure"):
            setattr(self, name, getattr(self, name)[queries, taken.parents])
        beams = ((taken.low < taken.high) & (self.end == depth - 1)).nonzero(as_tuple=True)
        low, high = taken.low[beams], taken.high[beams]
        following = depth + self.trie.run_length(low, high, depth)
        certain = self._certain(low, following)
        self.end[beams] = torch.where(certain, NEVER, following)
        # A symbol is read to score what follows it: nothing follows the last one.
        known = depth - 1 if self.normalise == "legal" else following - 1
        self.goal[beams] = torch.where(certain, known, following)
        self.sure[beams] = -torch.inf

    def next_choice(self, depth: int, taken: Taken) -> int:
        """Pass over what is forced, where it has no score."""
        choosing = (taken.low < taken.high) & (self.end < NEVER)
        if self.normalise == "vocabulary" or not choosing.any():
            return depth
        return int(self.end[choosing].min())

    def finals(self, depth: int, taken: Taken) -> Tensor | None:
        """Add up what is forced below each beam, if nothing else below any can be of use: -inf for
        those whose choices would lead to none of the wanted.
        """
        left = (self.end < NEVER) | (self.reached < self.goal)
        left &= taken.low < taken.high
        finals = taken.score + self.ahead[..., depth:].sum(dim=-1)
        finals = finals.masked_fill(left, -torch.inf)
        floor = self._last_of_wanted([taken.done, finals])
        return None if (left & (taken.score >= floor)).any() else finals

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

    def _portions(self, left: Tensor) -> Iterator[Tensor]:
        """Yield which places of the beam, bool [K], to read together: the best ones first.

        What they turn out to be may tell that the others cannot be among the wanted.
        """
        beams = left.shape[1]
        places, start, size = torch.arange(beams), 0, min(self.wanted or beams, beams)
        if self.normalise == "legal" and size == beams and self.wanted:
            fast = torch.is_autocast_enabled("cpu") and bf16_speed_up("answering") >= FAST
            many = MANY * (CHEAPER if fast else 1)
            size = (beams + 1) // 2 if (self.goal - self.reached)[left].sum() > many else beams
        while start < beams:
            yield (places >= start) & (places < start + size)
            start, size = start + size, 2 * size

    def _floor(
        self, depth: int, known: Tensor, taken: Taken, edges: Edges, log_p: Tensor
    ) -> Tensor:
        """Return what a prefix must score to be of use, float32 [B, 1]: -inf where unknown.

        Scores only fall, so it is the score of the last of the wanted among the identifiers that
        are certain by now: those that have ended, `known` beams with nothing left to choose, and,
        where what is forced costs nothing, children of one row, be it further down. A beam search
        that read all would drop what is below no later than these.
        """
        if self.wanted is None:
            return taken.score.new_full((len(known), 1), -torch.inf)
        certain = known & (self.end == NEVER)
        finals = taken.score + self.ahead[..., depth:].sum(dim=-1)
        ends = [taken.done, finals.masked_fill(~certain, -torch.inf)]
        if self.normalise == "legal":
            single = (edges.high - edges.low == 1) & (self.end == depth).unsqueeze(-1)
            totals = taken.score.unsqueeze(-1) + log_p
            ends.append(totals.masked_fill(~single, -torch.inf).flatten(1))
            later = (known & (self.end > depth)).unsqueeze(-1)
            sure = taken.score.unsqueeze(-1) + self.sure
            ends.append(sure.masked_fill(~later, -torch.inf).flatten(1))
        return self._last_of_wanted(ends)

    def _last_of_wanted(self, ends: list[Tensor]) -> Tensor:
        """Return the score of the last of the wanted among all, [B, n] each: float32 [B, 1]."""
        best = torch.cat(ends, dim=1)
        if self.wanted is None or best.shape[1] < self.wanted:
            return best.new_full((len(best), 1), -torch.inf)
        return best.topk(self.wanted, dim=1).values[:, -1:]

    def _read_on(self, depth: int, now: Tensor, taken: Taken) -> None:
        """Let beams, bool [B, K], read up to their goals."""
        beams = now.nonzero(as_tuple=True)
        low, start, goal = taken.low[beams], self.reached[beams], self.goal[beams]
        lengths = goal - start
        longest = int(lengths.max())
        symbols = self.trie.symbols_of(low, start, longest + 1)
        living = ((self.reached < self.goal) | (self.end < NEVER)) & (taken.low < taken.high)
        hidden = self._pass(beams, symbols[:, :longest].clamp(min=0), lengths, living)
        last = torch.zeros_like(lengths) if hidden.shape[1] == 1 else lengths - 1
        self.hidden[beams] = hidden[torch.arange(len(lengths)), last]
        self.reached[beams] = goal
        if self.normalise == "vocabulary":
            run = goal - depth + (self.end[beams] == NEVER).long()
            self._score_runs(depth, beams, hidden, symbols[:, 1:], run)

    def _look_beyond(self, depth: int, read: Tensor, taken: Taken) -> None:
        """Note what beams, bool [B, K], that have been read ahead find at their next choice.

        It may tell that others need not be read at all.
        """
        if self.normalise == "vocabulary":
            return
        later = read & (self.end > depth) & (self.end < NEVER)
        for end, beams, edges in self._next_edges(later, taken):
            legal = self.live.legal(edges.low, edges.high, beams[0])
            hidden = self.hidden[beams].unsqueeze(1)
            log_p = score_edges(self.model, hidden, end, edges, legal, self.normalise)
            ends = log_p.masked_fill(edges.high - edges.low != 1, -torch.inf)[:, 0].float()
            best = ends.topk(min(self.sure.shape[2], ends.shape[1]), dim=1).values
            self.sure[beams] = F.pad(
                best, (0, self.sure.shape[2] - best.shape[1]), value=-torch.inf
            )

    def _next_edges(
        self, chosen: Tensor, taken: Taken
    ) -> Iterator[tuple[int, tuple[Tensor, ...], Edges]]:
        """Yield the edges at the next choice of some beams, bool [B, K], by its depth, with those
        beams; all at once where all depths have the same symbols.
        """
        found = []
        for end in sorted(set(self.end[chosen].tolist())):
            beams = (chosen & (self.end == end)).nonzero(as_tuple=True)
            low, high = taken.low[beams].unsqueeze(1), taken.high[beams].unsqueeze(1)
            found.append((end, beams, self.trie.children(low, high, end, may_wait=True)))
        if not (found and self.model.same_symbols):
            yield from found
            return
        together = tuple(
            torch.cat(places) for places in zip(*(one[1] for one in found), strict=True)
        )
        yield found[0][0], together, _joined([edges for *_, edges in found])

    def _certain(self, low: Tensor, depth: Tensor) -> Tensor:
        """Tell of which nodes nothing but their identifier's end is left at a depth, bool [N]."""
        over = depth == self.trie.depth
        following = self.trie.symbols[low, depth.clamp(max=self.trie.depth - 1)]
        return over | (following == PAD)

    def _pass(
        self, beams: tuple[Tensor, ...], symbols: Tensor, lengths: Tensor, living: Tensor
    ) -> Tensor:
        """Let the model read symbols [N, T] at some beams: hidden states [N, T, H]; where what is
        forced needs no score, of their last symbols alone, [N, 1, H].

        Beyond these, only `living` beams, which have more to read, keep a row in its state.
        """
        kept = living.index_put(beams, torch.tensor(True))
        state = self.model.continue_from(self.state, self.slot[kept])
        self.slot = torch.where(kept, kept.flatten().cumsum(0).view_as(kept) - 1, 0)
        last = self.normalise == "legal"
        self.state, hidden = self.model.read(state, self.slot[beams], symbols, lengths, last)
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
                logits, total = self.model.scores(states, level, symbols)
                scores[some] = (logits[:, 0, 0] - total[:, 0]).float()
        self.ahead[beams[0][row], beams[1][row], depth + place] = scores


def _joined(parts: list[Edges]) -> Edges:
    """Put the edges of several beams below each other, [N, 1, C], the unused slots empty."""
    slots = max(part.symbols.shape[2] for part in parts)
    columns = (
        torch.cat(
            [F.pad(getattr(p, name), (0, slots - p.symbols.shape[2]), value=empty) for p in parts]
        )
        for name, empty in (("symbols", PAD), ("low", 0), ("high", 0))
    )
    return Edges(*columns)
