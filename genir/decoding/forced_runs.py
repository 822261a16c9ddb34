"""Edge scoring on a CPU that reads forced symbols in one forward pass, and only where needed.

A symbol is forced if it is the only child of its node. The scorer reads values back from the
device, so it is not used on a GPU.
"""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from genir.decoding.edge_scorers import BeamUpdate, EdgeScorer, Softmax, StepScorer, score_edges
from genir.decoding.edges import Candidates, Edges
from genir.decoding.row_mask import RowMask
from genir.decoding.trie import Trie
from genir.identifiers.table import PAD
from genir.models.base import ConstrainedDecoder, MultiTokenDecoder
from genir.models.precision import bf16_speed_up

STATES_PER_SCORING = 512
"""Hidden states scored in one call; each needs memory for logits over the vocabulary."""
NO_BRANCH = 2**31
"""Depth of the next branch of a beam whose identifier is already determined."""
SPLIT_MIN_SYMBOLS = 192
"""Pending symbols above which the better half of the beams is read first; see `_batches`."""
SPLIT_BF16_FACTOR = 4
"""Factor on `SPLIT_MIN_SYMBOLS` if bf16 is `FAST_BF16_SPEEDUP` times as fast as float32: matrix
products are then a smaller part of a pass."""
BEAM_STATE = ("cache_row", "decoded_depth", "target_depth", "branch_depth", "hidden",
              "forced_log_p", "certain_scores")  # fmt: skip
"""Attributes of `ForcedRunScorer` with a value for each beam."""
FAST_BF16_SPEEDUP = 2.0
"""Speed-up of bf16 over float32 (AMX). At 1.5, `SPLIT_BF16_FACTOR` costs up to 6%
(docs/design/)."""


def make_edge_scorer(
    model: ConstrainedDecoder,
    paths: tuple[Trie, RowMask],
    state: object,
    softmax: Softmax,
    top_k: int | None,
) -> EdgeScorer:
    """Return an edge scorer for encoded queries; `state` is the result of `model.encode`."""
    on_cpu = paths[0].symbols.device.type == "cpu"
    bounded = softmax != "none"  # early stopping assumes that no score increases
    if on_cpu and bounded and isinstance(model, MultiTokenDecoder) and model.supports_multi_token:
        return ForcedRunScorer(model, model, paths, state, softmax, top_k)
    return StepScorer(model, state, softmax, allow_sync=on_cpu)


