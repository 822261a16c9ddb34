"""Weights of a decoder as records, so that one engine runs every model family.

Each family has a converter from a transformers model.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genir.models.engine.onednn import Activation, Product, is_prepacked, product

MASKED = float(torch.finfo(torch.float16).min)
"""Added to a masked attention score: 0 after the softmax, and finite in every dtype."""

Function = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class FusedLinear:
    """One linear layer, or several with the same input fused into one: [..., I] to [..., O].

    dtype: precision of the product.
    """

    product: Product
    dtype: torch.dtype

    @classmethod
    def build(
        cls,
        dtype: torch.dtype,
        *maps: nn.Linear,
        gain: Tensor | None = None,
        then: Activation | None = None,
    ) -> Self:
        """Fuse linear layers in the given precision.

        gain: factor of the input, [I], folded into the weights. then: activation of the output.
        """
        weight = _joined([each.weight for each in maps])
        biases = [each.bias for each in maps if each.bias is not None]
        weight = (weight if gain is None else weight * gain.detach()).to(dtype)
        return cls(product(weight, _joined(biases).to(dtype) if biases else None, then), dtype)

    def __call__(self, states: Tensor) -> Tensor:
        """Multiply states [..., I]."""
        return self.product(states.to(self.dtype))


def _joined(parts: list[Any]) -> Tensor:
    """Concatenate along the first dimension; a single part is shared, not copied."""
    return parts[0].detach() if len(parts) == 1 else torch.cat([part.detach() for part in parts])


@dataclass(frozen=True)
class Norm:
    """Layer normalisation, in float32."""

    weight: Tensor
    bias: Tensor
    eps: float

    @classmethod
    def build(cls, norm: nn.LayerNorm) -> Self:
        """Convert a layer norm."""
        return cls(norm.weight.detach(), norm.bias.detach(), norm.eps)

    def __call__(self, states: Tensor) -> Tensor:
        """Normalise states [..., H], float32."""
        return F.layer_norm(states, self.weight.shape, self.weight, self.bias, self.eps)


@dataclass(frozen=True)
class RMSNorm:
    """RMS norm of T5, in float32; its gain is folded into the next linear layer."""

    eps: float

    def __call__(self, states: Tensor) -> Tensor:
        """Normalise states [..., H], float32."""
        if states.is_cuda:
            return F.rms_norm(states, states.shape[-1:], None, self.eps)
        # On a CPU torch's own takes six times as long (measured).
        norms = torch.linalg.vector_norm(states, dim=-1, keepdim=True)
        least = norms.new_full((), self.eps)
        return states * torch.addcmul(least, norms, norms, value=1 / states.shape[-1]).rsqrt_()


@dataclass(frozen=True)
class FeedForward:
    """Feed-forward layer, gated if it has three linear maps.

    inner: from states [..., H] to the input of `outer`.
    """

    inner: Function
    outer: FusedLinear

    @classmethod
    def build(
        cls,
        dtype: torch.dtype,
        maps: Sequence[nn.Linear],
        outer: nn.Linear,
        act: Activation,
        gain: Tensor | None = None,
    ) -> Self:
        """Convert linear maps: one, or the activated gate and the values."""
        last = FusedLinear.build(dtype, outer)
        if len(maps) == 1:
            return cls(FusedLinear.build(dtype, *maps, gain=gain, then=act), last)
        if act.fused is None or not is_prepacked(maps[0].weight, dtype):
            return cls(
                partial(_gated, FusedLinear.build(dtype, *maps, gain=gain), act.function), last
            )
        gate, values = maps
        activated = FusedLinear.build(dtype, gate, gain=gain, then=act)
        return cls(
            partial(_gated_apart, activated, FusedLinear.build(dtype, values, gain=gain)), last
        )

    def __call__(self, states: Tensor) -> Tensor:
        """Apply the layer to states [..., H]."""
        return self.outer(self.inner(states))


def _gated(both: FusedLinear, act: Function, states: Tensor) -> Tensor:
    gate, values = both(states).chunk(2, dim=-1)
    return act(gate).mul_(values)


def _gated_apart(gate: FusedLinear, values: FusedLinear, states: Tensor) -> Tensor:
    states = states.to(gate.dtype)  # convert once for both
    return values(states).mul_(gate(states))


@dataclass(frozen=True)
class Layer:
    """One layer: self-attention, cross-attention, feed-forward.

    self_attention: fused query, key and value projection; cross_attention: fused cross-attention
    key and value projection.
    """

    self_attention: FusedLinear
    self_attention_out: FusedLinear
    self_attention_norm: Function
    cross_query: FusedLinear
    cross_attention: FusedLinear
    cross_out: FusedLinear
    cross_norm: Function
    feed_forward: FeedForward
    norm: Function


@dataclass(frozen=True)
class Decoder:
    """A decoder between its word embeddings and its output matrix.

    Attributes:
        size: Dimension of a head.
        scale: Factor of attention scores.
        norm_first: Pre-norm if true, else post-norm.
        attention_bias: Attention bias by distance, float32 [heads or 1, far + 2], for distances -1
            (future, masked), 0, 1, ..., the last one for all larger distances.
        positions: Absolute position embeddings, [P, H], or None.
        embed: Applied before the first layer.
        projection: Projection from the encoder's width, or None.
        final_norm: Applied after the last layer.
    """

    layers: list[Layer]
    heads: int
    size: int
    scale: float
    norm_first: bool
    attention_bias: Tensor
    positions: Tensor | None = None
    embed: Function | None = None
    projection: FusedLinear | None = None
    final_norm: Function | None = None

    @property
    def relative(self) -> bool:
        """Whether the attention bias depends on the distance."""
        return self.attention_bias.shape[1] > 2


def residual(norm_first: bool, norm: Function, states: Tensor, part: Function) -> Tensor:
    """Add a sublayer's residual to the states in place, with pre-norm or post-norm."""
    if norm_first:
        return states.add_(part(norm(states)))
    return norm(states.add_(part(states)))


def full_attention_bias(device: torch.device) -> Tensor:
    """Return `Decoder.attention_bias` of a plain causal mask: [1, 2]."""
    return torch.tensor([[MASKED, 0.0]], device=device)


def activation(module: Any) -> Activation:
    """Return an activation of torch or transformers, fused if oneDNN supports it."""
    if isinstance(module, nn.GELU):
        return Activation(
            partial(F.gelu, approximate=module.approximate), ("gelu", module.approximate)
        )
    from transformers.activations import GELUActivation, NewGELUActivation

    if isinstance(module, NewGELUActivation):
        return Activation(partial(F.gelu, approximate="tanh"), ("gelu", "tanh"))
    if isinstance(module, GELUActivation) and module.act is F.gelu:
        return Activation(F.gelu, ("gelu", "none"))
    return Activation(module, ("relu", "") if isinstance(module, nn.ReLU) else None)
