"""Sizes that a model folder states, compared with its weights before memory is allocated for them.

A configuration is a few bytes: one of 10**9 words or 10**6 layers would take the memory or the time
of the whole machine before its weights are seen not to fit.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
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

TIED = 4
"""Times that a tensor may be built before it is tied to the one in the file."""
SPARE_TENSORS, SPARE_ENTRIES = 64, 1 << 20
"""Parameters and entries beyond the file's: of small tables that are not saved."""
MAX_LABELS = 1_000
"""Of a classifier, which transformers lists by name when it reads a configuration."""


def refuse_labels(folder: Path) -> None:
    """Raise InputError for a config.json with more labels than `MAX_LABELS`, at any depth.

    Raises ValueError for a file that cannot be read.
    """
    path = folder / "config.json"
    parts: list[Any] = [read_json(path)] if path.is_file() else []
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
    """Raise InputError where a tensor of the weights has not the size that `where` states."""
    found = list(weights[name].shape) if name in weights else None
    if found != list(size):
        raise InputError(
            f"{where}: states {list(size)} for {name}, but model.safetensors holds {found}; "
            "restore the folder or train it again"
        )


def build_within(weights: Weights, build: Callable[[], Net], where: str) -> Net:
    """Return what `build` makes, tried without memory before.

    Raises InputError once it has far more parameters than the weights hold.
    """
    with _limit(weights, where), suppress(NotImplementedError, RuntimeError), torch.device("meta"):
        build()  # a family that looks at values cannot be built so, but the limit holds below, too
    with _limit(weights, where):
        return build()


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
        if used["tensors"] > TIED * len(weights) + SPARE_TENSORS:
            excess = f"more than the {len(weights):,} tensors"
        elif used["entries"] > TIED * entries + SPARE_ENTRIES:
            excess = f"a {name} of {list(tensor.shape)}, more than the {entries:,} numbers"
        else:
            return
        raise InputError(
            f"{where}: states {excess} in model.safetensors; restore the folder or train it again"
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