class ForcedRunScorer:
    """Reads a symbol and the symbols it forces in one pass, as late as possible.

    State of each beam, [B, K, ...]: `cache_row`, its row in the decoder state; `decoded_depth`, the
    depth decoded so far; `target_depth`, the depth to decode before the next symbol can be scored;
    `branch_depth`, the depth of its next branch, or NO_BRANCH; `hidden`, the hidden state at
    `decoded_depth`; `forced_log_p`, log p of its forced symbols by depth; `certain_scores`, the
    best log p of identifiers at its next branch, [B, K, top_k], if known.

    With the softmax over legal symbols, forced symbols have log p 0. A beam is then decoded only
    at its next branch, together with other pending beams, or never if the top `top_k` are found
    elsewhere.
    """

    allow_sync = True

    def __init__(
        self,
        model: ConstrainedDecoder,
        reader: MultiTokenDecoder,
        paths: tuple[Trie, RowMask],
        state: object,
        softmax: Softmax,
        top_k: int | None = None,
    ) -> None:
        self.model, self.reader = model, reader
        self.trie, self.row_mask = paths
        self.softmax: Softmax = softmax
        self.top_k = top_k
        self.state, self.hidden = model.step(state, None, None)
        self.forward_passes = 1
        batch = self.hidden.shape[0]
        self.cache_row = torch.arange(batch).unsqueeze(1)
        self.decoded_depth, self.target_depth, self.branch_depth = torch.zeros(
            3, batch, 1, dtype=torch.long
        )
        self.forced_log_p = torch.zeros(batch, 1, self.trie.depth)
        self.certain_scores = torch.full((batch, 1, top_k or 0), -torch.inf)

    def score(self, depth: int, update: BeamUpdate | None, edges: Edges, legal: Tensor) -> Tensor:
        """Decode pending beams that branch here; forced symbols have scores already."""
        if update is None:
            return self._score(
                depth, legal.any(dim=-1), edges, legal, self._known_log_p(depth, legal)
            )
        used = update.low < update.high
        left = used & (self.decoded_depth < self.target_depth)
        asked = left if self.softmax == "vocabulary" else left & (self.branch_depth == depth)
        log_p = self._known_log_p(depth, legal & ~asked.unsqueeze(-1))
        log_p = self._score(depth, used & ~left, edges, legal, log_p)
        for portion in self._batches(left):
            if not (portion & left & asked).any():
                continue
            floor = self._score_floor(depth, used & ~left, update, edges, log_p)
            now = left & portion & (update.score >= floor)
            if not (now & asked).any():
                continue
            self._decode_forced(depth, now, update)
            if (left & ~now).any():
                self._score_next_branch(depth, now, update)
            now = now & asked
            log_p = torch.where(now.unsqueeze(-1), self._known_log_p(depth, legal), log_p)
            log_p = self._score(depth, now, edges, legal, log_p)
            left = used & (self.decoded_depth < self.target_depth)
        return log_p

    def advance(self, depth: int, update: BeamUpdate) -> None:
        """Inherit the state of each parent beam and find the symbols that the new one forces."""
        queries = torch.arange(len(update.parents)).unsqueeze(1)
        for name in BEAM_STATE:
            setattr(self, name, getattr(self, name)[queries, update.parents])
        beams = ((update.low < update.high) & (self.branch_depth == depth - 1)).nonzero(
            as_tuple=True
        )
        low, high = update.low[beams], update.high[beams]
        following = depth + self.trie.run_length(low, high, depth)
        # Only the end of the identifier is below the node.
        after = self.trie.symbols[low, following.clamp(max=self.trie.depth - 1)]
        certain = (following == self.trie.depth) | (after == PAD)
        self.branch_depth[beams] = torch.where(certain, NO_BRANCH, following)
        # A symbol is decoded to score the next one, so the last symbol is not decoded.
        known = depth - 1 if self.softmax == "trie" else following - 1
        self.target_depth[beams] = torch.where(certain, known, following)
        self.certain_scores[beams] = -torch.inf

    def next_branch_depth(self, depth: int, update: BeamUpdate) -> int:
        """Skip forced symbols if they need no score."""
        choosing = (update.low < update.high) & (self.branch_depth < NO_BRANCH)
        if self.softmax == "vocabulary" or not choosing.any():
            return depth
        return int(self.branch_depth[choosing].min())

    def final_scores(self, depth: int, update: BeamUpdate) -> Tensor | None:
        """Return final scores if no pending beam can reach the top `top_k`; -inf for these."""
        left = (self.branch_depth < NO_BRANCH) | (self.decoded_depth < self.target_depth)
        left &= update.low < update.high
        finals = update.score + self.forced_log_p[..., depth:].sum(dim=-1)
        finals = finals.masked_fill(left, -torch.inf)
        floor = self._kth_score([update.finished_scores, finals])
        return None if (left & (update.score >= floor)).any() else finals

    def _known_log_p(self, depth: int, legal: Tensor) -> Tensor:
        """Return log p of forced symbols, each the only edge of its beam."""
        return self.forced_log_p[..., depth].unsqueeze(-1).masked_fill(~legal, -torch.inf)

    def _score(
        self, depth: int, beams: Tensor, edges: Edges, legal: Tensor, log_p: Tensor
    ) -> Tensor:
        """Fill in log p of the edges of `beams` that are decoded up to `depth`."""
        ready = (beams & (self.branch_depth == depth)).nonzero(as_tuple=True)
        if len(ready[0]):
            own = edges.candidates.map(lambda part: part[ready].unsqueeze(1))
            hidden, allowed = self.hidden[ready].unsqueeze(1), legal[ready].unsqueeze(1)
            scores = score_edges(self.model, hidden, depth, own, allowed, self.softmax)
            log_p[ready] = scores.squeeze(1).float()
        return log_p

    def _batches(self, left: Tensor) -> Iterator[Tensor]:
        """Yield groups of beam positions to decode together, bool [K], best beams first.

        Scores of one group may show that later groups cannot reach the top `top_k`.
        """
        beams = left.shape[1]
        places, start, size = torch.arange(beams), 0, min(self.top_k or beams, beams)
        if self.softmax == "trie" and size == beams and self.top_k:
            fast = (
                torch.is_autocast_enabled("cpu") and bf16_speed_up("answering") >= FAST_BF16_SPEEDUP
            )
            many = SPLIT_MIN_SYMBOLS * (SPLIT_BF16_FACTOR if fast else 1)
            pending = (self.target_depth - self.decoded_depth)[left].sum()
            size = (beams + 1) // 2 if pending > many else beams
        while start < beams:
            yield (places >= start) & (places < start + size)
            start, size = start + size, 2 * size

    def _score_floor(
        self, depth: int, known: Tensor, update: BeamUpdate, edges: Edges, log_p: Tensor
    ) -> Tensor:
        """Return the score below which a prefix cannot reach the top `top_k`, float32 [B, 1].

        Scores only decrease along a path. So the bound is the `top_k`-th best score among the
        identifiers that are certain: complete ones, `known` beams without a branch left, and, where
        forced symbols have log p 0, children with a single row. -inf if there are fewer. A full
        beam search prunes prefixes below the bound no later.
        """
        if self.top_k is None:
            return update.score.new_full((len(known), 1), -torch.inf)
        certain = known & (self.branch_depth == NO_BRANCH)
        finals = update.score + self.forced_log_p[..., depth:].sum(dim=-1)
        ends = [update.finished_scores, finals.masked_fill(~certain, -torch.inf)]
        if self.softmax == "trie":
            single = (edges.sizes == 1) & (self.branch_depth == depth).unsqueeze(-1)
            totals = update.score.unsqueeze(-1) + log_p
            ends.append(totals.masked_fill(~single, -torch.inf).flatten(1))
            later = (known & (self.branch_depth > depth)).unsqueeze(-1)
            sure = update.score.unsqueeze(-1) + self.certain_scores
            ends.append(sure.masked_fill(~later, -torch.inf).flatten(1))
        return self._kth_score(ends)

    def _kth_score(self, ends: list[Tensor]) -> Tensor:
        """Return the `top_k`-th best score among tensors [B, n], float32 [B, 1]."""
        best = torch.cat(ends, dim=1)
        if self.top_k is None or best.shape[1] < self.top_k:
            return best.new_full((len(best), 1), -torch.inf)
        return best.topk(self.top_k, dim=1).values[:, -1:]

    def _decode_forced(self, depth: int, now: Tensor, update: BeamUpdate) -> None:
        """Decode beams, bool [B, K], up to their goals."""
        beams = now.nonzero(as_tuple=True)
        low, start, goal = update.low[beams], self.decoded_depth[beams], self.target_depth[beams]
        lengths = goal - start
        longest = int(lengths.max())
        symbols = self.trie.symbols_of(low, start, longest + 1)
        used = ((self.decoded_depth < self.target_depth) | (self.branch_depth < NO_BRANCH)) & (
            update.low < update.high
        )
        hidden = self._forward(beams, symbols[:, :longest].clamp(min=0), lengths, used)
        last = torch.zeros_like(lengths) if hidden.shape[1] == 1 else lengths - 1
        self.hidden[beams] = hidden[torch.arange(len(lengths)), last]
        self.decoded_depth[beams] = goal
        if self.softmax == "vocabulary":
            run = goal - depth + (self.branch_depth[beams] == NO_BRANCH).long()
            self._score_runs(depth, beams, hidden, symbols[:, 1:], run)

    def _score_next_branch(self, depth: int, read: Tensor, update: BeamUpdate) -> None:
        """Score the next branch of beams, bool [B, K], that were decoded past `depth`.

        The scores may show that other beams need not be decoded.
        """
        if self.softmax == "vocabulary":
            return
        later = read & (self.branch_depth > depth) & (self.branch_depth < NO_BRANCH)
        for end, beams, (symbols, low, high) in self._next_edges(later, update):
            legal = self.row_mask.any_live(low, high, beams[0])
            hidden = self.hidden[beams].unsqueeze(1)
            candidates = Candidates.of(symbols)
            log_p = score_edges(self.model, hidden, end, candidates, legal, self.softmax)
            ends = log_p.masked_fill(high - low != 1, -torch.inf)[:, 0].float()
            best = ends.topk(min(self.certain_scores.shape[2], ends.shape[1]), dim=1).values
            self.certain_scores[beams] = F.pad(
                best, (0, self.certain_scores.shape[2] - best.shape[1]), value=-torch.inf
            )

    def _next_edges(
        self, chosen: Tensor, update: BeamUpdate
    ) -> Iterator[tuple[int, tuple[Tensor, ...], tuple[Tensor, ...]]]:
        """Yield depth, beams and edges of the next branch of the chosen beams, bool [B, K].

        Edges are symbols, first rows and end rows, int64 [N, 1, C] each.

        Grouped by depth, or in one group if all levels share one vocabulary.
        """
        found = []
        for end in sorted(set(self.branch_depth[chosen].tolist())):
            beams = (chosen & (self.branch_depth == end)).nonzero(as_tuple=True)
            low, high = update.low[beams].unsqueeze(1), update.high[beams].unsqueeze(1)
            edges = self.trie.children(low, high, end, allow_sync=True)
            found.append((end, beams, (edges.symbols, edges.low, edges.high)))
        if not (found and self.model.shares_vocabulary):
            yield from found
            return
        together = tuple(
            torch.cat(places) for places in zip(*(one[1] for one in found), strict=True)
        )
        yield found[0][0], together, _concatenate([edges for *_, edges in found])

    def _forward(
        self, beams: tuple[Tensor, ...], symbols: Tensor, lengths: Tensor, used: Tensor
    ) -> Tensor:
        """Run the decoder on symbols [N, T] of some beams and return hidden states [N, T, H].

        If forced symbols need no score: of the last symbols only, [N, 1, H]. The decoder state
        keeps rows for these beams and for `used` beams, which have more to decode.
        """
        kept = used.index_put(beams, torch.tensor(True))
        state = self.reader.select_rows(self.state, self.cache_row[kept])
        self.cache_row = torch.where(kept, kept.flatten().cumsum(0).view_as(kept) - 1, 0)
        last = self.softmax == "trie"
        self.state, hidden = self.reader.extend(
            state, self.cache_row[beams], symbols, lengths, last
        )
        self.forward_passes += 1
        return hidden

    def _score_runs(
        self, depth: int, beams: tuple[Tensor, ...], hidden: Tensor, forced: Tensor, run: Tensor
    ) -> None:
        """Store log p of forced symbols [N, T], of which each beam has `run` [N].

        Levels that share a vocabulary are scored in one call.
        """
        row, place = (torch.arange(int(run.max())) < run[:, None]).nonzero(as_tuple=True)
        depths = torch.zeros_like(place) if self.model.shares_vocabulary else depth + place
        scores = hidden.new_empty(len(row), dtype=torch.float32)
        for level in sorted(set(depths.tolist())):
            for some in (depths == level).nonzero()[:, 0].split(STATES_PER_SCORING):
                states = hidden[row[some], place[some]].unsqueeze(1)
                symbols = forced[row[some], place[some]].view(-1, 1, 1)
                logits, total = self.model.scores(states, level, symbols)
                scores[some] = (logits[:, 0, 0] - total[:, 0]).float()
        self.forced_log_p[beams[0][row], beams[1][row], depth + place] = scores


def _concatenate(parts: Sequence[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """Concatenate symbols, first rows and end rows to [N, 1, C], padded with empty slots."""
    slots = max(part[0].shape[2] for part in parts)
    return tuple(
        torch.cat([F.pad(own, (0, slots - own.shape[2]), value=empty) for own in column])
        for column, empty in zip(zip(*parts, strict=True), (PAD, 0, 0), strict=True)
    )
