"""Triton kernels that score and select the edges of all beams, one program per beam.

`score_children` fuses `Trie.children`, `RowMask.any_live` and `edge_scorers.score_edges`; it
writes scores only. `take_children` finds the row ranges of the selected edges. `beam_search` calls
both. With TRITON_INTERPRET=1 they run on a CPU, slowly, for tests. Branches with local variables
are separate functions, since Triton needs one shape for a variable in all branches.
"""

import triton
import triton.language as tl

from genir.decoding.row_mask import BLOCK_ROWS, BLOCK_SHIFT, MAX_NEAR_DISTANCE
from genir.decoding.trie import NARROW_NODE_ROWS
from genir.identifiers.table import PAD

RUN = triton.next_power_of_2(NARROW_NODE_ROWS)

_NARROW, _RUN, _PAD = tl.constexpr(NARROW_NODE_ROWS), tl.constexpr(RUN), tl.constexpr(PAD)
_FAR, _SHIFT = tl.constexpr(MAX_NEAR_DISTANCE), tl.constexpr(BLOCK_SHIFT)
assert BLOCK_ROWS == MAX_NEAR_DISTANCE + 1


@triton.jit
def _find(nodes, count, low, STEPS: tl.constexpr):
    """Return the index of a node in the sorted first rows (binary search)."""
    left = low * 0
    right = left + count
    for _ in range(STEPS):
        middle = (left + right) // 2
        smaller = (tl.load(nodes + middle, left < right, other=0) < low) & (left < right)
        right = tl.where(smaller, right, middle)
        left = tl.where(smaller, middle + 1, left)
    return left


@triton.jit
def _list_of(node, pointers, slots_count, KEPT: tl.constexpr):
    """Return offset and length of a node's list."""
    if KEPT == 2:
        begin = node * (slots_count + 1)
        count = begin * 0 + slots_count
    else:
        begin = tl.load(pointers + node).to(tl.int64)
        count = tl.load(pointers + node + 1) - begin
    return begin, count


@triton.jit
def _is_legal(low, high, used, near, far, MASKED: tl.constexpr):
    """Return whether each row range holds a live row; see `RowMask.any_live`."""
    legal = used & (low < high)
    if MASKED:
        gap = tl.load(near + low, legal, other=0).to(tl.int64)
        beyond = tl.load(far + ((low + _FAR) >> _SHIFT), legal & (gap == _FAR), other=0)
        legal = legal & (tl.where(gap < _FAR, low + gap, beyond.to(tl.int64)) < high)
    return legal


@triton.jit
def _narrow(low, high, column, stride):
    """Return symbols, first rows, ends and use of a narrow node's slots; see `_scan_rows`."""
    slots = tl.arange(0, _RUN)
    rows = low + slots
    inside = rows < high
    symbols = tl.load(column + rows * stride, inside, other=_PAD)
    before = tl.load(column + (rows - 1) * stride, inside & (slots > 0), other=_PAD)
    begins = inside & ((slots == 0) | (symbols != before))
    later = begins[None, :] & (slots[None, :] > slots[:, None])
    ends = tl.min(tl.where(later, rows[None, :], high), axis=1)
    return symbols.to(tl.int64), rows, ends, begins


@triton.jit
def _wide(low, high, slots, begin, count, column, stride, starts, listed, KEPT: tl.constexpr):
    """Return symbols, first rows, ends and use of slots of a listed node; see
    `ChildLists.read`. KEPT: where symbols are, see `score_children`."""
    used = slots < count
    rows = low + tl.load(starts + begin + slots, used, other=0)
    following = tl.load(starts + begin + slots + 1, slots + 1 < count, other=0)
    ends = tl.where(slots + 1 < count, low + following, high)
    if KEPT == 2:
        symbols = slots
    elif KEPT == 1:
        symbols = tl.load(listed + begin + slots, used, other=_PAD)
    else:
        symbols = tl.load(column + rows * stride, used, other=_PAD)
    return symbols.to(tl.int64), rows, ends, used


