"""Matrix-vector product in two threads, since the CPU kernel for one vector uses one.

The product of one query with all document rows is limited by memory bandwidth, which one core does
not saturate.
"""

import os
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

MIN_PARALLEL_ENTRIES = 1 << 19
"""Matrix entries below which waking a thread takes longer than the product."""


def parallel_linear(states: Tensor, weight: Tensor) -> Tensor:
    """Return `F.linear` of states [..., I] and a weight [O, I], in two threads if that is faster.

    That is for one row of states in inference, on a CPU with several threads.
    """
    half = len(weight) // 2
    future = _submit(states, weight[half:]) if _is_worthwhile(states, weight) else None
    if future is None:
        return F.linear(states, weight)
    return torch.cat([F.linear(states, weight[:half]), future.result()], dim=-1)


def _is_worthwhile(states: Tensor, weight: Tensor) -> bool:
    return (
        states.numel() == states.shape[-1]
        and weight.numel() >= MIN_PARALLEL_ENTRIES
        and weight.device.type == "cpu"
        and torch.get_num_threads() > 1
        and torch.is_inference_mode_enabled()
    )


def _submit(states: Tensor, weight: Tensor) -> "Future[Tensor] | None":
    try:
        return _executor().submit(_multiply, states, weight)
    except RuntimeError:  # the interpreter is shutting down
        return None


@torch.inference_mode()
def _multiply(states: Tensor, weight: Tensor) -> Tensor:
    with torch.autocast(states.device.type, enabled=False):
        return F.linear(states, weight)


@cache
def _executor() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "genir-product")


os.register_at_fork(after_in_child=_executor.cache_clear)  # a forked child has no threads
