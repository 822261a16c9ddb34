"""Beam search that stays on a GPU: no value is read by the host, few kernels a level, one graph.

Finds what `beam.beam_steps` finds without look-ahead; what it found on the way, nobody sees.
"""

import torch
from torch import Tensor

from genir.config import DecodingSection
from genir.decoding import kernels
from genir.decoding.beams import Beams, root
from genir.decoding.masks import LiveRows
from genir.decoding.trie import Level, Trie
from genir.models.base import DocidModel

WINDOW = 1024
"""Children of a wide node that are scored at a time."""


@torch.inference_mode()
def resident_search(
    model: DocidModel,
    trie: Trie,
    inputs: tuple[Tensor, Tensor],
    live: LiveRows,
    decoding: DecodingSection,
) -> Beams:
    """Return the best identifiers of each query; see `beam.beam_search`."""
    state, current = model.start(*inputs), root(trie, len(inputs[0]))
    done = Beams.none(len(current.low), current.low.device)
    moves: tuple[Tensor, Tensor] | tuple[None, None] = (None, None)
    for depth in range(trie.depth):
        state, hidden = model.step(state, *moves)
        logits = model.level_logits(hidden, depth).float()
        normaliser = logits.logsumexp(dim=-1) if decoding.normalise == "vocabulary" else None
        going, ended = _score(trie, depth, current, logits, normaliser, live)
        if ended is not None:
            found, *_ = _take(trie, depth, current, ended, decoding.beams)
            done = done.best(found, decoding.beams)
        if going is not None:
            current, *taken = _take(trie, depth, current, going, decoding.beams)
            moves = (taken[0], taken[1])
    return done


def _slots(level: Level) -> int:
    """Return how many slots every beam has at a level."""
    return level.reach if level.lists is None else level.lists.slots


def _score(
    trie: Trie,
    depth: int,
    current: Beams,
    logits: Tensor,
    normaliser: Tensor | None,
    live: LiveRows,
) -> tuple[Tensor | None, Tensor | None]:
    """Return the scores of prefixes that go on and of identifiers that end, float32 [B, K * C].

    None where a level has none. Illegal ones are -inf. logits: float32 [B, K or 1, V], of all
    symbols of the level. normaliser: [B, K or 1], or None for the softmax over legal symbols.
    """
    level = trie.levels[depth]
    batch, beams = current.low.shape
    slots = _slots(level)
    last = depth + 1 == trie.depth
    ends = 1 if last else 2 * trie.levels[depth + 1].ends
    going, ended = (
        logits.new_empty(batch, beams * slots) if there else None for there in (ends != 1, ends > 0)
    )
    near, far = (None, None) if live.gaps is None else live.gaps
    kernels.score_children[(batch * beams,)](
        current.low, current.high, current.score, logits, normaliser, trie.symbols[:, depth],
        *_lists(level), near, far, live.index, going, ended,
        beams, logits.shape[-1], trie.depth, _nodes(level), slots,
        0 if near is None else near.shape[1], 0 if far is None else far.shape[1],
        SHARED=logits.shape[1] == 1, **_shape(level), MASKED=near is not None,
        INDEXED=live.index is not None, LEGAL=normaliser is None, ENDS=ends, WINDOW=WINDOW,
    )  # fmt: skip
    return going, ended


def _take(
    trie: Trie, depth: int, current: Beams, totals: Tensor, beams: int
) -> tuple[Beams, Tensor, Tensor]:
    """Return the best children of each query, by their totals [B, K * C], their parents and what
    symbols they took, int64 [B, beams] each.
    """
    score, chosen = totals.topk(min(beams, totals.shape[1]), dim=1)
    level = trie.levels[depth]
    low, high, parents, symbols = (torch.empty_like(chosen) for _ in range(4))
    kernels.take_children[(chosen.numel(),)](
        current.low, current.high, score, chosen, trie.symbols[:, depth], *_lists(level),
        low, high, parents, symbols,
        current.low.shape[1], chosen.shape[1], trie.depth, _nodes(level), _slots(level),
        **_shape(level),
    )  # fmt: skip
    return Beams(low, high, score), parents, symbols


def _lists(level: Level) -> tuple[Tensor | None, ...]:
    lists = level.lists
    if lists is None:
        return None, None, None, None
    return lists.nodes, lists.pointers, lists.starts, lists.symbols


def _nodes(level: Level) -> int:
    return 0 if level.lists is None else len(level.lists.nodes)


def _shape(level: Level) -> dict[str, bool | int]:
    """Return what a kernel is compiled for."""
    kept = level.lists is not None and level.lists.symbols is not None
    steps = _nodes(level).bit_length()
    return {"LISTED": level.lists is not None, "KEPT": kept, "STEPS": steps}
