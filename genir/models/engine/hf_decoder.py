"""Decoding steps through any encoder-decoder by the public API of transformers.

One symbol per step; the cross-attention cache is copied to each beam, as transformers requires.
"""

import copy
import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput


@dataclass(frozen=True)
class HFDecoderState:
    """Decoder state: `length` positions decoded for each of `beams` beams per query.

    states: [B, S, H]; mask: added to attention scores, [B, 1, 1, S].
    """

    states: Tensor
    mask: Tensor
    cache: EncoderDecoderCache | None
    beams: int
    length: int

    @property
    def lengths(self) -> Tensor:
        """Number of positions decoded by each row, int64 [B * beams]."""
        return torch.full((len(self.mask) * self.beams,), self.length, device=self.mask.device)


class HFDecoder:
    """Steps through the decoder of `net`; states are immutable."""

    def __init__(self, net: Any) -> None:
        self.net = net
        # `cache` in transformers 5.24 was `past_key_values` before.
        known = inspect.signature(net.forward).parameters
        self.cache_name = "cache" if "cache" in known else "past_key_values"

    def clear_cache(self) -> None:
        """Do nothing: there are no prepared weights."""

    def encode(self, states: Tensor, mask: Tensor) -> HFDecoderState:
        """Return the initial state of encoded sources [B, S, H]; mask: added to their scores."""
        return HFDecoderState(states, mask, None, beams=1, length=0)

    def step(
        self, state: HFDecoderState, parents: Tensor | None, embeds: Tensor
    ) -> tuple[HFDecoderState, Tensor]:
        """Decode one position of each beam, embeds [B, K, H], to hidden states [B, K, H].

        The decoder mask is passed explicitly: transformers would otherwise synchronise with the
        device to find that nothing is masked.
        """
        batch, beams, _ = embeds.shape
        length = state.length + 1
        answer = run_decoder(
            self.net,
            state.states,
            state.mask.repeat_interleave(beams, dim=0),
            decoder_inputs_embeds=embeds.flatten(0, 1)[:, None],
            decoder_attention_mask=state.mask.new_zeros(batch * beams, 1, 1, length),
            use_cache=True,
            **{self.cache_name: None if parents is None else _reorder_beams(state, parents)},
        )
        following = HFDecoderState(state.states, state.mask, answer[self.cache_name], beams, length)
        return following, answer.logits.view(batch, beams, -1)

    def teacher_forced_states(
        self, state: HFDecoderState, queries: Tensor, embeds: Tensor
    ) -> Tensor:
        """Decode prefixes, embeds [N, T, H], of queries [N] to hidden states [N, T, H]."""
        states, mask = state.states[queries], state.mask[queries]
        hidden: Tensor = run_decoder(self.net, states, mask, decoder_inputs_embeds=embeds).logits
        return hidden


def run_decoder(net: Any, states: Tensor, mask: Tensor, **inputs: Any) -> Any:
    """Call transformers on encoded sources.

    The sources are not copied to beams: after the first step only cached keys and values are used.
    """
    encoded = BaseModelOutput(last_hidden_state=states)
    return net(encoder_outputs=encoded, attention_mask=mask, **inputs)


def _reorder_beams(state: HFDecoderState, parents: Tensor) -> EncoderDecoderCache:
    """Return the cache of beams that continue `parents`, int64 [B, K]."""
    batch, beams = parents.shape
    assert state.cache is not None, "the first step has no parents"
    first = torch.arange(batch, device=parents.device)[:, None] * state.beams
    cross = state.cache.cross_attention_cache
    if beams != state.beams:
        cross = _select(cross, first.expand(-1, beams).reshape(-1))
    own = _select(state.cache.self_attention_cache, (first + parents).view(-1))
    return EncoderDecoderCache(own, cross)


def _select(cache: DynamicCache, rows: Tensor) -> DynamicCache:
    chosen = copy.copy(cache)
    chosen.layers = [copy.copy(layer) for layer in cache.layers]
    chosen.batch_select_indices(rows)
    return chosen
