"""One forward pass through a decoder with fused weights."""

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from genir.errors import InputError
from genir.models.engine.kv_cache import DecoderState, QueryGroups
from genir.models.engine.length_buckets import LengthBucket
from genir.models.engine.weights import Layer, residual


class ForwardPass:
    """A forward pass over N rows of T positions through all layers.

    Attributes:
        is_token: Indices of the P real positions among N * T, int64 [P], if runs differ in length;
            None for all.
        grouping: Rows, or real positions, grouped by query.
        slots: Pool slots of all positions after the pass, int64 [N, L].
        buckets: Buckets of rows with runs of similar length, for self-attention.
    """

    def __init__(
        self,
        state: DecoderState,
        grouping: QueryGroups,
        embeds: Tensor,
        length: int,
        real: Tensor | None,
    ) -> None:
        rows, run, _ = embeds.shape
        alike = state.length is not None  # then all rows have the same positions
        self.decoder = state.cross_attention.decoder
        self.memory = state.cross_attention
        self.pool = state.pool
        self.grouping = grouping
        self.embeds = embeds
        self.shape, self.is_token = (rows, run), real
        count = rows * run if real is None else len(real)
        self.first = state.pool.allocate(count)
        self.claimed = slice(self.first, self.first + count)
        within = torch.arange(run, device=embeds.device)
        self.places = state.lengths[: 1 if alike else None, None] + within  # [N or 1, T]
        fresh = self._unpack(torch.arange(self.first, state.pool.used, device=embeds.device))
        slots = F.pad(state.slots, (0, run)).scatter_(1, self.places.expand(rows, -1), fresh)
        self.slots = slots[:, :length]
        self.buckets = self._length_buckets(state.lengths, self._mask(alike))
        self.source_mask = grouping.select(state.cross_attention.mask)

    def run(self) -> Tensor:
        """Return hidden states [N, T, H]."""
        with torch.autocast(self.embeds.device.type, enabled=False):
            return self._final_hidden(self._run_layers(self.decoder.layers))

    def run_last(self, final: "ForwardPass", ends: Tensor) -> Tensor:
        """Return hidden states [N, 1, H] of one position of each row.

        Only these positions go through the last layer; the others add their keys and values.

        Args:
            final: A pass over the same rows with one position each.
            ends: Index of these positions among all, int64 [N].
        """
        with torch.autocast(self.embeds.device.type, enabled=False):
            *layers, last = self.decoder.layers
            hidden = self._run_layers(layers)
            entering = last.self_attention_norm(hidden) if self.decoder.norm_first else hidden
            self._write_cache(len(layers), last.self_attention(entering))
            return final._final_hidden(
                final._layer(len(layers), last, hidden.index_select(0, ends))
            )

    def _run_layers(self, layers: Sequence[Layer]) -> Tensor:
        embeds = self.embeds.to(torch.float32, copy=True)  # modified in place
        hidden = self._pack(self._embed(embeds))
        for number, layer in enumerate(layers):
            hidden = self._layer(number, layer, hidden)
        return hidden

    def _final_hidden(self, hidden: Tensor) -> Tensor:
        leave = self.decoder.final_norm
        return self._unpack(hidden if leave is None else leave(hidden))

    def _pack(self, whole: Tensor) -> Tensor:
        """Select the real positions: [N, T, ...] to [P, ...]."""
        flat = whole.flatten(0, 1)
        return flat if self.is_token is None else flat.index_select(0, self.is_token)

    def _unpack(self, packed: Tensor) -> Tensor:
        """Scatter [P, ...] to [N, T, ...], with zeros elsewhere."""
        if self.is_token is None:
            return packed.view(*self.shape, *packed.shape[1:])
        whole = packed.new_zeros(self.shape[0] * self.shape[1], *packed.shape[1:])
        return whole.index_copy_(0, self.is_token, packed).view(*self.shape, *packed.shape[1:])

    def _layer(self, number: int, layer: Layer, hidden: Tensor) -> Tensor:
        first = self.decoder.norm_first
        hidden = residual(
            first, layer.self_attention_norm, hidden, partial(self._self_attention, number, layer)
        )
        hidden = residual(
            first, layer.cross_norm, hidden, partial(self._cross_attention, number, layer)
        )
        return residual(first, layer.norm, hidden, layer.feed_forward)

    def _embed(self, embeds: Tensor) -> Tensor:
        positions, enter = self.decoder.positions, self.decoder.embed
        if positions is not None:
            if self.slots.shape[1] > len(positions):
                raise InputError(
                    f"decoder: an identifier of {self.slots.shape[1]} symbols exceeds the "
                    f"{len(positions)} positions of the model; make shorter identifiers"
                )
            embeds = embeds + F.embedding(self.places.clamp(max=len(positions) - 1), positions)
        return embeds if enter is None else enter(embeds)

    def _length_buckets(self, before: Tensor, mask: Tensor | None) -> list[LengthBucket]:
        """Return all rows as one bucket, or in several if runs differ in length."""
        if self.is_token is None:
            return [LengthBucket.whole(self.slots, self.shape[1], mask)]
        runs = torch.bincount(self.is_token // self.shape[1], minlength=self.shape[0])
        return list(LengthBucket.split(self.slots, before, runs, mask))

    def _mask(self, alike: bool) -> Tensor | None:
        """Return the attention bias, [N or 1, heads or 1, T, L]; None if nothing is masked."""
        decoder, width = self.decoder, self.slots.shape[1]
        if alike and self.places.shape[1] == 1 and not decoder.relative:
            return None
        steps = self.places[..., None] - torch.arange(width, device=self.places.device)
        column = steps.clamp(-1, decoder.attention_bias.shape[1] - 2) + 1
        return decoder.attention_bias[:, column].transpose(0, 1)

    def _self_attention(self, number: int, layer: Layer, states: Tensor) -> Tensor:
        made = self._write_cache(number, layer.self_attention(states))
        kept = self.pool.layers[number]
        asked, found = made[:, 0], made.new_empty(len(made), made[0, 0].numel())
        for bundle in self.buckets:
            known = kept.index_select(0, bundle.slots).view(*bundle.cached, *kept.shape[1:])
            asking = bundle.gather(asked).view(*bundle.queries, *asked.shape[1:])
            bundle.scatter(found, self._attend(asking, known, bundle.mask).flatten(0, 1))
        return layer.self_attention_out(found)

    def _write_cache(self, number: int, made: Tensor) -> Tensor:
        """Store keys and values; made: [P, 3 * I], with queries. Returns [P, 3, heads, size]."""
        made = made.view(len(made), 3, self.decoder.heads, self.decoder.size)
        self.pool.layers[number][self.claimed] = made[:, 1:]
        return made

    def _cross_attention(self, number: int, layer: Layer, states: Tensor) -> Tensor:
        """Cross-attention to the source, which the rows of a query share."""
        run = self.shape[1] if self.is_token is None else 1
        asked = layer.cross_query(states).view(-1, run, self.decoder.heads, self.decoder.size)
        source = self.grouping.select(self.memory.layers[number])
        found = self._attend(self.grouping.gather(asked), source, self.source_mask)
        return layer.cross_out(self.grouping.scatter(found, run).flatten(0, 1))

    def _attend(self, asked: Tensor, known: Tensor, mask: Tensor | None) -> Tensor:
        """Attend from [N, T, heads, size] to keys and values [N, L, 2, heads, size]: [N, T, I]."""
        keys, values = known.unbind(2)
        found = F.scaled_dot_product_attention(
            asked.transpose(1, 2),
            keys.transpose(1, 2),
            values.transpose(1, 2),
            attn_mask=mask,
            scale=self.decoder.scale,
        )
        return found.transpose(1, 2).flatten(2)