@triton.jit
def _put(going, ends, slots, inside, total, rows, column, stride, ENDS: tl.constexpr):
    """Store totals in the buffers of incomplete prefixes and of complete identifiers."""
    if ENDS == 0:
        tl.store(going + slots, total, inside)
    elif ENDS == 1:
        tl.store(ends + slots, total, inside)
    else:
        over = tl.load(column + rows * stride + 1, total > float("-inf"), other=0) == _PAD
        tl.store(going + slots, tl.where(over, float("-inf"), total), inside)
        tl.store(ends + slots, tl.where(over, total, float("-inf")), inside)


@triton.jit
def _score_narrow(
    low, high, score, logits, column, stride, near, far, going, ends, slots_count,
    MASKED: tl.constexpr, LEGAL: tl.constexpr, ENDS: tl.constexpr, WINDOW: tl.constexpr,
):  # fmt: skip
    """Score the children of a node without a list; unused slots get -inf."""
    symbols, rows, upper, used = _narrow(low, high, column, stride)
    legal = _is_legal(rows, upper, used, near, far, MASKED)
    logit = tl.load(logits + symbols, legal, other=float("-inf"))
    if LEGAL:
        most = tl.max(logit, axis=0)
        base = tl.where(most == float("-inf"), 0.0, most)
        score -= base + tl.log(tl.sum(tl.exp(logit - base), axis=0))
    total = tl.where(legal, score + logit, float("-inf"))
    slots = tl.arange(0, _RUN)
    _put(going, ends, slots, slots < slots_count, total, rows, column, stride, ENDS)
    for first in range(_RUN, slots_count, WINDOW):
        others = first + tl.arange(0, WINDOW)
        nothing = tl.full((WINDOW,), float("-inf"), tl.float32)
        _put(going, ends, others, others < slots_count, nothing, others, column, stride, ENDS)


@triton.jit
def _score_wide(
    low, high, score, logits, column, stride, begin, count, starts, listed, near, far, going, ends,
    slots_count, KEPT: tl.constexpr, MASKED: tl.constexpr, LEGAL: tl.constexpr, ENDS: tl.constexpr,
    WINDOW: tl.constexpr,
):  # fmt: skip
    """Score the children of a node with a list, one window at a time."""
    if LEGAL:
        most = low.to(tl.float32) * 0 + float("-inf")
        mass = low.to(tl.float32) * 0
        for first in range(0, count, WINDOW):
            slots = first + tl.arange(0, WINDOW)
            symbols, rows, upper, used = _wide(
                low, high, slots, begin, count, column, stride, starts, listed, KEPT
            )
            legal = _is_legal(rows, upper, used, near, far, MASKED)
            logit = tl.load(logits + symbols, legal, other=float("-inf"))
            more = tl.maximum(most, tl.max(logit, axis=0))
            base = tl.where(more == float("-inf"), 0.0, more)
            mass = mass * tl.exp(most - base) + tl.sum(tl.exp(logit - base), axis=0)
            most = more
        score -= tl.where(mass > 0, most + tl.log(mass), 0.0)
    for start in range(0, slots_count, WINDOW):
        places = start + tl.arange(0, WINDOW)
        names, lows, highs, there = _wide(
            low, high, places, begin, count, column, stride, starts, listed, KEPT
        )
        open_ = _is_legal(lows, highs, there, near, far, MASKED)
        logits_ = tl.load(logits + names, open_, other=float("-inf"))
        total = tl.where(open_, score + logits_, float("-inf"))
        _put(going, ends, places, places < slots_count, total, lows, column, stride, ENDS)


