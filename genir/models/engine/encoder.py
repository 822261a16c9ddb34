"""Encoder on fused weights, with fewer and larger kernels than transformers.

Each model family has a converter to these records.
"""

from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from genir.models.engine.weights import MASKED, FeedForward, Function, FusedLinear, residual


@dataclass(frozen=True)
class EncoderOutput:
    """Output of an encoder, with transformers' name: hidden states of the tokens, [B, S, H]."""

    last_hidden_state: Tensor


@dataclass(frozen=True)
class EncoderLayer:
    """Self-attention and feed-forward. self_attention: fused query, key and value projection."""

    self_attention: FusedLinear
    self_attention_out: FusedLinear
    self_attention_norm: Function
    feed_forward: FeedForward
    norm: Function


@dataclass(frozen=True)
class Encoder:
    """An encoder, called like the one of transformers.

    Attributes:
        size: Dimension of a head.
        scale: Factor of attention scores.
        norm_first: Pre-norm if true, else post-norm.
        attention_bias: Relative position bias, float32 [heads, 2 * far + 1], for distances from
            -far to far, clamped; None without.
        positions: Absolute position embeddings, [P, H], or None.
        embed: Applied before the first layer.
        final_norm: Applied after the last layer.
    """

    word_embeddings: Function
    layers: list[EncoderLayer]
    heads: int
    size: int
    scale: float
    norm_first: bool
    attention_bias: Tensor | None = None
    positions: Tensor | None = None
    embed: Function | None = None
    final_norm: Function | None = None

    @torch.no_grad()
    def __call__(self, input_ids: Tensor, attention_mask: Tensor) -> EncoderOutput:
        """Encode sources, int64 [B, S] each: `last_hidden_state`, float32 [B, S, H]."""
        mask = self._mask(attention_mask)
        with torch.autocast(input_ids.device.type, enabled=False):
            states = self._enter(input_ids)
            attend = partial(self._attend, input_ids.shape, mask)
            for layer in self.layers:
                states = residual(
                    self.norm_first, layer.self_attention_norm, states, partial(attend, layer)
                )
                states = residual(self.norm_first, layer.norm, states, layer.feed_forward)
            states = states if self.final_norm is None else self.final_norm(states)
        return EncoderOutput(last_hidden_state=states.view(*input_ids.shape, -1))

    def _enter(self, input_ids: Tensor) -> Tensor:
        """Return the inputs of the first layer, float32 [B * S, H], which may be overwritten."""
        words = self.word_embeddings(input_ids)
        if self.positions is not None:
            words = words + self.positions[: input_ids.shape[1]]
        if self.embed is not None:
            words = self.embed(words)
        fresh = self.positions is not None or self.embed is not None
        return words.flatten(0, 1).to(torch.float32, copy=not fresh)

    def _attend(
        self, shape: torch.Size, mask: Tensor | None, layer: EncoderLayer, states: Tensor
    ) -> Tensor:
        made = layer.self_attention(states).view(*shape, 3, self.heads, self.size)
        asked, keys, values = made.permute(2, 0, 3, 1, 4)
        found = F.scaled_dot_product_attention(asked, keys, values, mask, scale=self.scale)
        return layer.self_attention_out(found.transpose(1, 2).flatten(2).flatten(0, 1))

    def _mask(self, attention_mask: Tensor) -> Tensor | None:
        """Return the attention bias, [1 or B, heads or 1, S or 1, S]. Reads values of the mask."""
        real, mask = attention_mask.bool(), None
        if self.attention_bias is not None:
            places = torch.arange(attention_mask.shape[1], device=attention_mask.device)
            far = self.attention_bias.shape[1] // 2
            ahead = (places - places[:, None]).clamp(-far, far) + far
            mask = self.attention_bias[:, ahead][None]
        if bool(real.all()):
            return mask
        mask = torch.zeros((), device=real.device) if mask is None else mask
        return mask.masked_fill(~real[:, None, None], MASKED)
