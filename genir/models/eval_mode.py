"""Training and evaluation mode of modules."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Run the block in evaluation mode, then restore training mode if it was set.

    Nothing happens if the module is in evaluation mode already: `Module.eval()` visits every
    submodule, which takes longer than a short search, and training mode drops prepared weights.
    """
    if not module.training:
        yield
        return
    module.eval()
    try:
        yield
    finally:
        module.train()
