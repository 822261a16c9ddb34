"""Cache of converted and prepacked weights for inference.

Under autocast, torch converts the weights of each linear layer at every call. For one short query
this costs more than the products.
"""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from genir.models.engine.onednn import PrepackedLinear

Converter = Callable[[Any, torch.dtype], Callable[..., Any]]


class CastCache:
    """Calls `net`, or in inference a copy of it with converted linear layers.

    The copy shares all other parameters and is rebuilt if the weights or the autocast dtype change.
    Its results are equal bit by bit.

    Attributes:
        packed: Linear layers are also prepacked for the CPU, even without autocast. Results are
            then equal up to rounding.
        converter: Builds the copy on a CPU in another form.
        cast_copy: The current copy, if there is one.
    """

    def __init__(
        self, net: nn.Module, packed: bool = False, converter: Converter | None = None
    ) -> None:
        self.net = net
        self.packed = packed
        self.converter = converter
        self.clear_cache()

    def clear_cache(self) -> None:
        """Drop the copy, to free memory for training."""
        self.cast_copy: Any = None
        self._watch: ParameterVersions | None = None
        self._made_of: Any = None

    def __call__(self, **inputs: Any) -> Any:
        """Call the network or its copy."""
        return self.current()(**inputs)

    def current(self) -> Any:
        """Return the network, or its copy if that is faster and gradients are not needed."""
        device = next(self.net.parameters()).device.type
        if self.net.training or torch.is_grad_enabled():
            return self.net
        if torch.is_autocast_enabled(device):
            return self._current_copy(torch.get_autocast_dtype(device), device)
        if self.packed and device == "cpu":
            return self._current_copy(torch.float32, device)
        return self.net

    def _current_copy(self, dtype: torch.dtype, device: str) -> Any:
        self._watch = self._watch or ParameterVersions(self.net)
        made_of = (dtype, self._watch.current())
        if self.cast_copy is None or self._made_of != made_of:
            self.cast_copy = self._convert(dtype, device)
            self._made_of = made_of
        return self.cast_copy

    @torch.no_grad()
    def _convert(self, dtype: torch.dtype, device: str) -> Any:
        if self.converter is not None and device == "cpu":
            return self.converter(self.net, dtype)
        shared = {id(t): t for t in (*self.net.parameters(), *self.net.buffers())}
        return _converted(copy.deepcopy(self.net, shared), dtype, self.packed)


def _converted(net: nn.Module, dtype: torch.dtype, packed: bool) -> nn.Module:
    convert = PrepackedLinear if packed else _cast
    if isinstance(net, nn.Linear):
        return convert(net, dtype)
    from transformers.activations import NewGELUActivation

    for part in list(net.modules()):
        for name, child in list(part.named_children()):
            if isinstance(child, nn.Linear):
                setattr(part, name, convert(child, dtype))
            if packed and isinstance(child, NewGELUActivation):
                setattr(part, name, nn.GELU(approximate="tanh"))  # one kernel instead of eight
    return net


def _cast(linear: nn.Linear, dtype: torch.dtype) -> nn.Linear:
    for name, own in list(linear.named_parameters(recurse=False)):
        linear.register_parameter(name, nn.Parameter(own.detach().to(dtype), False))
    return linear


class ParameterVersions:
    """Detects changes of the parameters of a network.

    It stores where the parameters are, since listing them takes ten times as long as reading them.
    """

    def __init__(self, net: nn.Module) -> None:
        self.storages = [
            (module._parameters, name)
            for module in net.modules()
            for name, parameter in module._parameters.items()
            if parameter is not None
        ]

    def current(self) -> list[tuple[int, bool | int]]:
        """Return storage addresses and versions, which change when the parameters do.

        Parameters created in inference mode have no version and are not trained.
        """
        parameters = [held[name] for held, name in self.storages]
        return [(p.data_ptr(), p.is_inference() or p._version) for p in parameters if p is not None]
