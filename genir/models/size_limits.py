"""Checks that a model folder's configuration matches its weights, before memory is allocated.

A damaged configuration with 10**9 words or 10**6 layers would otherwise exhaust memory or time
before the mismatch is found.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_parameter_registration_hook,
)

from genir.errors import InputError
from genir.manifest import read_json

Weights = Mapping[str, Tensor]
Net = TypeVar("Net")

TIED_WEIGHT_FACTOR = 4
"""Number of copies of a shared tensor that may be built before they are tied."""
SPARE_TENSORS, SPARE_ENTRIES = 64, 1 << 20
"""Allowed tensors and entries beyond the file's, for small tables that are not saved."""
MAX_LABELS = 1_000
"""Maximum number of labels of a classifier, which transformers lists in the configuration."""


def refuse_labels(folder: Path) -> None:
    """Raise InputError for a config.json with more labels than `MAX_LABELS`, at any depth.

    Raises:
        InputError: There are too many labels.
        ValueError: The file cannot be read.
    """
    path = folder / "config.json"
    try:
        parts: list[Any] = [read_json(path)] if path.is_file() else []
    except InputError:  # its remedy is for model folders of genir
        raise ValueError(
            "config.json is not valid JSON in UTF-8 without a byte order mark"
        ) from None
    while parts:
        part = parts.pop()
        if not isinstance(part, dict):
            continue
        count = part.get("num_labels") or 0
        if not isinstance(count, int) or not 0 <= count <= MAX_LABELS:
            raise InputError(
                f"{path}: num_labels = {count!r:.60}: not a number up to {MAX_LABELS:,}; correct it"
            )
        parts += part.values()


def refuse_size(weights: Weights, name: str, size: Sequence[int], where: str) -> None:
    """Raise InputError if a tensor of the weights does not have the `size` stated by `where`."""
    found = list(weights[name].shape) if name in weights else None
    if found != list(size):
        raise InputError(
            f"{where}: states {list(size)} for {name}, but model.safetensors holds {found}; "
            "restore the folder or train it again"
        )


def build_within(weights: Weights, build: Callable[[], Net], where: str) -> Net:
    """Return the result of `build`, after a trial on the meta device.

    Raises:
        InputError: The network has far more parameters than the weights.
    """
    refuse_excess(weights, build, where)
    with _limit(weights, where):  # some models cannot be built on meta
        return build()


def refuse_excess(weights: Weights, build: Callable[[], object], where: str) -> None:
    """Raise InputError if a network, built on the meta device, has far more than the weights."""
    with _limit(weights, where), torch.device("meta"):
        try:
            build()
        except InputError:
            raise
        except Exception:  # other faults are reported where it is built
            pass


@contextmanager
def _limit(weights: Weights, where: str) -> Iterator[None]:
    entries = sum(tensor.numel() for tensor in weights.values())
    used = {"tensors": 0, "entries": 0}
    thread = threading.get_ident()

    def count(module: nn.Module, name: str, tensor: Any) -> None:
        if tensor is None or threading.get_ident() != thread:
            return
        used["tensors"] += 1
        used["entries"] += tensor.numel()
        if used["tensors"] > TIED_WEIGHT_FACTOR * len(weights) + SPARE_TENSORS:
            excess = f"more than the {len(weights):,} tensors"
        elif used["entries"] > TIED_WEIGHT_FACTOR * entries + SPARE_ENTRIES:
            excess = f"a {name} of {list(tensor.shape)}, more than the {entries:,} numbers"
        else:
            return
        raise InputError(
            f"{where}: states {excess} in model.safetensors; restore the folder, or give it the "
            "config.json that belongs to its weights"
        )

    hooks = [
        register_module_parameter_registration_hook(count),
        register_module_buffer_registration_hook(count),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
