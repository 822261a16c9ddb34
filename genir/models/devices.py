"""The device that a model runs on."""

import torch

from genir.errors import InputError


def as_device(given: torch.device | str | None) -> torch.device:
    """Return a device of torch; None is CUDA where there is one. Raises InputError for no device.

    Whether the device is there shows when the model is moved to it.
    """
    if given is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.device(given)
    except (RuntimeError, TypeError, ValueError):
        raise InputError(
            f"device {given!r:.60}: no device of torch; give cpu, cuda or cuda:0"
        ) from None