@triton.jit(do_not_specialize=["beams", "width", "nodes_count", "slots_count"])
def score_children(
    low_at, high_at, score_at, logits, normaliser, column, nodes, pointers, starts, listed,
    near, far, index, going, ends,
    beams, width, stride, nodes_count, slots_count, near_row, far_row,
    SHARED: tl.constexpr, LISTED: tl.constexpr, KEPT: tl.constexpr, MASKED: tl.constexpr,
    INDEXED: tl.constexpr, LEGAL: tl.constexpr, ENDS: tl.constexpr, STEPS: tl.constexpr,
    WINDOW: tl.constexpr,
):  # fmt: skip
    """Score the children of one beam's node; `beam_search._score` names the arguments.

    KEPT: 0 if symbols are read from the rows, 1 if they are in the lists, 2 if dense.
    """
    beam = tl.program_id(0).to(tl.int64)
    query = beam // beams
    low, high = tl.load(low_at + beam), tl.load(high_at + beam)
    score = tl.load(score_at + beam)
    line = query if SHARED else beam
    logits += line * width
    if ENDS != 1:
        going += beam * slots_count
    if ENDS != 0:
        ends += beam * slots_count
    if MASKED and INDEXED:
        mask = tl.load(index + query)
        near += mask * near_row
        far += mask * far_row
    if not LEGAL:
        score -= tl.load(normaliser + line)
    if high - low <= _NARROW:
        _score_narrow(
            low, high, score, logits, column, stride, near, far, going, ends, slots_count,
            MASKED, LEGAL, ENDS, WINDOW,
        )  # fmt: skip
    elif LISTED:
        node = _find(nodes, nodes_count, low, STEPS)
        begin, count = _list_of(node, pointers, slots_count, KEPT)
        _score_wide(
            low, high, score, logits, column, stride, begin, count, starts, listed, near, far,
            going, ends, slots_count, KEPT, MASKED, LEGAL, ENDS, WINDOW,
        )  # fmt: skip


@triton.jit
def _take_narrow(low, high, slot, place, column, stride, new_low, new_high, taken):
    """Store row range and symbol of one slot of a node without a list."""
    symbols, _, upper, _ = _narrow(low, high, column, stride)
    here = tl.arange(0, _RUN) == slot
    tl.store(new_low + place, low + slot)
    tl.store(new_high + place, tl.sum(tl.where(here, upper, 0), axis=0))
    tl.store(taken + place, tl.sum(tl.where(here, symbols, 0), axis=0))


@triton.jit
def _take_wide(
    low, high, slot, place, column, stride, begin, count, starts, listed, new_low, new_high, taken,
    KEPT: tl.constexpr,
):  # fmt: skip
    """Store row range and symbol of one slot of a node with a list."""
    symbol, row, upper, _ = _wide(
        low, high, slot, begin, count, column, stride, starts, listed, KEPT
    )
    tl.store(new_low + place, row)
    tl.store(new_high + place, upper)
    tl.store(taken + place, symbol)


@triton.jit(do_not_specialize=["beams", "chosen_count", "nodes_count", "slots_count"])
def take_children(
    low_at, high_at, total_at, chosen_at, column, nodes, pointers, starts, listed,
    new_low, new_high, parents, taken,
    beams, chosen_count, stride, nodes_count, slots_count,
    LISTED: tl.constexpr, KEPT: tl.constexpr, STEPS: tl.constexpr,
):  # fmt: skip
    """Store row range, parent and symbol of one selected slot; arguments: `beam_search._take`."""
    place = tl.program_id(0).to(tl.int64)
    chosen, alive = tl.load(chosen_at + place), tl.load(total_at + place) > float("-inf")
    parent, slot = chosen // slots_count, chosen % slots_count
    beam = place // chosen_count * beams + parent
    low, high = tl.load(low_at + beam), tl.load(high_at + beam)
    tl.store(parents + place, parent)
    if not alive:
        tl.store(new_low + place, low * 0)
        tl.store(new_high + place, low * 0)
        tl.store(taken + place, low * 0)
    elif high - low <= _NARROW:
        _take_narrow(low, high, slot, place, column, stride, new_low, new_high, taken)
    elif LISTED:
        node = _find(nodes, nodes_count, low, STEPS)
        begin, count = _list_of(node, pointers, slots_count, KEPT)
        _take_wide(
            low, high, slot, place, column, stride, begin, count, starts, listed,
            new_low, new_high, taken, KEPT,
        )  # fmt: skip
