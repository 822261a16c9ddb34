"""Maximum input length of a network, found by trial or from its position tables."""

import re
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from genir.errors import InputError
from genir.models.smoke_test import preserved_state

POSITIONS = re.compile(r"(^|\.)(embed_positions|position_embeddings?|wpe)$")
"""Names of absolute position tables in transformers models."""


MAX_TRIED_LENGTH = 1_024


def max_working_length(net: nn.Module, run: Callable[[int], Any], wanted: int) -> int:
    """Return `wanted`, or the longest input for which `run` succeeds if that is shorter.

    Found by trial, since architectures count positions differently: RoBERTa starts after the id of
    the padding token, BART reserves two, others have no limit. On other devices than a CPU a failed
    trial would disable the device, so the position tables of `net` are used; likewise for inputs
    too long to be tried in little time.

    Args:
        net: Part of a network that has the position tables.
        run: Calls the network on a row of the given number of tokens.
    """
    most = min(wanted, positions(net) or wanted)
    if next(net.parameters()).device.type != "cpu" or most > MAX_TRIED_LENGTH:
        return most
    wanted = min(wanted, MAX_TRIED_LENGTH)
    with preserved_state(net), torch.no_grad():
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
    """Return the maximum number of tokens of a network; None without a limit.

    The smaller of the configured maximum and the position tables.
    """
    said: int | None = getattr(net.config, "max_position_embeddings", None)
    limits = position_table_sizes(net) + ([] if said is None else [said])
    return min(limits, default=None)


def position_table_sizes(net: nn.Module) -> list[int]:
    """Return the number of tokens of each absolute position table of a network."""
    limits = []
    for name, part in net.named_modules():
        if isinstance(part, nn.Embedding) and POSITIONS.search(name):
            first = 0 if part.padding_idx is None else part.padding_idx + 1
            limits.append(part.num_embeddings - getattr(part, "offset", 0) - first)
    return limits


def require_within(key: str, length: int, maximum: int, subject: str, start: int = 0) -> None:
    """Raise InputError if `subject` takes fewer tokens, `maximum`, than the `length` set by `key`.

    start: tokens of `length` before the ones that `key` counts.
    """
    if maximum < length:
        beside = f" after {start} at the start" if start else ""
        raise InputError(
            f"{key} = {length - start}: {subject} takes at most {maximum - start} tokens{beside}; "
            f"set it to {maximum - start} or less"
        )
