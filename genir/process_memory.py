"""Memory use of the process: freed memory, and memory that libraries keep."""

import atexit
import ctypes
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

LARGE_BLOCK_BYTES = 4 * 2**20
"""Blocks of this size are mapped on their own, and unmapped when they are freed."""
MAX_HEAPS = 2
M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8
"""Parameters of `mallopt`, as numbered in glibc's malloc.h."""
MAX_CACHED_KERNELS = 32
"""Maximum number of cached oneDNN kernels; the default is 1,024."""


def trim_malloc() -> None:
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


def limit_onednn_cache() -> None:
    """Limit oneDNN's kernel cache, unless the environment does; call it before importing torch.

    oneDNN caches a kernel per number of rows, which varies in a server: a thousand kernels take
    hundreds of megabytes.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(MAX_CACHED_KERNELS))


def limit_heap_growth() -> None:
    """Keep glibc's heap small and whole in a process that runs for weeks.

    By default glibc raises the bound from which blocks are mapped to the largest block freed so
    far, at most 32 MiB, and has eight heaps for each core. The copies of rows that a change makes
    leave holes there, and a server grows. Does nothing for other C libraries; variables of the
    environment take precedence.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    for variable, parameter, value in (
        ("MALLOC_MMAP_THRESHOLD_", M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES),
        ("MALLOC_ARENA_MAX", M_ARENA_MAX, MAX_HEAPS),
    ):
        if mallopt is not None and variable not in os.environ:
            mallopt(parameter, value)


@contextmanager
def block_import(package: str) -> Iterator[None]:
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
