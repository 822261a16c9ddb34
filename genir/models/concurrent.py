"""Two products with one vector at once: the CPU's kernel for one vector runs on one thread.

A product of one query with the rows of all documents reads every row once, and one core does not
use the whole bandwidth of the memory. The two products are the same calls as one after the other,
so the results are equal bit by bit.
"""

import os
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

MIN_ENTRIES = 1 << 19
"""Entries of a matrix below which another thread takes longer to wake than the product takes."""


def linear_pair(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> list[Tensor]:
    """Return `F.linear` of two pairs of states [..., I] and weights [O, I], at once where it pays.

    That is for one row of states, on a CPU with several threads, while nothing is trained.
    """
    future = _submit(*second) if _pays(*second) else None
    product = F.linear(*first)
    return [product, F.linear(*second) if future is None else future.result()]


def _pays(states: Tensor, weight: Tensor) -> bool:
    return (
        states.numel() == states.shape[-1]
        and weight.numel() >= MIN_ENTRIES
        and weight.device.type == "cpu"
        and torch.get_num_threads() > 1
        and torch.is_inference_mode_enabled()
    )


def _submit(states: Tensor, weight: Tensor) -> "Future[Tensor] | None":
    try:
        return _executor().submit(_multiply, states, weight)
    except RuntimeError:  # the interpreter is ending: no thread takes anything any more
        return None


@torch.inference_mode()
def _multiply(states: Tensor, weight: Tensor) -> Tensor:
    with torch.autocast(states.device.type, enabled=False):
        return F.linear(states, weight)


@cache
def _executor() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "genir-product")


os.register_at_fork(after_in_child=_executor.cache_clear)  # a fork has none of the threads
