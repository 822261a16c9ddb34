"""Memory use of the process: freed memory, and memory that libraries keep."""

import atexit
import ctypes
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

LARGE_BLOCK_BYTES = 4 * 2**20
M_MMAP_THRESHOLD = -3
"""The number that glibc's malloc.h gives to this parameter of `mallopt`."""
KERNELS = 32
"""Maximal number of cached oneDNN kernels; the default is 1,024."""


def give_back() -> None:
    """Return freed heap memory to the system (glibc only)."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries have none
        if trim is not None:
            trim(0)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error is an out-of-memory error of Python, NumPy or torch."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def exempt_from_collection() -> None:
    """Exempt all loaded objects from Python's garbage collection.

    torch and transformers create 450,000 objects; each full collection stops all threads for half a
    second, and a request with a few thousand lists triggers one.
    """
    gc.collect()
    gc.freeze()
    atexit.register(gc.unfreeze)  # otherwise libraries report leaked objects at exit


def keep_few_kernels() -> None:
    """Limit oneDNN's kernel cache, unless the environment does; call it before importing torch.

    oneDNN caches a kernel per number of rows, which varies in a server: a thousand kernels take
    hundreds of megabytes.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(KERNELS))


def map_large_blocks() -> None:
    """Have glibc map blocks of `LARGE_BLOCK_BYTES` or more, and unmap them when they are freed.

    By default glibc raises this bound to the largest block freed so far, at most 32 MiB. Then the
    copies of rows that a change makes leave holes in the heap, and a server grows. Does nothing
    where the C library is another, or the environment sets the bound.
    """
    if sys.platform == "linux" and "MALLOC_MMAP_THRESHOLD_" not in os.environ:
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES)


@contextmanager
def hidden(package: str) -> Iterator[None]:
    """Make a package unimportable in the block, unless it is loaded already.

    For unneeded optional dependencies of other packages: JAX, which bm25s imports, reserves three
    quarters of a GPU's memory on first use.
    """
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]  # makes imports fail
    try:
        yield
    finally:
        del sys.modules[package]
