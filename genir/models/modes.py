"""Training and evaluation mode of modules. Knows no kind of model."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Run the block in evaluation mode, then restore training mode where the module was in it.

    A module that is in evaluation mode is not walked: `Module.eval()` visits every submodule, which
    takes longer than a short search, and a return to training mode drops converted weights.
    """
    if not module.training:
        yield
        return
    module.eval()
    try:
        yield
    finally:
        module.train()
