"""Fast decoder steps on fused weights; the beams of a query share its keys and values.

One product computes queries, keys and values, and several symbols are read in one pass. `fast/` has
a file for each model family. bf16 under autocast; norms, residuals and softmax are in float32.
"""

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from genir.models.fast.cache import Grouping, Memory, Pool, State
from genir.models.fast.openers import DecoderOpener
from genir.models.fast.reading import Reading
from genir.models.fast.weights import Decoder
from genir.models.precast import Watch

WASTE = 4
"""The pool is compacted if it holds this many times the slots that are still referenced."""


class FastSteps:
    """Decodes single symbols and runs of symbols with `net`; states are immutable.

    The fused weights are built on first use, and rebuilt if weights or autocast dtype change.
    """

    reads_runs = True

    def __init__(self, net: Any, opener: DecoderOpener) -> None:
        self.net = net
        self.opener = opener
        self.forget()

    def prepared(self) -> Decoder | None:
        """Return the fused weights, if they are built."""
        return self._decoder

    def forget(self) -> None:
        """Drop the fused weights, to free memory for training."""
        self._decoder: Decoder | None = None
        self._watch: Watch | None = None
        self._made_of: Any = None

    @torch.no_grad()
    def start(self, states: Tensor, mask: Tensor) -> State:
        """Return the initial state of encoded sources [B, S, H]; mask: added to their scores."""
        precision = _precision(states.device)
        with torch.autocast(states.device.type, enabled=False):
            decoder = self._decoder_in(precision, states.device)
            shape = (*states.shape[:2], 2, decoder.heads, decoder.size)
            bridged = states if decoder.bridge is None else decoder.bridge(states)
            layers = [layer.memory(bridged).view(shape) for layer in decoder.layers]
        memory = Memory(decoder, layers, mask.to(decoder.visible.dtype))
        pool = Pool([layers[0].new_empty(0, *shape[2:]) for _ in layers])
        queries = torch.arange(len(states), device=states.device)
        none = queries.new_empty(len(queries), 0)
        return State(memory, pool, none, torch.zeros_like(queries), queries, beams=1, length=0)

    def _decoder_in(self, dtype: torch.dtype, device: torch.device) -> Decoder:
        self._watch = self._watch or Watch(self.net)
        made_of = (dtype, self._watch.now())
        if self._decoder is None or self._made_of != made_of:
            decoder = self.opener(self.net, dtype)
            # CPU kernels take a float32 mask with bf16 inputs.
            kept = torch.float32 if device.type == "cpu" else dtype
            self._decoder = replace(decoder, visible=decoder.visible.to(kept))
            self._made_of = made_of
        return self._decoder

    @torch.no_grad()
    def step(self, state: State, parents: Tensor | None, embeds: Tensor) -> tuple[State, Tensor]:
        """Decode one position of each beam, embeds [B, K, H], to hidden states [B, K, H].

        parents: previous beams, int64 [B, K]; None at the first step.
        """
        if parents is not None:
            state = _follow(state, parents)
        assert state.beams == embeds.shape[1], "rows must be in order, equally many per query"
        longest = state.slots.shape[1] if state.length is None else state.length
        rows = embeds.flatten(0, 1)[:, None]
        reading = Reading(state, Grouping(state.beams), rows, longest + 1, None)
        hidden = reading.run().view(embeds.shape)
        length = None if state.length is None else state.length + 1
        return replace(state, slots=reading.slots, lengths=state.lengths + 1, length=length), hidden

    def continue_from(self, state: State, rows: Tensor) -> State:
        """Return a state whose rows are `rows`, int64 [M], of the given one.

        May synchronise with the device.
        """
        pool, slots = state.pool, state.slots.index_select(0, rows)
        if pool.used >= WASTE * slots.numel():
            pool, slots = pool.compact(slots)
        queries = state.queries.index_select(0, rows)
        beams = Grouping.of(queries, len(state.memory.mask)).even
        lengths = state.lengths.index_select(0, rows)
        return State(state.memory, pool, slots, lengths, queries, beams, state.length)

    @torch.no_grad()
    def read(
        self, state: State, rows: Tensor, embeds: Tensor, lengths: Tensor, last: bool = False
    ) -> tuple[State, Tensor]:
        """Decode several positions of some rows in one pass. May synchronise with the device.

        Args:
            state: Decoder state.
            rows: Distinct rows of the state, int64 [M]; other rows are unchanged.
            embeds: Decoder inputs, [M, T, H].
            lengths: Number of positions of each row, int64 [M].
            last: Return hidden states of the last positions only.

        Returns:
            The new state, and hidden states [M, T, H], or [M, 1, H] with `last`.
        """
        queries, before = (whole.index_select(0, rows) for whole in (state.queries, state.lengths))
        after = before + lengths
        longest = int(after.max())
        alike = len(rows) == len(state.lengths) and int(after.min()) == longest
        chosen = replace(state, slots=state.slots.index_select(0, rows), lengths=before)
        within = torch.arange(embeds.shape[1], device=embeds.device) < lengths[:, None]
        real = None if bool(within.all()) else within.flatten().nonzero()[:, 0]
        asking = queries if real is None else queries.repeat_interleave(lengths)
        grouping = Grouping.of(asking, len(state.memory.mask))
        reading = Reading(chosen, grouping, embeds, longest, real)
        if last and embeds.shape[1] > 1:
            ends = replace(chosen, slots=reading.slots, lengths=after - 1, length=None)
            grouping = Grouping.of(queries, len(state.memory.mask))
            final = Reading(ends, grouping, embeds[:, :1], longest, None)
            hidden = reading.run_to(final, lengths.cumsum(0) - 1)
        else:
            hidden = reading.run()
        following = replace(
            state,
            slots=_place(state.slots, rows, reading.slots),
            lengths=state.lengths.index_copy(0, rows, after),
            length=longest if alike else None,
        )
        return following, hidden

    def read_whole(self, state: State, queries: Tensor, embeds: Tensor) -> Tensor:
        """Decode prefixes, embeds [N, T, H], of queries [N] to hidden states [N, T, H].

        state: result of `start`.
        """
        state = self.continue_from(state, queries)
        rows = torch.arange(len(queries), device=queries.device)
        return self.read(state, rows, embeds, torch.full_like(rows, embeds.shape[1]))[1]


def _precision(device: torch.device) -> torch.dtype:
    if torch.is_autocast_enabled(device.type):
        return torch.get_autocast_dtype(device.type)
    return torch.float32


def _follow(state: State, parents: Tensor) -> State:
    """Return the state of beams that continue `parents`, int64 [B, K], without synchronisation."""
    assert state.beams is not None, "rows must be in order, equally many per query"
    batch, beams = parents.shape
    queries = torch.arange(batch, device=parents.device)[:, None].expand(-1, beams)
    rows = (queries * state.beams + parents).view(-1)
    return replace(
        state,
        slots=state.slots.index_select(0, rows),
        lengths=state.lengths.index_select(0, rows),
        queries=queries.reshape(-1),
        beams=beams,
    )


def _place(slots: Tensor, rows: Tensor, new: Tensor) -> Tensor:
    """Return the slots of all rows, padded, with those of some rows, [M, L], replaced."""
    width = max(slots.shape[1], new.shape[1])
    new = F.pad(new, (0, width - new.shape[1]))
    return F.pad(slots, (0, width - slots.shape[1])).index_copy(0, rows, new)
