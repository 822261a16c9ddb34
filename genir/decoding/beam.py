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

from genir.config import DecodingSection
from genir.decoding.beams import Beams, root, top
from genir.decoding.lookahead import Lift, look_ahead
from genir.decoding.masks import LiveRows
from genir.decoding.readers import Taken
from genir.decoding.runs import open_reader
from genir.decoding.trie import Edges, Trie
from genir.models.base import DocidModel
from genir.stopping import checkpoint


@dataclass(frozen=True)
class Step:
    """State of a beam search after one trie level.

    Attributes:
        edges: Candidate edges out of the previous beams, C per beam.
        log_p: Log-probability of each edge, float32 [B, K, C].
        totals: Score of each extended prefix, float32 [B, K, C]: its log-probability plus the
            prefix prior if look-ahead is on. Beams are selected by it.
        kept: Incomplete prefixes that were kept, scored by log-probability.
        total: Selection score of each kept beam, float32 [B, beams].
        parents: Previous beam that each kept beam extends, int64 [B, beams].
        symbols: Last symbol of each kept beam, int64 [B, beams].
        done: Best complete identifiers so far, scored like `totals`.
        passes: Decoder forward passes so far.
    """

    edges: Edges
    log_p: Tensor
    totals: Tensor
    kept: Beams
    total: Tensor
    parents: Tensor
    symbols: Tensor
    done: Beams
    passes: int = 0


class Choice(NamedTuple):
    """Selection rule of a step: beam width, prefix prior, and whether ties keep their order."""

    beams: int
    lift: Lift | None = None
    stable: bool = False


def beam_search(
    model: DocidModel,
    trie: Trie,
    inputs: tuple[Tensor, Tensor],
    live: LiveRows,
    decoding: DecodingSection,
    wanted: int | None = None,
) -> Beams:
    """Return the highest-scoring identifiers of each query, as row ranges of the trie.

    With `decoding.beams` >= rows the search is exhaustive.

    Args:
        model: Encoder-decoder, or encoder with a document head.
        trie: Valid identifiers.
        inputs: Token ids and attention mask, int64 [B, S] each.
        live: Rows that each query may reach.
        decoding: Uses `beams`, `normalise` and `look_ahead`.
        wanted: Number of results needed. It lets the search stop early: the first `wanted` results
            are exact, the rest may be missing. None returns `decoding.beams` results.

    Returns:
        At most `decoding.beams` row ranges for each query, best first.
    """
    for step in beam_steps(model, trie, inputs, live, decoding, wanted):
        last = step
    return last.done


@torch.inference_mode()
def beam_steps(
    model: DocidModel,
    trie: Trie,
    inputs: tuple[Tensor, Tensor],
    live: LiveRows,
    decoding: DecodingSection,
    wanted: int | None = None,
) -> Iterator[Step]:
    """Yield the state after each level of `beam_search`, for explanations and diagnosis.

    With `wanted`, levels without a choice are skipped, and the search stops early.
    """
    state = model.start(*inputs)
    lift = look_ahead(model, state, live, decoding.look_ahead)
    # Early stopping assumes beams sorted by log-probability, which look-ahead breaks.
    paths = (trie, live)
    reader = open_reader(model, paths, state, decoding.normalise, None if lift else wanted)
    stable = live.closed  # ties must not depend on rows outside the selection
    current, taken, depth = root(trie, inputs[0].shape[0]), None, 0
    done = Beams.none(len(current.low), current.low.device)
    while depth < trie.depth:
        checkpoint()
        if depth:
            edges = trie.children(current.low, current.high, depth, reader.may_wait)
        else:
            edges = trie.first_edges(len(current.low), reader.may_wait)
        log_p = reader.read(depth, taken, edges, live.legal(edges.low, edges.high))
        depth += 1
        ended = trie.ended(edges.low, depth)
        step = advance((current, done), edges, log_p, ended, Choice(decoding.beams, lift, stable))
        current, done = step.kept, step.done
        taken = Taken(
            current.low, current.high, current.score, step.parents, step.symbols, done.score
        )
        reader.follow(depth, taken)
        if lift or wanted is None:
            yield replace(step, passes=reader.passes)
            continue
        finals = reader.finals(depth, taken)
        if finals is not None:
            done = done.best(current.ending(finals), decoding.beams, stable)
            yield replace(step, done=done, passes=reader.passes)
            return
        yield replace(step, passes=reader.passes)
        depth = reader.next_choice(depth, taken)


def advance(
    before: tuple[Beams, Beams],
    edges: Edges,
    log_p: Tensor,
    ended: Tensor | bool,
    choice: Choice,
) -> Step:
    """Keep the best incomplete prefixes and the best complete identifiers of each query.

    Args:
        before: Beams before this level, and complete identifiers so far.
        edges: Candidate edges, [B, K, C].
        log_p: Log-probability of each edge, float32 [B, K, C]; -inf where illegal.
        ended: Whether an edge completes an identifier, bool [B, K, C], or one bool for all edges.
        choice: Selection rule.
    """
    current, done = before
    beams, lift, stable = choice
    slots = log_p.shape[-1]
    scores = current.score.unsqueeze(-1) + log_p
    totals = scores if lift is None else scores + lift(edges.low, edges.high)
    if ended is not False:
        ends = totals if ended is True else totals.masked_fill(~ended, -torch.inf)
        done = done.best(_choose(edges, ends, ends, choice)[0], beams, stable)
    if ended is True:
        choice = choice._replace(beams=0)
    going = totals if isinstance(ended, bool) else totals.masked_fill(ended, -torch.inf)
    kept, chosen = _choose(edges, going, scores, choice)
    total = going.flatten(1).gather(1, chosen)
    symbols = edges.symbols.flatten(1).gather(1, chosen).clamp(min=0)
    return Step(edges, log_p, totals, kept, total, chosen // slots, symbols, done)


def _choose(edges: Edges, totals: Tensor, scores: Tensor, choice: Choice) -> tuple[Beams, Tensor]:
    """Return the top edges of each query by `totals` as beams, and their flat indices."""
    count = min(choice.beams, totals[0].numel())
    total, chosen = top(totals.flatten(1), count, choice.stable)
    low, high, score = (t.flatten(1).gather(1, chosen) for t in (edges.low, edges.high, scores))
    dead = total == -torch.inf
    score = score.masked_fill(dead, -torch.inf)
    return Beams(low.masked_fill(dead, 0), high.masked_fill(dead, 0), score), chosen
