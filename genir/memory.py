"""Memory that is free, and that libraries keep."""

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
"""Matrix kernels that oneDNN keeps for later, instead of 1,024."""


def give_back() -> None:
    """Return freed memory to the system; does nothing where the C library is not glibc."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries have none
        if trim is not None:
            trim(0)


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory does not suffice, as Python, NumPy or torch do."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def exempt_from_collection() -> None:
    """Take everything that is loaded out of Python's garbage collection.

    Modules of torch and transformers are 450,000 objects: each full collection stops all threads
    for half a second, and a request of a few thousand lists causes one.
    """
    gc.collect()
    gc.freeze()
    atexit.register(gc.unfreeze)  # or libraries complain of objects that were never freed


def keep_few_kernels() -> None:
    """Bound what oneDNN keeps, a kernel for each number of rows; only before torch is loaded.

    A server multiplies ever other numbers of rows: a thousand kernels are hundreds of megabytes.
    What the environment says already stays.
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
    """Let imports in the block find no such package, unless it is loaded already.

    For packages that others load where they are installed, and that nothing here needs: JAX keeps
    three quarters of a GPU's memory in every process that asks it for anything, as bm25s does.
    """
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]  # how Python spells "not importable"
    try:
        yield
    finally:
        del sys.modules[package]
