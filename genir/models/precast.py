"""A network whose weights are converted and laid out once, not anew at every call.

Under autocast, torch converts the weights of each linear map whenever it is called: for one short
query that costs more than the products do. Knows no kind of network.
"""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers.activations import NewGELUActivation

from genir.models.packed import PackedLinear

Opener = Callable[[Any, torch.dtype], Callable[..., Any]]


class Precast:
    """Calls `net`; answers under autocast come from a twin with converted linear maps.

    The twin shares all other parameters, and is made anew when the weights have changed or autocast
    differs. The same figures, bit by bit: torch would convert them to the same. packed: its linear
    maps are laid out for the CPU as well, without autocast too; the figures then are the same up to
    rounding. opener: makes the twin on a CPU, in other steps. twin: if there is one now.
    """

    def __init__(self, net: nn.Module, packed: bool = False, opener: Opener | None = None) -> None:
        self.net = net
        self.packed = packed
        self.opener = opener
        self.forget()

    def forget(self) -> None:
        """Let go of the twin, so that training has the memory."""
        self.twin: Any = None
        self._watch: Watch | None = None
        self._made_of: Any = None

    def __call__(self, **inputs: Any) -> Any:
        """Call the network, or its twin."""
        return self.now()(**inputs)

    def now(self) -> Any:
        """Return the network, or its twin where that is faster and nothing is to be trained."""
        device = next(self.net.parameters()).device.type
        if self.net.training or torch.is_grad_enabled():
            return self.net
        if torch.is_autocast_enabled(device):
            return self._twin_in(torch.get_autocast_dtype(device), device)
        if self.packed and device == "cpu":
            return self._twin_in(torch.float32, device)
        return self.net

    def _twin_in(self, dtype: torch.dtype, device: str) -> Any:
        self._watch = self._watch or Watch(self.net)
        made_of = (dtype, self._watch.now())
        if self.twin is None or self._made_of != made_of:
            self.twin = self._make(dtype, device)
            self._made_of = made_of
        return self.twin

    @torch.no_grad()
    def _make(self, dtype: torch.dtype, device: str) -> Any:
        if self.opener is not None and device == "cpu":
            return self.opener(self.net, dtype)
        shared = {id(t): t for t in (*self.net.parameters(), *self.net.buffers())}
        return _converted(copy.deepcopy(self.net, shared), dtype, self.packed)


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


class Watch:
    """Tells whether the parameters of a network have changed; of the modules that it has now.

    To ask a network for its parameters takes some ten times as long as to look at them.
    """

    def __init__(self, net: nn.Module) -> None:
        self.places = [
            (module._parameters, name)
            for module in net.modules()
            for name, parameter in module._parameters.items()
            if parameter is not None
        ]

    def now(self) -> list[tuple[int, bool | int]]:
        """Return what changes when the parameters do: where they are, and their versions.

        A parameter made in inference mode counts no versions: it is not there to be trained.
        """
        parameters = [held[name] for held, name in self.places]
        return [(p.data_ptr(), p.is_inference() or p._version) for p in parameters if p is not None]
