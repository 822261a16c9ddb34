"""Linear layers with weights prepacked for oneDNN on a CPU.

Torch otherwise repacks weights at every call. A product of prepacked weights with the few rows of a
search takes between a half and a fifth of the time (docs/design/). For inference only.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Product = Callable[[Tensor], Tensor]

PACKING_BATCH_ROWS = 80
"""Number of input rows to optimize the layout for; others are as fast (measured, 1 to 300)."""
MIN_PACKED_ENTRIES = 1 << 14
"""Entries below which a plain product is faster than the oneDNN call."""


@dataclass(frozen=True)
class Activation:
    """Elementwise activation after a product.

    fused: oneDNN's name and algorithm of the activation, if it can be fused with the product.
    """

    function: Callable[[Tensor], Tensor]
    fused: tuple[str, str] | None = None


def product(weight: Tensor, bias: Tensor | None, then: Activation | None = None) -> Product:
    """Return a function from states [..., I], in the weight's dtype, to activated [..., O]."""
    weight = weight.detach()
    if not is_prepacked(weight, weight.dtype):
        plain = partial(F.linear, weight=weight, bias=bias)
        return plain if then is None else partial(_apply_activation, then.function, plain)
    laid = _prepack(weight)
    if then is None:
        return partial(_multiply, laid, bias)
    if then.fused is None:
        return partial(_apply_activation, then.function, partial(_multiply, laid, bias))
    return partial(_multiply, laid, bias, then=then.fused)


def is_prepacked(weight: Tensor, dtype: torch.dtype) -> bool:
    """Return whether products with this matrix in this dtype use oneDNN."""
    return (
        weight.device.type == "cpu"
        and weight.numel() >= MIN_PACKED_ENTRIES
        and supports_prepacking(dtype)
    )


def _apply_activation(function: Product, before: Product, states: Tensor) -> Tensor:
    return function(before(states))


@cache
def supports_prepacking(dtype: torch.dtype) -> bool:
    """Return whether this torch build and processor support prepacked weights of a dtype.

    The operators, which torch's compiler emits, are tried on a small product.
    """
    if dtype not in (torch.float32, torch.bfloat16):
        return False
    rows, weight = torch.ones(2, 16, dtype=dtype), torch.ones(16, 16, dtype=dtype)
    try:
        found = _multiply(_prepack(weight), None, rows)
    except (RuntimeError, AttributeError):  # missing kernel or operator
        return False
    return torch.equal(found, torch.full_like(rows, 16))


def _prepack(weight: Tensor) -> Tensor:
    laid: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), PACKING_BATCH_ROWS)
    return laid


def _multiply(
    laid: Tensor, bias: Tensor | None, states: Tensor, then: tuple[str, str] = ("none", "")
) -> Tensor:
    if not states.numel():
        return states.new_empty(*states.shape[:-1], laid.shape[0])
    name, way = then
    made: Tensor = torch.ops.mkldnn._linear_pointwise(states, laid, bias, name, [], way)
    return made


class PrepackedLinear(nn.Module):
    """Inference-only replacement of a linear layer; `weight` remains readable."""

    def __init__(self, linear: nn.Linear, dtype: torch.dtype) -> None:
        super().__init__()
        weight, bias = linear.weight.detach(), linear.bias
        self.weight = nn.Parameter(weight.to(dtype), requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias.detach().to(dtype), False)
        self.product = product(self.weight, self.bias)

    def forward(self, states: Tensor) -> Tensor:
        """Multiply states [..., I] of any dtype."""
        return self.product(states.to(self.weight.dtype))
