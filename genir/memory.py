"""Memory use of the process: freed memory, and memory that libraries keep."""

import atexit
import ctypes
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

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
