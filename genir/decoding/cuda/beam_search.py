"""Beam search that stays on the GPU: no host synchronisation, one kernel pair per level.

Same result as `beam.beam_search` without look-ahead; intermediate steps are not returned. It can be
captured as a CUDA graph.
"""

import torch
from torch import Tensor

from genir.decoding.beam_state import Beams, initial_beams
from genir.decoding.child_lists import CSRChildren, DenseChildren
from genir.decoding.cuda import kernels
from genir.decoding.edge_scorers import Softmax
from genir.decoding.row_mask import RowMask
from genir.decoding.search_options import SearchOptions
from genir.decoding.trie import Level, Trie
from genir.models.base import ConstrainedDecoder, Inputs

WINDOW = 1024
"""Children of a wide node that one kernel iteration scores."""


@torch.inference_mode()
def cuda_beam_search(
    model: ConstrainedDecoder,
    trie: Trie,
    inputs: Inputs,
    live: RowMask,
    options: SearchOptions,
) -> Beams:
    """Return the highest-scoring identifiers of each query; see `beam.beam_search`."""
    state, current = model.encode(*inputs), initial_beams(trie, len(inputs[0]))
    done = Beams.empty(len(current.low), current.low.device)
    moves: tuple[Tensor, Tensor] | tuple[None, None] = (None, None)
    for depth in range(trie.depth):
        state, hidden = model.step(state, *moves)
        logits = model.level_logits(hidden, depth).float()
        normaliser = _normaliser(logits, options.softmax)
        going, ended = _score(trie, depth, current, logits, normaliser, live)
        if ended is not None:
            found, *_ = _take(trie, depth, current, ended, options.beams)
            done = done.merge_top(found, options.beams)
        if going is not None:
            current, *taken = _take(trie, depth, current, going, options.beams)
            moves = (taken[0], taken[1])
    return done


def _normaliser(logits: Tensor, softmax: Softmax) -> Tensor | None:
    """Return what is subtracted from logits [B, K, V]: [B, K]; None for the legal symbols'."""
    if softmax == "none":
        return logits.new_zeros(logits.shape[:-1])
    return logits.logsumexp(dim=-1) if softmax == "vocabulary" else None


def _slots(level: Level) -> int:
    return level.max_scan if level.children is None else level.children.slots


def _score(
    trie: Trie, depth: int, current: Beams, logits: Tensor, normaliser: Tensor | None, live: RowMask
) -> tuple[Tensor | None, Tensor | None]:
    """Return scores of incomplete prefixes and of complete identifiers, float32 [B, K * C].

    None if the level has none; -inf for illegal ones. logits: float32 [B, K or 1, V] over the
    level's vocabulary. normaliser: [B, K or 1], or None for the softmax over legal symbols.
    """
    level = trie.levels[depth]
    batch, beams = current.low.shape
    slots = _slots(level)
    last = depth + 1 == trie.depth
    ends = 1 if last else 2 * trie.levels[depth + 1].ends
    going, ended = (
        logits.new_empty(batch, beams * slots) if there else None for there in (ends != 1, ends > 0)
    )
    near, far = (None, None) if live.next_live is None else live.next_live
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
    """Return the top children of each query by totals [B, K * C], with parents and symbols.

    parents, symbols: int64 [B, beams] each.
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
    """Return nodes, pointers, starts and symbols of a level's child lists, None where absent."""
    lists = level.children
    if lists is None:
        return None, None, None, None
    if isinstance(lists, CSRChildren):
        return lists.nodes, lists.pointers, lists.starts, lists.symbols
    return lists.nodes, None, lists.starts, None


def _nodes(level: Level) -> int:
    return 0 if level.children is None else len(level.children.nodes)


def _shape(level: Level) -> dict[str, bool | int]:
    lists = level.children
    kept = 2 * isinstance(lists, DenseChildren)
    if isinstance(lists, CSRChildren) and lists.symbols is not None:
        kept = 1
    return {"LISTED": lists is not None, "KEPT": kept, "STEPS": _nodes(level).bit_length()}
