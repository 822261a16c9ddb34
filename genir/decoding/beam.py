"""Beam search constrained to a trie. It knows row ranges only, no documents.

score(identifier | query) is the sum of log p(symbol | prefix, query), without length penalty. The
softmax runs over the level's vocabulary or over the legal symbols. With look-ahead, the prefix
prior is added both to select beams and to score complete identifiers. Complete identifiers are
collected separately and do not occupy beams. Contract: docs/concepts/.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from genir.cancellation import raise_if_cancelled
from genir.decoding.beam_state import Beams, initial_beams, top_scores
from genir.decoding.edge_scorers import BeamUpdate
from genir.decoding.edges import Edges
from genir.decoding.forced_runs import make_edge_scorer
from genir.decoding.prefix_prior import PrefixMaxPrior, make_prefix_prior
from genir.decoding.row_mask import RowMask
from genir.decoding.search_options import SearchOptions
from genir.decoding.trie import Trie
from genir.models.base import ConstrainedDecoder, Inputs


@dataclass(frozen=True)
class BeamStep:
    """State of a beam search after one trie level.

    Attributes:
        edges: Candidate edges out of the previous beams, C per beam.
        log_p: Log-probability of each edge, float32 [B, K, C].
        totals: Score of each extended prefix, float32 [B, K, C]: its log-probability plus the
            prefix prior if look-ahead is on. Beams are selected by it.
        beams: Incomplete prefixes that were kept, scored by log-probability.
        beam_totals: Selection score of each kept beam, float32 [B, beams].
        parents: Previous beam that each kept beam extends, int64 [B, beams].
        symbols: Last symbol of each kept beam, int64 [B, beams].
        finished: Best complete identifiers so far, scored like `totals`.
        forward_passes: Decoder forward passes so far.
    """

    edges: Edges
    log_p: Tensor
    totals: Tensor
    beams: Beams
    beam_totals: Tensor
    parents: Tensor
    symbols: Tensor
    finished: Beams
    forward_passes: int = 0


class PruneOptions(NamedTuple):
    """Selection rule of a step: beam width, prefix prior, and whether ties keep their order."""

    beams: int
    prior: PrefixMaxPrior | None = None
    stable: bool = False


def beam_search(
    model: ConstrainedDecoder,
    trie: Trie,
    inputs: Inputs,
    row_mask: RowMask,
    options: SearchOptions,
    top_k: int | None = None,
) -> Beams:
    """Return the highest-scoring identifiers of each query, as row ranges of the trie.

    With `options.beams` >= rows the search is exhaustive.

    Args:
        model: Encoder-decoder, or encoder with a document head.
        trie: Valid identifiers.
        inputs: Token ids and attention mask, int64 [B, S] each.
        row_mask: Rows that each query may reach.
        options: Uses `beams`, `softmax`, `lookahead_weight` and `full_scores`.
        top_k: Number of results needed. It lets the search stop early: the first `top_k` results
            are exact, the rest may be missing. None returns `options.beams` results.

    Returns:
        At most `options.beams` row ranges for each query, best first.
    """
    with torch.inference_mode():
        for step in _steps(model, trie, inputs, row_mask, options, top_k):
            last = step
    return last.finished


@torch.inference_mode()
def beam_steps(
    model: ConstrainedDecoder,
    trie: Trie,
    inputs: Inputs,
    row_mask: RowMask,
    options: SearchOptions,
    top_k: int | None = None,
) -> Iterator[BeamStep]:
    """Yield the state after each level of `beam_search`, for explanations and diagnosis.

    With `top_k`, levels without a choice are skipped, and the search stops early.
    """
    yield from _steps(model, trie, inputs, row_mask, options, top_k)


def _steps(
    model: ConstrainedDecoder,
    trie: Trie,
    inputs: Inputs,
    row_mask: RowMask,
    options: SearchOptions,
    top_k: int | None = None,
) -> Iterator[BeamStep]:
    state = model.encode(*inputs)
    prior = make_prefix_prior(model, trie, state, row_mask, options)
    # Early stopping assumes beams sorted by log-probability, which look-ahead breaks.
    paths = (trie, row_mask)
    scorer = make_edge_scorer(model, paths, state, options.softmax, None if prior else top_k)
    stable = row_mask.restrict_scores  # ties must not depend on rows outside the selection
    current, taken, depth = initial_beams(trie, inputs[0].shape[0]), None, 0
    done = Beams.empty(len(current.low), current.low.device)
    choice = PruneOptions(options.beams, prior, stable)
    while depth < trie.depth:
        raise_if_cancelled()
        if depth:
            edges = trie.children(current.low, current.high, depth, scorer.allow_sync)
        else:
            edges = trie.first_edges(len(current.low), scorer.allow_sync)
        legal = _legal(trie, edges, row_mask, depth)
        log_p = scorer.score(depth, taken, edges, legal)
        depth += 1
        ended = trie.are_terminal(edges, depth)
        step = prune((current, done), edges, log_p, ended, choice, scorer.forward_passes)
        current, done = step.beams, step.finished
        taken = BeamUpdate(
            current.low, current.high, current.score, step.parents, step.symbols, done.score
        )
        scorer.advance(depth, taken)
        if prior or top_k is None:
            yield step
            continue
        finals = scorer.final_scores(depth, taken)
        if finals is not None:
            done = done.merge_top(current.with_final_scores(finals), options.beams, stable)
            yield replace(step, finished=done, forward_passes=scorer.forward_passes)
            return
        yield step
        depth = scorer.next_branch_depth(depth, taken)


def _legal(trie: Trie, edges: Edges, row_mask: RowMask, depth: int) -> Tensor:
    """Return whether edges of the current beams lead to a live row, bool [B, K, C]."""
    rows = trie.levels[depth].max_child_rows
    if not depth:  # the same edges for all queries
        return row_mask.legal(edges.select_first(), rows).expand(edges.used.shape)
    if edges.used.shape[-1] == 1:  # an only child has the rows of its node, which holds a live one
        return edges.used
    return row_mask.legal(edges, rows)


def prune(
    beams_and_finished: tuple[Beams, Beams],
    edges: Edges,
    log_p: Tensor,
    ended: Tensor | bool,
    choice: PruneOptions,
    forward_passes: int = 0,
) -> BeamStep:
    """Keep the best incomplete prefixes and the best complete identifiers of each query.

    Args:
        beams_and_finished: Beams before this level, and complete identifiers so far.
        edges: Candidate edges, [B, K, C].
        log_p: Log-probability of each edge, float32 [B, K, C]; -inf where illegal.
        ended: Whether an edge completes an identifier, bool [B, K, C], or one bool for all edges.
        choice: Selection rule.
        forward_passes: Decoder forward passes so far.
    """
    current, done = beams_and_finished
    beams, prior, stable = choice
    scores = current.score.unsqueeze(-1) + log_p
    totals = scores if prior is None else prior(scores, edges.low, edges.high)
    if ended is not False:
        ends = totals if ended is True else totals.masked_fill(~ended, -torch.inf)
        found = _prune_edges(edges, ends, ends, choice).beams
        done = done.merge_top(found, beams, stable) if done.score.numel() else found
    if ended is True:
        return BeamStep(edges, log_p, totals, *_no_beams(current), done, forward_passes)
    going = totals if isinstance(ended, bool) else totals.masked_fill(ended, -torch.inf)
    kept = _prune_edges(edges, going, scores, choice)
    return BeamStep(edges, log_p, totals, *kept, done, forward_passes)


class _Kept(NamedTuple):
    """Kept edges as beams, with totals, parents and symbols, [B, K] each."""

    beams: Beams
    totals: Tensor
    parents: Tensor
    symbols: Tensor


def _no_beams(like: Beams) -> _Kept:
    beams = Beams.empty(len(like.low), like.low.device)
    return _Kept(beams, beams.score, beams.low, beams.low)


def _prune_edges(edges: Edges, totals: Tensor, scores: Tensor, choice: PruneOptions) -> _Kept:
    """Return the top edges of each query by `totals`; their scores are equal without a prior."""
    count = min(choice.beams, totals[0].numel())
    total, chosen = top_scores(totals.flatten(1), count, choice.stable)
    parents, symbols, low, high = edges.take(chosen)
    dead = total == -torch.inf
    score = total
    if choice.prior is not None:
        score = scores.flatten(1).gather(1, chosen).masked_fill(dead, -torch.inf)
    beams = Beams(low.masked_fill(dead, 0), high.masked_fill(dead, 0), score)
    return _Kept(beams, total, parents, symbols)
