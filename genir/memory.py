"""Memory that is free and that the C library keeps."""

import ctypes
import sys


def give_back() -> None:
    """Return freed memory to the system; does nothing where the C library is not glibc."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries have none
        if trim is not None:
            trim(0)
