"""The fast path: steps through a decoder on weights joined for it, beams sharing their source.

Keys and values of a source are made once a query; one product makes queries, keys and values; a run
of symbols is read in one pass. Knows no identifiers, no trie, and no architecture: `fast/` has a
file for each family. In bf16 under autocast; norms, residuals and softmax stay in float32.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import (
    BartForConditionalGeneration,
    BertLMHeadModel,
    EncoderDecoderModel,
    MBartForConditionalGeneration,
    MT5ForConditionalGeneration,
    T5ForConditionalGeneration,
)

from genir.errors import InputError
from genir.models.fast.bart import open_bart
from genir.models.fast.bert import open_bert
from genir.models.fast.bundles import Bundle
from genir.models.fast.cache import Grouping, Memory, Pool, State
from genir.models.fast.t5 import open_t5
from genir.models.fast.weights import Decoder, Layer
from genir.models.precast import weights_of

Opener = Callable[[Any, torch.dtype], Decoder]
FAMILIES: list[tuple[Any, Opener]] = [
    ((T5ForConditionalGeneration, MT5ForConditionalGeneration), open_t5),
    ((BartForConditionalGeneration, MBartForConditionalGeneration), open_bart),
]
WASTE = 4
"""A pool is made anew when it has so many times the slots that its rows refer to."""


def find_opener(net: Any) -> Opener | None:
    """Return what opens a transformers encoder-decoder for the fast path, if it has one."""
    if isinstance(net, EncoderDecoderModel):
        return open_bert if isinstance(net.decoder, BertLMHeadModel) else None
    return next((opener for family, opener in FAMILIES if isinstance(net, family)), None)


class FastSteps:
    """Steps and runs through the decoder of `net`; `State` is never changed.

    Weights are joined when first needed, and anew when they have changed or autocast differs.
    """

    reads_runs = True

    def __init__(self, net: Any, opener: Opener) -> None:
        self.net = net
        self.opener = opener
        self.forget()

    def forget(self) -> None:
        """Let go of the joined weights, so that training has the memory."""
        self._decoder: Decoder | None = None
        self._made_of: Any = None

    @torch.no_grad()
    def start(self, states: Tensor, mask: Tensor) -> State:
        """Begin a row a query: encoded sources [B, S, H], and what is added to scores of them."""
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
        made_of = (dtype, weights_of(self.net))
        if self._decoder is None or self._made_of != made_of:
            decoder = self.opener(self.net, dtype)
            # Beside bf16, kernels for CPUs alone take a mask in float32.
            kept = torch.float32 if device.type == "cpu" else dtype
            self._decoder = replace(decoder, visible=decoder.visible.to(kept))
            self._made_of = made_of
        return self._decoder

    @torch.no_grad()
    def step(self, state: State, parents: Tensor | None, embeds: Tensor) -> tuple[State, Tensor]:
        """Read one more place of each beam, embeds [B, K, H]: hidden [B, K, H].

        parents: int64 [B, K], the former beams that these continue; None at the first step.
        """
        if parents is not None:
            state = _follow(state, parents)
        assert state.beams == embeds.shape[1], "rows must lie in order, as many a query"
        longest = state.slots.shape[1] if state.length is None else state.length
        rows = embeds.flatten(0, 1)[:, None]
        reading = _Reading(state, Grouping(state.beams), rows, longest + 1, None)
        hidden = reading.run().view(embeds.shape)
        length = None if state.length is None else state.length + 1
        return replace(state, slots=reading.slots, lengths=state.lengths + 1, length=length), hidden

    def continue_from(self, state: State, rows: Tensor) -> State:
        """Return a state whose rows, int64 [M], continue those of the former; may wait.

        Each keeps its query and its length.
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
        self, state: State, rows: Tensor, embeds: Tensor, lengths: Tensor
    ) -> tuple[State, Tensor]:
        """Read runs of places, embeds [M, T, H], of which row i has lengths[i]: hidden [M, T, H].

        rows: int64 [M], all different; the others stay as they are. May wait for the device.
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
        reading = _Reading(chosen, grouping, embeds, longest, real)
        hidden = reading.run()
        following = replace(
            state,
            slots=_place(state.slots, rows, reading.slots),
            lengths=state.lengths.index_copy(0, rows, after),
            length=longest if alike else None,
        )
        return following, hidden

    def read_whole(self, state: State, queries: Tensor, embeds: Tensor) -> Tensor:
        """Read prefixes from their start, embeds [N, T, H], of queries [N]: hidden [N, T, H].

        state: as `start` made it.
        """
        state = self.continue_from(state, queries)
        rows = torch.arange(len(queries), device=queries.device)
        return self.read(state, rows, embeds, torch.full_like(rows, embeds.shape[1]))[1]


class _Reading:
    """One pass over N rows, T places each, through all layers.

    real: int64 [P], which of the N * T places there are, where runs are of unlike length; None for
    all. grouping: by query, of the rows, or of the places there are. slots: int64 [N, L], of all
    places that are then read; L is the longest row's. bundles: rows whose runs are about as long,
    which attend to their own places together.
    """

    def __init__(
        self, state: State, grouping: Grouping, embeds: Tensor, length: int, real: Tensor | None
    ) -> None:
        rows, run, _ = embeds.shape
        alike = state.length is not None  # then one row's places are those of all
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
        """Return hidden [N, T, H]."""
        with torch.autocast(self.embeds.device.type, enabled=False):
            embeds = self.embeds.to(torch.float32, copy=True)  # added to in its place
            hidden = self._pack(self._enter(embeds))
            for number, layer in enumerate(self.decoder.layers):
                hidden = self._layer(number, layer, hidden)
            return self._unpack(
                hidden if self.decoder.leave is None else self.decoder.leave(hidden)
            )

    def _pack(self, whole: Tensor) -> Tensor:
        """Keep the places there are: [N, T, ...] to [P, ...]."""
        flat = whole.flatten(0, 1)
        return flat if self.real is None else flat.index_select(0, self.real)

    def _unpack(self, packed: Tensor) -> Tensor:
        """Put [P, ...] where it belongs, [N, T, ...], with zeros between."""
        if self.real is None:
            return packed.view(*self.shape, *packed.shape[1:])
        whole = packed.new_zeros(self.shape[0] * self.shape[1], *packed.shape[1:])
        return whole.index_copy_(0, self.real, packed).view(*self.shape, *packed.shape[1:])

    def _layer(self, number: int, layer: Layer, hidden: Tensor) -> Tensor:
        decoder = self.decoder
        hidden = decoder.residual(layer.own_norm, hidden, partial(self._own, number, layer))
        hidden = decoder.residual(layer.cross_norm, hidden, partial(self._cross, number, layer))
        return decoder.residual(layer.norm, hidden, partial(decoder.feed_forward, layer))

    def _enter(self, embeds: Tensor) -> Tensor:
        positions, enter = self.decoder.positions, self.decoder.enter
        if positions is not None:
            if self.slots.shape[1] > len(positions):
                raise InputError(
                    f"an identifier of {self.slots.shape[1]} symbols is longer than the "
                    f"{len(positions)} positions of the model; make shorter identifiers"
                )
            embeds = embeds + F.embedding(self.places.clamp(max=len(positions) - 1), positions)
        return embeds if enter is None else enter(embeds)

    def _bundles(self, before: Tensor, mask: Tensor | None) -> list[Bundle]:
        """Return all rows as one bundle, or those of unlike length in several."""
        if self.real is None:
            return [Bundle.whole(self.slots, self.shape[1], mask)]
        runs = torch.bincount(self.real // self.shape[1], minlength=self.shape[0])
        return list(Bundle.split(self.slots, before, runs, mask))

    def _mask(self, alike: bool) -> Tensor | None:
        """Return what is added to scores, [N or 1, heads or 1, T, L]; None where all is seen."""
        decoder, width = self.decoder, self.slots.shape[1]
        if alike and self.places.shape[1] == 1 and not decoder.relative:
            return None
        steps = self.places[..., None] - torch.arange(width, device=self.places.device)
        column = steps.clamp(-1, decoder.visible.shape[1] - 2) + 1
        return decoder.visible[:, column].transpose(0, 1)

    def _own(self, number: int, layer: Layer, states: Tensor) -> Tensor:
        """Attend to the places of the same row."""
        made = layer.own(states).view(len(states), 3, self.decoder.heads, self.decoder.size)
        kept = self.pool.layers[number]
        kept[self.claimed] = made[:, 1:]
        asked, found = made[:, 0], made.new_empty(len(made), made[0, 0].numel())
        for bundle in self.bundles:
            known = kept.index_select(0, bundle.slots).view(*bundle.known, *kept.shape[1:])
            asking = bundle.take(asked).view(*bundle.asked, *asked.shape[1:])
            bundle.put(found, self._attend(asking, known, bundle.mask).flatten(0, 1))
        return layer.own_out(found)

    def _cross(self, number: int, layer: Layer, states: Tensor) -> Tensor:
        """Attend to the source, which the rows of a query share."""
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


def _precision(device: torch.device) -> torch.dtype:
    if torch.is_autocast_enabled(device.type):
        return torch.get_autocast_dtype(device.type)
    return torch.float32


def _follow(state: State, parents: Tensor) -> State:
    """Return the state of beams that continue `parents`, int64 [B, K]; never waits."""
    assert state.beams is not None, "rows must lie in order, as many a query"
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
    """Return the slots of all rows, wide enough, with those of some rows, [M, L], replaced."""
    width = max(slots.shape[1], new.shape[1])
    new = F.pad(new, (0, width - new.shape[1]))
    return F.pad(slots, (0, width - slots.shape[1])).index_copy(0, rows, new)
