"""Linear maps whose weights lie as the CPU's matrix kernels read them.

Torch hands its kernels a plain matrix, which is read as it lies or laid out anew at every call.
Laid out once for oneDNN, a product with the few rows of a search takes between a half and a fifth
of the time (docs/decisions.md). For weights that do not change: nothing here can be trained.
"""

from collections.abc import Callable
from functools import cache, partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Product = Callable[[Tensor], Tensor]

ROWS = 80
"""How many rows the layout is made for; others go through it as fast (measured, from 1 to 300)."""
LEAST = 1 << 14
"""Entries below which a matrix is multiplied sooner than a kernel of its own is called."""


def product(weight: Tensor, bias: Tensor | None) -> Product:
    """Return the map from states [..., I], in the weight's precision, to [..., O]."""
    weight = weight.detach()
    if weight.device.type != "cpu" or weight.numel() < LEAST or not lays_out(weight.dtype):
        return partial(F.linear, weight=weight, bias=bias)
    return partial(_multiply, _lay_out(weight), bias)


@cache
def lays_out(dtype: torch.dtype) -> bool:
    """Tell whether this torch, on this processor, can lay matrices of a precision out.

    The operators are those that torch's own compiler emits; they are tried on a small product.
    """
    if dtype not in (torch.float32, torch.bfloat16):
        return False
    rows, weight = torch.ones(2, 16, dtype=dtype), torch.ones(16, 16, dtype=dtype)
    try:
        found = _multiply(_lay_out(weight), None, rows)
    except (RuntimeError, AttributeError):  # no such kernel, no such operator
        return False
    return torch.equal(found, torch.full_like(rows, 16))


def _lay_out(weight: Tensor) -> Tensor:
    laid: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), ROWS)
    return laid


def _multiply(laid: Tensor, bias: Tensor | None, states: Tensor) -> Tensor:
    if not states.numel():
        return states.new_empty(*states.shape[:-1], laid.shape[0])
    made: Tensor = torch.ops.mkldnn._linear_pointwise(states, laid, bias, "none", [], "")
    return made


class PackedLinear(nn.Module):
    """Stands in for a linear layer; `weight` is still there to be looked at."""

    def __init__(self, linear: nn.Linear, dtype: torch.dtype) -> None:
        super().__init__()
        weight, bias = linear.weight.detach(), linear.bias
        self.weight = nn.Parameter(weight.to(dtype), requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias.detach().to(dtype), False)
        self.product = product(self.weight, self.bias)

    def forward(self, states: Tensor) -> Tensor:
        """Multiply states [..., I], of any precision."""
        return self.product(states.to(self.weight.dtype))
