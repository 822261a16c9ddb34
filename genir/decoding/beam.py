"""Beam search under the trie, to the decoding contract (docs/concepts/trie-and-beam.md).

score(identifier | query) = sum of log p(symbol | prefix, query), with the softmax over the level's
whole vocabulary or over the legal symbols only. No length penalty. With look-ahead, a document's
prior counts too: to choose beams, and in the score of what they end in. Identifiers that end are
kept aside, the best of them, so that their places are free for prefixes that still have choices to
pay for.
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
    """One level of a beam search.

    edges: the candidates, out of the beams before. log_p, totals: float32 [B, K, C], of the step,
    and of the whole prefix with its look-ahead: what the best are chosen by. kept: the beams after,
    which have not ended, their scores log p. total: float32 [B, beams], their totals. parents:
    int64 [B, beams], the beam before. symbols: int64 [B, beams], taken by them. done: the best
    identifiers that have ended up to here, their scores totals. passes: of the model, up to here.
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
    """How a step chooses: how many of each query, by log p and look-ahead, ties by place or not."""

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
    """Return the best identifiers of each query, as row ranges of the trie.

    inputs: token ids and attention mask, int64 [B, S] each. live: the rows that each may be led
    to. Of `decoding`, `beams`, `normalise` and `look_ahead` count: at most `beams` identifiers come
    back, and with `beams` >= rows the search is exhaustive. wanted: how many of them the caller
    has a use for, if not all: the best so many are the same, the others may be missing.
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
    """Yield the levels of `beam_search`, for those who want to watch it.

    With `wanted`, it passes over levels that change nothing, and ends where nothing of use is left
    to choose.
    """
    state = model.start(*inputs)
    lift = look_ahead(model, state, live, decoding.look_ahead)
    # With look-ahead, beams are not ordered by log p alone.
    paths = (trie, live)
    reader = open_reader(model, paths, state, decoding.normalise, None if lift else wanted)
    stable = live.closed  # of equal scores, rows that may not be found must not decide
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
    """Keep the best edges of each query that go on, and of those that end.

    before: the beams under way, and what has ended. ended: which edges lead to an identifier's end,
    bool [B, K, C]; True or False for all or none.
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
    """Return the best edges of each query by their totals, with their scores, and their places."""
    count = min(choice.beams, totals[0].numel())
    total, chosen = top(totals.flatten(1), count, choice.stable)
    low, high, score = (t.flatten(1).gather(1, chosen) for t in (edges.low, edges.high, scores))
    dead = total == -torch.inf
    score = score.masked_fill(dead, -torch.inf)
    return Beams(low.masked_fill(dead, 0), high.masked_fill(dead, 0), score), chosen
