"""Edge scoring on a CPU that reads forced symbols in one forward pass, and only where needed.

A symbol is forced if it is the only child of its node. The scorer reads values back from the
device, so it is not used on a GPU.
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
"""Hidden states scored in one call; each needs memory for logits over the vocabulary."""
NEVER = 2**31
"""Depth of the next branch of a beam whose identifier is already determined."""
MANY = 192
"""Pending symbols above which the better half of the beams is read first; see `_portions`."""
CHEAPER = 4
"""Factor on `MANY` where bf16 is `FAST`, since matrix products are a smaller part of a pass."""
FAST = 2.0
"""Speed-up of bf16 over float32 (AMX). At 1.5, `CHEAPER` costs up to 6% (docs/design/)."""


def open_reader(
    model: DocidModel, paths: tuple[Trie, LiveRows], state: object, normalise: Normalise,
    wanted: int | None,
) -> EdgeReader:  # fmt: skip
    """Return an edge scorer for encoded queries; `state` is the result of `DocidModel.start`."""
    if model.reads_runs and paths[0].symbols.device.type == "cpu":
        return RunReader(model, paths, state, normalise, wanted)
    return StepReader(model, state, normalise)


class RunReader:
    """Reads a symbol and the symbols it forces in one pass, as late as possible.

    State of each beam, [B, K, ...]: `slot`, its row in the decoder state; `reached`, the depth
    decoded so far; `goal`, the depth to decode before the next symbol can be scored; `end`, the
    depth of its next branch, or NEVER; `hidden`, the hidden state at `reached`; `ahead`, log p of
    its forced symbols by depth; `sure`, the best log p of identifiers at its next branch,
    [B, K, wanted], if known.

    With the softmax over legal symbols, forced symbols have log p 0. A beam is then decoded only
    at its next branch, together with other pending beams, or never if the top `wanted` are found
    elsewhere.
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
        """Decode pending beams that branch here; forced symbols have scores already."""
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
        """Inherit the state of each parent beam and find the symbols that the new one forces."""
        queries = torch.arange(len(taken.parents)).unsqueeze(1)
        for name in ("slot", "reached", "goal", "end", "hidden", "ahead", "sure"):
            setattr(self, name, getattr(self, name)[queries, taken.parents])
        beams = ((taken.low < taken.high) & (self.end == depth - 1)).nonzero(as_tuple=True)
        low, high = taken.low[beams], taken.high[beams]
        following = depth + self.trie.run_length(low, high, depth)
        certain = self._certain(low, following)
        self.end[beams] = torch.where(certain, NEVER, following)
        # A symbol is decoded to score the next one, so the last symbol is not decoded.
        known = depth - 1 if self.normalise == "legal" else following - 1
        self.goal[beams] = torch.where(certain, known, following)
        self.sure[beams] = -torch.inf

    def next_choice(self, depth: int, taken: Taken) -> int:
        """Skip forced symbols if they need no score."""
        choosing = (taken.low < taken.high) & (self.end < NEVER)
        if self.normalise == "vocabulary" or not choosing.any():
            return depth
        return int(self.end[choosing].min())

    def finals(self, depth: int, taken: Taken) -> Tensor | None:
        """Return final scores if no pending beam can reach the top `wanted`; -inf for these."""
        left = (self.end < NEVER) | (self.reached < self.goal)
        left &= taken.low < taken.high
        finals = taken.score + self.ahead[..., depth:].sum(dim=-1)
        finals = finals.masked_fill(left, -torch.inf)
        floor = self._last_of_wanted([taken.done, finals])
        return None if (left & (taken.score >= floor)).any() else finals

    def _ahead(self, depth: int, legal: Tensor) -> Tensor:
        """Return log p of forced symbols, each the only edge of its beam."""
        return self.ahead[..., depth].unsqueeze(-1).masked_fill(~legal, -torch.inf)

    def _score(
        self, depth: int, beams: Tensor, edges: Edges, legal: Tensor, log_p: Tensor
    ) -> Tensor:
        """Fill in log p of the edges of `beams` that are decoded up to `depth`."""
        ready = (beams & (self.end == depth)).nonzero(as_tuple=True)
        if len(ready[0]):
            own = Edges(*(t[ready].unsqueeze(1) for t in (edges.symbols, edges.low, edges.high)))
            hidden, allowed = self.hidden[ready].unsqueeze(1), legal[ready].unsqueeze(1)
            scores = score_edges(self.model, hidden, depth, own, allowed, self.normalise)
            log_p[ready] = scores.squeeze(1).float()
        return log_p

    def _portions(self, left: Tensor) -> Iterator[Tensor]:
        """Yield groups of beam positions to decode together, bool [K], best beams first.

        Scores of one group may show that later groups cannot reach the top `wanted`.
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
        """Return the score below which a prefix cannot reach the top `wanted`, float32 [B, 1].

        Scores only decrease along a path. So the bound is the `wanted`-th best score among the
        identifiers that are certain: complete ones, `known` beams without a branch left, and, where
        forced symbols have log p 0, children with a single row. -inf if there are fewer. A full
        beam search prunes prefixes below the bound no later.
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
        """Return the `wanted`-th best score among tensors [B, n], float32 [B, 1]."""
        best = torch.cat(ends, dim=1)
        if self.wanted is None or best.shape[1] < self.wanted:
            return best.new_full((len(best), 1), -torch.inf)
        return best.topk(self.wanted, dim=1).values[:, -1:]

    def _read_on(self, depth: int, now: Tensor, taken: Taken) -> None:
        """Decode beams, bool [B, K], up to their goals."""
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
        """Score the next branch of beams, bool [B, K], that were decoded past `depth`.

        The scores may show that other beams need not be decoded.
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
        """Yield depth, beams and edges of the next branch of the chosen beams, bool [B, K].

        Grouped by depth, or in one group if all levels share one vocabulary.
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
        """Return whether each node has only the end of its identifier below it, bool [N]."""
        over = depth == self.trie.depth
        following = self.trie.symbols[low, depth.clamp(max=self.trie.depth - 1)]
        return over | (following == PAD)

    def _pass(
        self, beams: tuple[Tensor, ...], symbols: Tensor, lengths: Tensor, living: Tensor
    ) -> Tensor:
        """Run the decoder on symbols [N, T] of some beams and return hidden states [N, T, H].

        If forced symbols need no score: of the last symbols only, [N, 1, H]. The decoder state
        keeps rows for these beams and for `living` beams, which have more to decode.
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
        """Store log p of forced symbols [N, T], of which each beam has `run` [N].

        Levels that share a vocabulary are scored in one call.
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
    """Concatenate the edges of several beams to [N, 1, C], padded with empty slots."""
    slots = max(part.symbols.shape[2] for part in parts)
    columns = (
        torch.cat(
            [F.pad(getattr(p, name), (0, slots - p.symbols.shape[2]), value=empty) for p in parts]
        )
        for name, empty in (("symbols", PAD), ("low", 0), ("high", 0))
    )
    return Edges(*columns)
