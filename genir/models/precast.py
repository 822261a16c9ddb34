"""A network whose weights are in autocast's precision once, not anew at every call.

Under autocast, torch converts the weights of each linear map whenever it is called: for one short
query that costs more than the products do. Knows no kind of network.
"""

import copy
from typing import Any

import torch
from torch import nn


class Precast:
    """Calls `net`; answers under autocast come from a twin with converted linear maps.

    The twin shares all other parameters, and is made anew when the weights have changed or autocast
    differs. The same figures, bit by bit: torch would convert them to the same.
    """

    def __init__(self, net: nn.Module) -> None:
        self.net = net
        self.forget()

    def forget(self) -> None:
        """Let go of the twin, so that training has the memory."""
        self._twin: nn.Module | None = None
        self._made_of: Any = None

    def __call__(self, **inputs: Any) -> Any:
        """Call the network, or its twin."""
        return self.now()(**inputs)

    def now(self) -> nn.Module:
        """Return the network, or its twin under autocast where nothing is to be trained."""
        device = next(self.net.parameters()).device.type
        if self.net.training or torch.is_grad_enabled() or not torch.is_autocast_enabled(device):
            return self.net
        return self._twin_in(torch.get_autocast_dtype(device))

    def _twin_in(self, dtype: torch.dtype) -> nn.Module:
        made_of = (dtype, weights_of(self.net))
        if self._twin is None or self._made_of != made_of:
            shared = {id(t): t for t in (*self.net.parameters(), *self.net.buffers())}
            self._twin = copy.deepcopy(self.net, shared)
            for part in self._twin.modules():
                if isinstance(part, nn.Linear):
                    for name, own in list(part.named_parameters(recurse=False)):
                        part.register_parameter(name, nn.Parameter(own.detach().to(dtype), False))
            self._made_of = made_of
        return self._twin


def weights_of(net: nn.Module) -> list[tuple[int, bool | int]]:
    """Return what changes when the parameters do: where they are, and their versions.

    A parameter made in inference mode counts no versions: it is not there to be trained.
    """
    return [(p.data_ptr(), p.is_inference() or p._version) for p in net.parameters()]
