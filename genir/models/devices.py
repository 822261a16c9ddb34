"""Selection of the device of a model."""

import torch

from genir.errors import InputError


def as_device(given: torch.device | str | int | None) -> torch.device:
    """Return a usable torch device; None selects CUDA if available.

    Raises:
        InputError: The value is not a device name, the device is not available here, or it holds
            no values (`meta`).
    """
    if given is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(given)
    except (RuntimeError, TypeError, ValueError):
        raise InputError(
            f"device {given!r:.60}: not a torch device; give {available_devices()}"
        ) from None
    if device.type == "meta":
        raise InputError(f"device 'meta': holds no values; give {available_devices()}")
    try:
        torch.empty(1, device=device)
    # torch has no common error here: without CUDA an AssertionError, without MPS a
    # NotImplementedError, for a device of an extension an ImportError.
    except (AssertionError, ImportError, RuntimeError):
        raise InputError(
            f"device {str(device)!r}: not available on this machine or in this build of torch; "
            f"give {available_devices()}"
        ) from None
    return device


def available_devices() -> str:
    """Return the names of the devices of this machine, e.g. ``cpu, cuda:0 or cuda:1``."""
    names = ["cpu"]
    if torch.accelerator.is_available() and (kind := torch.accelerator.current_accelerator()):
        names += [f"{kind.type}:{n}" for n in range(torch.accelerator.device_count())]
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
