"""Selection of the device of a model."""

import torch

from genir.errors import InputError


def as_device(given: torch.device | str | None) -> torch.device:
    """Return a torch device; None selects CUDA if available.

    Availability of a given device is not checked here.

    Raises:
        InputError: Not a device name.
    """
    if given is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.device(given)
    except (RuntimeError, TypeError, ValueError):
        raise InputError(
            f"device {given!r:.60}: not a torch device; give cpu, cuda or cuda:0"
        ) from None
