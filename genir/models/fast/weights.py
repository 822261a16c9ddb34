"""The weights of a decoder as records, so that one engine steps through every family.

Each family has a file that fills the records in from a transformers model. Knows no beams.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.activations import GELUActivation, NewGELUActivation

from genir.models.packed import Activation, Product, is_laid_out, product

MASKED = float(torch.finfo(torch.float16).min)
"""Added to a masked attention score: nothing after the softmax, and finite in every precision."""

Function = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Affine:
    """A linear map, or several of one input joined into one product: [..., I] to [..., O].

    dtype: the precision that it is multiplied in.
    """

    product: Product
    dtype: torch.dtype

    @classmethod
    def of(
        cls,
        dtype: torch.dtype,
        *maps: nn.Linear,
        gain: Tensor | None = None,
        then: Activation | None = None,
    ) -> Self:
        """Join linear maps, in the precision that they are to be multiplied in.

        gain: [I], what the input would have to be multiplied by before. then: applied after.
        """
        weight = _joined([each.weight for each in maps])
        biases = [each.bias for each in maps if each.bias is not None]
        weight = (weight if gain is None else weight * gain.detach()).to(dtype)
        return cls(product(weight, _joined(biases).to(dtype) if biases else None, then), dtype)

    def __call__(self, states: Tensor) -> Tensor:
        """Multiply states [..., I]."""
        return self.product(states.to(self.dtype))


def _joined(parts: list[Any]) -> Tensor:
    """Return the parts below each other; a single one is shared, not copied."""
    return parts[0].detach() if len(parts) == 1 else torch.cat([part.detach() for part in parts])


@dataclass(frozen=True)
class Norm:
    """Layer normalisation, in float32."""

    weight: Tensor
    bias: Tensor
    eps: float

    @classmethod
    def of(cls, norm: nn.LayerNorm) -> Self:
        """Take over a layer norm."""
        return cls(norm.weight.detach(), norm.bias.detach(), norm.eps)

    def __call__(self, states: Tensor) -> Tensor:
        """Normalise states [..., H], float32."""
        return F.layer_norm(states, self.weight.shape, self.weight, self.bias, self.eps)


@dataclass(frozen=True)
class RootMeanSquare:
    """T5's normalisation, in float32; its gain belongs to the map that follows."""

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
    """Two maps with an activation between them, and a gate if there are three.

    inner: from states [..., H] to what `outer` is given.
    """

    inner: Function
    outer: Affine

    @classmethod
    def of(
        cls,
        dtype: torch.dtype,
        maps: Sequence[nn.Linear],
        outer: nn.Linear,
        act: Activation,
        gain: Tensor | None = None,
    ) -> Self:
        """Take over the maps: the only one, or the gate, which is activated, and the values."""
        last = Affine.of(dtype, outer)
        if len(maps) == 1:
            return cls(Affine.of(dtype, *maps, gain=gain, then=act), last)
        if act.fused is None or not is_laid_out(maps[0].weight, dtype):
            return cls(partial(_gated, Affine.of(dtype, *maps, gain=gain), act.function), last)
        gate, values = maps
        activated = Affine.of(dtype, gate, gain=gain, then=act)
        return cls(partial(_gated_apart, activated, Affine.of(dtype, values, gain=gain)), last)

    def __call__(self, states: Tensor) -> Tensor:
        """Apply the maps to states [..., H]."""
        return self.outer(self.inner(states))


def _gated(both: Affine, act: Function, states: Tensor) -> Tensor:
    gate, values = both(states).chunk(2, dim=-1)
    return act(gate).mul_(values)


def _gated_apart(gate: Affine, values: Affine, states: Tensor) -> Tensor:
    states = states.to(gate.dtype)  # once
    return values(states).mul_(gate(states))


@dataclass(frozen=True)
class Layer:
    """One layer: attention to itself, attention to the source, feed-forward.

    own: queries, keys and values in one; memory: keys and values of the source in one.
    """

    own: Affine
    own_out: Affine
    own_norm: Function
    query: Affine
    memory: Affine
    cross_out: Affine
    cross_norm: Function
    feed_forward: FeedForward
    norm: Function


@dataclass(frozen=True)
class Decoder:
    """A whole decoder between its word embeddings and its output matrix.

    heads, size, scale: of attention. norm_first: each part reads normalised states, and not: what a
    part returns is normalised. visible: float32 [heads or 1, far + 2], what is added to the score
    of a place -1 (hidden), 0, 1, ... steps back, the last for all that are farther. positions:
    [P, H], added to what is read. bridge: from the encoder's width. leave: the last step.
    """

    layers: list[Layer]
    heads: int
    size: int
    scale: float
    norm_first: bool
    visible: Tensor
    positions: Tensor | None = None
    enter: Function | None = None
    bridge: Affine | None = None
    leave: Function | None = None

    @property
    def relative(self) -> bool:
        """Tell whether it matters to attention how far back a place is."""
        return self.visible.shape[1] > 2


def residual(norm_first: bool, norm: Function, states: Tensor, part: Function) -> Tensor:
    """Add what a part of a layer makes of the states, in their place."""
    if norm_first:
        return states.add_(part(norm(states)))
    return norm(states.add_(part(states)))


def seen(device: torch.device) -> Tensor:
    """Return `Decoder.visible` where the past is seen alike: [1, 2]."""
    return torch.tensor([[MASKED, 0.0]], device=device)


def activation(module: Any) -> Activation:
    """Return an activation of transformers, fused where it has it in eight steps."""
    if isinstance(module, NewGELUActivation):
        return Activation(partial(F.gelu, approximate="tanh"), ("gelu", "tanh"))
    if isinstance(module, GELUActivation) and module.act is F.gelu:
        return Activation(F.gelu, ("gelu", "none"))
    return Activation(module, ("relu", "") if isinstance(module, nn.ReLU) else None)
