"""Memory that is free, and that libraries keep."""

import ctypes
import os
import sys

KERNELS = 32
"""Matrix kernels that oneDNN keeps for later, instead of 1,024."""


def give_back() -> None:
    """Return freed memory to the system; does nothing where the C library is not glibc."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries have none
        if trim is not None:
            trim(0)


def keep_few_kernels() -> None:
    """Bound what oneDNN keeps, a kernel for each number of rows; only before torch is loaded.

    A server multiplies ever other numbers of rows: a thousand kernels are hundreds of megabytes.
    What the environment says already stays.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(KERNELS))
