"""How many tokens a network has positions for: found by trying, or read off its tables."""

import re
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from genir.errors import InputError
from genir.models.trial import untouched

POSITIONS = re.compile(r"(^|\.)(embed_positions|position_embeddings?|wpe)$")
"""What families call their tables of absolute positions."""


def longest_length(net: nn.Module, run: Callable[[int], Any], wanted: int) -> int:
    """Return `wanted` if `run` works for rows of that many tokens, else the most for which it does.

    Found by trying: architectures count positions in their own ways (RoBERTa's start behind the
    padding token's id, BART's have two in front, others have no limit). Elsewhere than on a CPU,
    where an error would end all use of the device, it is what the tables of `net` say.

    Args:
        net: the part of a network that has the positions.
        run: calls the network on a row of so many tokens.
        wanted: tokens.
    """
    if next(net.parameters()).device.type != "cpu":
        return min(wanted, positions(net) or wanted)
    with untouched(net), torch.no_grad():
        net.eval()
        if _works(run, wanted):
            return wanted
        low, high = 0, wanted
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if _works(run, middle) else (low, middle)
        return low


def _works(run: Callable[[int], Any], length: int) -> bool:
    try:
        run(length)
    except (RuntimeError, IndexError, ValueError, AssertionError):
        return False
    return True


def positions(net: Any) -> int | None:
    """Return how many tokens a network has positions for, None if there is no limit.

    The smaller of what its configuration says and its table of positions holds.
    """
    said: int | None = getattr(net.config, "max_position_embeddings", None)
    limits = tabled(net) + ([] if said is None else [said])
    return min(limits, default=None)


def tabled(net: nn.Module) -> list[int]:
    """Return how many tokens each table of absolute positions of a network holds."""
    limits = []
    for name, part in net.named_modules():
        if isinstance(part, nn.Embedding) and POSITIONS.search(name):
            first = 0 if part.padding_idx is None else part.padding_idx + 1
            limits.append(part.num_embeddings - getattr(part, "offset", 0) - first)
    return limits


def refuse_longer(key: str, length: int, most: int, what: str, start: int = 0) -> None:
    """Raise InputError if `what` takes fewer tokens, `most`, than `key` asks for.

    start: tokens of `length` that come before those that `key` counts.
    """
    if most < length:
        beside = f" beside {start} at the start" if start else ""
        raise InputError(
            f"{key} = {length - start}: {what} takes at most {most - start} tokens{beside}; set it "
            f"to {most - start} or less"
        )
