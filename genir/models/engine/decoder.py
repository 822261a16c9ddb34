"""Fast decoder steps on fused weights; the beams of a query share its keys and values.

One product computes queries, keys and values, and several symbols are read in one pass. This
package has a file for each model family. bf16 under autocast; norms, residuals and softmax are in
float32.
"""

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from genir.models.engine.converters import DecoderConverter
from genir.models.engine.forward import ForwardPass
from genir.models.engine.kv_cache import CrossAttentionCache, DecoderState, KVPool, QueryGroups
from genir.models.engine.weight_cache import ParameterVersions
from genir.models.engine.weights import Decoder

MAX_POOL_FACTOR = 4
"""The pool is compacted if it holds this many times the slots that are still referenced."""


class FusedDecoder:
    """Decodes single symbols and runs of symbols with `net`; states are immutable.

    The fused weights are built on first use, and rebuilt if weights or autocast dtype change.
    """

    def __init__(self, net: Any, converter: DecoderConverter) -> None:
        self.net = net
        self.converter = converter
        self.clear_cache()

    def prepared_weights(self) -> Decoder | None:
        """Return the fused weights, if they are built."""
        return self._decoder

    def clear_cache(self) -> None:
        """Drop the fused weights, to free memory for training."""
        self._decoder: Decoder | None = None
        self._watch: ParameterVersions | None = None
        self._made_of: Any = None

    @torch.no_grad()
    def encode(self, states: Tensor, mask: Tensor) -> DecoderState:
        """Return the initial state of encoded sources [B, S, H]; mask: added to their scores."""
        precision = _precision(states.device)
        with torch.autocast(states.device.type, enabled=False):
            decoder = self._decoder_in(precision, states.device)
            shape = (*states.shape[:2], 2, decoder.heads, decoder.size)
            projected = states if decoder.projection is None else decoder.projection(states)
            layers = [layer.cross_attention(projected).view(shape) for layer in decoder.layers]
        memory = CrossAttentionCache(decoder, layers, mask.to(decoder.attention_bias.dtype))
        pool = KVPool([layers[0].new_empty(0, *shape[2:]) for _ in layers])
        queries = torch.arange(len(states), device=states.device)
        none = queries.new_empty(len(queries), 0)
        return DecoderState(
            memory, pool, none, torch.zeros_like(queries), queries, beams=1, length=0
        )

    def _decoder_in(self, dtype: torch.dtype, device: torch.device) -> Decoder:
        self._watch = self._watch or ParameterVersions(self.net)
        made_of = (dtype, self._watch.current())
        if self._decoder is None or self._made_of != made_of:
            decoder = self.converter(self.net, dtype)
            # CPU kernels take a float32 mask with bf16 inputs.
            kept = torch.float32 if device.type == "cpu" else dtype
            self._decoder = replace(decoder, attention_bias=decoder.attention_bias.to(kept))
            self._made_of = made_of
        return self._decoder

    @torch.no_grad()
    def step(
        self, state: DecoderState, parents: Tensor | None, embeds: Tensor
    ) -> tuple[DecoderState, Tensor]:
        """Decode one position of each beam, embeds [B, K, H], to hidden states [B, K, H].

        parents: previous beams, int64 [B, K]; None at the first step.
        """
        if parents is not None:
            state = _reorder_beams(state, parents)
        assert state.beams == embeds.shape[1], "rows must be in order, equally many per query"
        longest = state.slots.shape[1] if state.length is None else state.length
        rows = embeds.flatten(0, 1)[:, None]
        reading = ForwardPass(state, QueryGroups(state.beams), rows, longest + 1, None)
        hidden = reading.run().view(embeds.shape)
        length = None if state.length is None else state.length + 1
        return replace(state, slots=reading.slots, lengths=state.lengths + 1, length=length), hidden

    def select_rows(self, state: DecoderState, rows: Tensor) -> DecoderState:
        """Return a state whose rows are `rows`, int64 [M], of the given one.

        May synchronise with the device.
        """
        pool, slots = state.pool, state.slots.index_select(0, rows)
        if pool.used >= MAX_POOL_FACTOR * slots.numel():
            pool, slots = pool.compact(slots)
        queries = state.queries.index_select(0, rows)
        beams = QueryGroups.build(queries, len(state.cross_attention.mask)).even
        lengths = state.lengths.index_select(0, rows)
        return DecoderState(
            state.cross_attention, pool, slots, lengths, queries, beams, state.length
        )

    @torch.no_grad()
    def extend(
        self, state: DecoderState, rows: Tensor, embeds: Tensor, lengths: Tensor, last: bool = False
    ) -> tuple[DecoderState, Tensor]:
        """Decode several positions of some rows in one pass. May synchronise with the device.

        Args:
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
        grouping = QueryGroups.build(asking, len(state.cross_attention.mask))
        reading = ForwardPass(chosen, grouping, embeds, longest, real)
        if last and embeds.shape[1] > 1:
            ends = replace(chosen, slots=reading.slots, lengths=after - 1, length=None)
            grouping = QueryGroups.build(queries, len(state.cross_attention.mask))
            final = ForwardPass(ends, grouping, embeds[:, :1], longest, None)
            hidden = reading.run_last(final, lengths.cumsum(0) - 1)
        else:
            hidden = reading.run()
        following = replace(
            state,
            slots=_place_rows(state.slots, rows, reading.slots),
            lengths=state.lengths.index_copy(0, rows, after),
            length=longest if alike else None,
        )
        return following, hidden

    def teacher_forced_states(self, state: DecoderState, queries: Tensor, embeds: Tensor) -> Tensor:
        """Decode prefixes, embeds [N, T, H], of queries [N] to hidden states [N, T, H].

        state: result of `encode`.
        """
        state = self.select_rows(state, queries)
        rows = torch.arange(len(queries), device=queries.device)
        return self.extend(state, rows, embeds, torch.full_like(rows, embeds.shape[1]))[1]


def _precision(device: torch.device) -> torch.dtype:
    if torch.is_autocast_enabled(device.type):
        return torch.get_autocast_dtype(device.type)
    return torch.float32


def _reorder_beams(state: DecoderState, parents: Tensor) -> DecoderState:
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


def _place_rows(slots: Tensor, rows: Tensor, new: Tensor) -> Tensor:
    """Return the slots of all rows, padded, with those of some rows, [M, L], replaced."""
    width = max(slots.shape[1], new.shape[1])
    new = F.pad(new, (0, width - new.shape[1]))
    return F.pad(slots, (0, width - slots.shape[1])).index_copy(0, rows, new)
