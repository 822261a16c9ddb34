"""Optimizers, learning rate schedules, averaged weights and gradient checkpointing of a training.

The classes are those of torch and transformers.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn
from transformers import Adafactor, PreTrainedModel, get_scheduler

from genir.config import TrainingSection
from genir.errors import InputError
from genir.models.bert_network import BertNetwork

OPTIMIZERS: Mapping[str, Callable[[Any], torch.optim.Optimizer]] = {
    "adamw": lambda groups: torch.optim.AdamW(groups, fused=True),
    # The rate is the recipe's, as in T5's fine-tuning, not one relative to step and parameter.
    "adafactor": lambda groups: Adafactor(groups, scale_parameter=False, relative_step=False),
    "rmsprop": torch.optim.RMSprop,
}
SCHEDULES = {
    "cosine": "cosine",
    "linear": "linear",
    "inverse-square-root": "inverse_sqrt",
    "constant": "constant_with_warmup",
}
"""Names of the schedules in transformers; each begins with the warmup."""


def build_optimizer(settings: TrainingSection, groups: Any) -> torch.optim.Optimizer:
    """Return the optimizer of a recipe for parameter groups with their rate and weight decay."""
    return OPTIMIZERS[settings.optimizer](groups)


def build_schedule(settings: TrainingSection, optimizer: Any, total: int) -> Any:
    """Return the learning rate schedule of a recipe over `total` steps."""
    warmup = round(total * settings.warmup)
    if (
        settings.schedule == "inverse-square-root"
    ):  # without warmup transformers counts 10,000 steps
        warmup = max(1, warmup)
    return get_scheduler(SCHEDULES[settings.schedule], optimizer, warmup, total)


def enable_gradient_checkpointing(model: nn.Module) -> None:
    """Compute the activations of transformer layers again in the backward pass.

    Raises:
        InputError: No network of the model supports it.
    """
    nets = [
        part
        for part in model.modules()
        if isinstance(part, BertNetwork)
        or (isinstance(part, PreTrainedModel) and part.supports_gradient_checkpointing)
    ]
    if not nets:
        raise InputError(
            "training.gradient_checkpointing: the model has no network of transformers that "
            "supports it; set it to false"
        )
    for net in nets:
        # The name in earlier releases of transformers 5 is deprecated in later ones.
        renamed = getattr(net, "activation_checkpointing_enable", None)
        (renamed or net.gradient_checkpointing_enable)({"use_reentrant": False})


class WeightAverage:
    """Exponential moving average of the trained parameters of a model.

    Its first value is the weights after the first step, as in torch's `AveragedModel`, which would
    copy the whole model.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self._average: dict[str, torch.Tensor] = {}
        self._blend = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def update(self) -> None:
        """Average the present weights in, after a step."""
        if self._average:
            self._blend(list(self._average.values()), list(self._parameters.values()), None)
        else:
            self._average = {n: p.detach().clone() for n, p in self._parameters.items()}

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Run the block with the average as weights of the model; before the first step, with its
        own."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        for name, average in self._average.items():
            own = self._parameters[name]
            kept = own.detach().clone()
            own.copy_(average)
            average.copy_(kept)

    def save(self, path: Path) -> None:
        """Write the average."""
        save_file({name: one.contiguous() for name, one in self._average.items()}, path)

    def load(self, path: Path) -> None:
        """Read the average. Raises ValueError if it is of another model."""
        found = load_file(path)
        if {n: one.shape for n, one in found.items()} != {
            n: p.shape for n, p in self._parameters.items()
        }:
            raise ValueError(f"{path.name} holds other parameters")
        self._average = {n: found[n].to(p.device) for n, p in self._parameters.items()}
