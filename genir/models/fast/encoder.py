"""An encoder on weights joined for it, with fewer and larger steps than transformers takes.

Each family has a function that fills the record in. Knows no decoder.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutput

from genir.models.fast.weights import MASKED, Affine, FeedForward, Function


@dataclass(frozen=True)
class EncoderLayer:
    """Attention to itself and feed-forward, norms first. own: queries, keys and values in one."""

    own: Affine
    own_out: Affine
    own_norm: Function
    feed_forward: FeedForward
    norm: Function


@dataclass(frozen=True)
class Encoder:
    """A whole encoder, to be called as the one of transformers is.

    words: embeds token ids. visible: float32 [heads, 2 * far + 1], what is added to the score of a
    place from `far` back to `far` ahead; those farther off count as these. leave: the last norm.
    """

    words: Function
    layers: list[EncoderLayer]
    heads: int
    size: int
    visible: Tensor
    leave: Function

    @torch.no_grad()
    def __call__(self, input_ids: Tensor, attention_mask: Tensor) -> BaseModelOutput:
        """Encode sources, int64 [B, S] each: `last_hidden_state`, float32 [B, S, H]."""
        batch, length = input_ids.shape
        mask = self._mask(attention_mask)
        with torch.autocast(input_ids.device.type, enabled=False):
            states = self.words(input_ids).flatten(0, 1).to(torch.float32, copy=True)
            for layer in self.layers:
                asked, keys, values = (
                    layer.own(layer.own_norm(states))
                    .view(batch, length, 3, self.heads, self.size)
                    .permute(2, 0, 3, 1, 4)
                )
                found = F.scaled_dot_product_attention(asked, keys, values, mask, scale=1.0)
                states.add_(layer.own_out(found.transpose(1, 2).flatten(2).flatten(0, 1)))
                states.add_(layer.feed_forward(layer.norm(states)))
            made = self.leave(states).view(batch, length, -1)
        return BaseModelOutput(last_hidden_state=made)

    def _mask(self, attention_mask: Tensor) -> Tensor:
        """Return what is added to scores, [1 or B, heads, S, S]. Looks at the mask."""
        places = torch.arange(attention_mask.shape[1], device=attention_mask.device)
        far = self.visible.shape[1] // 2
        ahead = (places - places[:, None]).clamp(-far, far) + far
        mask = self.visible[:, ahead][None]
        real = attention_mask.bool()
        return mask if bool(real.all()) else mask.masked_fill(~real[:, None, None], MASKED)
