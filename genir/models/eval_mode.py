"""Training and evaluation mode of modules."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

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


def choose_attention(net: Any, training: bool) -> None:
    """Use the plain attention kernel for training on a CPU, otherwise the fused one.

    The backward pass of torch's fused CPU kernel takes 15 times as long on batches of short bf16
    sequences (docs/design/0002), but the fused kernel saves memory and time on long texts.
    """
    on_cpu = next(net.parameters()).device.type == "cpu"
    fused = getattr(net, "_supports_sdpa", True)  # some families lack it
    kernel = "eager" if (training and on_cpu) or not fused else "sdpa"
    if getattr(net, "genir_attention", None) != kernel:
        net.set_attn_implementation(kernel)
        net.genir_attention = kernel
