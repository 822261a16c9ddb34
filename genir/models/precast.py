"""A network whose weights are converted and laid out once, not anew at every call.

Under autocast, torch converts the weights of each linear map whenever it is called: for one short
query that costs more than the products do. Knows no kind of network.
"""

import copy
from typing import Any

import torch
from torch import nn
from transformers.activations import NewGELUActivation

from genir.models.packed import PackedLinear


class Precast:
    """Calls `net`; answers under autocast come from a twin with converted linear maps.

    The twin shares all other parameters, and is made anew when the weights have changed or autocast
    differs. The same figures, bit by bit: torch would convert them to the same. packed: its linear
    maps are laid out for the CPU as well, without autocast too; the figures then are the same up to
    rounding. twin: if there is one now.
    """

    def __init__(self, net: nn.Module, packed: bool = False) -> None:
        self.net = net
        self.packed = packed
        self.forget()

    def forget(self) -> None:
        """Let go of the twin, so that training has the memory."""
        self.twin: nn.Module | None = None
        self._made_of: Any = None

    def __call__(self, **inputs: Any) -> Any:
        """Call the network, or its twin."""
        return self.now()(**inputs)

    def now(self) -> nn.Module:
        """Return the network, or its twin where that is faster and nothing is to be trained."""
        device = next(self.net.parameters()).device.type
        if self.net.training or torch.is_grad_enabled():
            return self.net
        if torch.is_autocast_enabled(device):
            return self._twin_in(torch.get_autocast_dtype(device))
        if self.packed and device == "cpu":
            return self._twin_in(torch.float32)
        return self.net

    def _twin_in(self, dtype: torch.dtype) -> nn.Module:
        made_of = (dtype, weights_of(self.net))
        if self.twin is None or self._made_of != made_of:
            shared = {id(t): t for t in (*self.net.parameters(), *self.net.buffers())}
            self.twin = _converted(copy.deepcopy(self.net, shared), dtype, self.packed)
            self._made_of = made_of
        return self.twin


def _converted(net: nn.Module, dtype: torch.dtype, packed: bool) -> nn.Module:
    """Put converted linear maps in the place of those that there are."""
    convert = PackedLinear if packed else _cast
    if isinstance(net, nn.Linear):
        return convert(net, dtype)
    for part in list(net.modules()):
        for name, child in list(part.named_children()):
            if isinstance(child, nn.Linear):
                setattr(part, name, convert(child, dtype))
            if packed and isinstance(child, NewGELUActivation):
                setattr(part, name, nn.GELU(approximate="tanh"))  # one step instead of eight
    return net


def _cast(linear: nn.Linear, dtype: torch.dtype) -> nn.Linear:
    for name, own in list(linear.named_parameters(recurse=False)):
        linear.register_parameter(name, nn.Parameter(own.detach().to(dtype), False))
    return linear


def weights_of(net: nn.Module) -> list[tuple[int, bool | int]]:
    """Return what changes when the parameters do: where they are, and their versions.

    A parameter made in inference mode counts no versions: it is not there to be trained.
    """
    return [(p.data_ptr(), p.is_inference() or p._version) for p in net.parameters()]
