"""One forward pass through a decoder with fused weights."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from genir.errors import InputError
from genir.models.fast.bundles import Bundle
from genir.models.fast.cache import Grouping, State
from genir.models.fast.weights import Layer, residual


class Reading:
    """A forward pass over N rows of T positions through all layers.

    Attributes:
        real: Indices of the P real positions among N * T, int64 [P], if runs differ in length; None
            for all.
        grouping: Rows, or real positions, grouped by query.
        slots: Pool slots of all positions after the pass, int64 [N, L].
        bundles: Buckets of rows with runs of similar length, for self-attention.
    """

    def __init__(
        self, state: State, grouping: Grouping, embeds: Tensor, length: int, real: Tensor | None
    ) -> None:
        rows, run, _ = embeds.shape
        alike = state.length is not None  # then all rows have the same positions
        self.decoder = state.memory.decoder
        self.memory = state.memory
        self.pool = state.pool
        self.grouping = grouping
        self.embeds = embeds
        self.shape, self.real = (rows, run), real
        count = rows * run if real is None else len(real)
        self.first = state.pool.claim(count)
        self.claimed = slice(self.first, self.first + count)
        within = torch.arange(run, device=embeds.device)
        self.places = state.lengths[: 1 if alike else None, None] + within  # [N or 1, T]
        fresh = self._unpack(torch.arange(self.first, state.pool.used, device=embeds.device))
        slots = F.pad(state.slots, (0, run)).scatter_(1, self.places.expand(rows, -1), fresh)
        self.slots = slots[:, :length]
        self.bundles = self._bundles(state.lengths, self._mask(alike))
        self.source_mask = grouping.select(state.memory.mask)

    def run(self) -> Tensor:
        """Return hidden states [N, T, H]."""
        with torch.autocast(self.embeds.device.type, enabled=False):
            embeds = self.embeds.to(torch.float32, copy=True)  # modified in place
            hidden = self._pack(self._enter(embeds))
            for number, layer in enumerate(self.decoder.layers):
                hidden = self._layer(number, layer, hidden)
            return self._leave(hidden)

    def run_to(self, final: "Reading", ends: Tensor) -> Tensor:
        """Return hidden states [N, 1, H] of one position of each row.

        Only these positions go through the last layer; the others add their keys and values.

        Args:
            final: A pass over the same rows with one position each.
            ends: Index of these positions among all, int64 [N].
        """
        with torch.autocast(self.embeds.device.type, enabled=False):
            embeds = self.embeds.to(torch.float32, copy=True)
            hidden = self._pack(self._enter(embeds))
            *layers, last = self.decoder.layers
            for number, layer in enumerate(layers):
                hidden = self._layer(number, layer, hidden)
            entering = last.own_norm(hidden) if self.decoder.norm_first else hidden
            self._remember(len(layers), last.own(entering))
            return final._leave(final._layer(len(layers), last, hidden.index_select(0, ends)))

    def _leave(self, hidden: Tensor) -> Tensor:
        leave = self.decoder.leave
        return self._unpack(hidden if leave is None else leave(hidden))

    def _pack(self, whole: Tensor) -> Tensor:
        """Select the real positions: [N, T, ...] to [P, ...]."""
        flat = whole.flatten(0, 1)
        return flat if self.real is None else flat.index_select(0, self.real)

    def _unpack(self, packed: Tensor) -> Tensor:
        """Scatter [P, ...] to [N, T, ...], with zeros elsewhere."""
        if self.real is None:
            return packed.view(*self.shape, *packed.shape[1:])
        whole = packed.new_zeros(self.shape[0] * self.shape[1], *packed.shape[1:])
        return whole.index_copy_(0, self.real, packed).view(*self.shape, *packed.shape[1:])

    def _layer(self, number: int, layer: Layer, hidden: Tensor) -> Tensor:
        first = self.decoder.norm_first
        hidden = residual(first, layer.own_norm, hidden, partial(self._own, number, layer))
        hidden = residual(first, layer.cross_norm, hidden, partial(self._cross, number, layer))
        return residual(first, layer.norm, hidden, layer.feed_forward)

    def _enter(self, embeds: Tensor) -> Tensor:
        positions, enter = self.decoder.positions, self.decoder.enter
        if positions is not None:
            if self.slots.shape[1] > len(positions):
                raise InputError(
                    f"decoder: an identifier of {self.slots.shape[1]} symbols exceeds the "
                    f"{len(positions)} positions of the model; make shorter identifiers"
                )
            embeds = embeds + F.embedding(self.places.clamp(max=len(positions) - 1), positions)
        return embeds if enter is None else enter(embeds)

    def _bundles(self, before: Tensor, mask: Tensor | None) -> list[Bundle]:
        """Return all rows as one bucket, or in several if runs differ in length."""
        if self.real is None:
            return [Bundle.whole(self.slots, self.shape[1], mask)]
        runs = torch.bincount(self.real // self.shape[1], minlength=self.shape[0])
        return list(Bundle.split(self.slots, before, runs, mask))

    def _mask(self, alike: bool) -> Tensor | None:
        """Return the attention bias, [N or 1, heads or 1, T, L]; None if nothing is masked."""
        decoder, width = self.decoder, self.slots.shape[1]
        if alike and self.places.shape[1] == 1 and not decoder.relative:
            return None
        steps = self.places[..., None] - torch.arange(width, device=self.places.device)
        column = steps.clamp(-1, decoder.visible.shape[1] - 2) + 1
        return decoder.visible[:, column].transpose(0, 1)

    def _own(self, number: int, layer: Layer, states: Tensor) -> Tensor:
        """Self-attention over the positions of the same row."""
        made = self._remember(number, layer.own(states))
        kept = self.pool.layers[number]
        asked, found = made[:, 0], made.new_empty(len(made), made[0, 0].numel())
        for bundle in self.bundles:
            known = kept.index_select(0, bundle.slots).view(*bundle.known, *kept.shape[1:])
            asking = bundle.take(asked).view(*bundle.asked, *asked.shape[1:])
            bundle.put(found, self._attend(asking, known, bundle.mask).flatten(0, 1))
        return layer.own_out(found)

    def _remember(self, number: int, made: Tensor) -> Tensor:
        """Store keys and values; made: [P, 3 * I], with queries. Returns [P, 3, heads, size]."""
        made = made.view(len(made), 3, self.decoder.heads, self.decoder.size)
        self.pool.layers[number][self.claimed] = made[:, 1:]
        return made

    def _cross(self, number: int, layer: Layer, states: Tensor) -> Tensor:
        """Cross-attention to the source, which the rows of a query share."""
        run = self.shape[1] if self.real is None else 1
        asked = layer.query(states).view(-1, run, self.decoder.heads, self.decoder.size)
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
