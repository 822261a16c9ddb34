"""Copies of modules that share their tensors."""

from copy import copy
from typing import TypeVar

from torch import nn

Module = TypeVar("Module", bound=nn.Module)


def shallow_copy(module: Module) -> Module:
    """Return a copy with the same tensors and submodules, to which others can be assigned.

    A search in another thread goes on with the original, which is unchanged.
    """
    twin = copy(module)
    for name in ("_parameters", "_buffers", "_modules"):
        setattr(twin, name, dict(getattr(module, name)))
    return twin
