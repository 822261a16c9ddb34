"""The losses by name. Other packages add to them by entry points `genir.losses`."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from genir.config import LossSection, Stage, Strict, validate
from genir.errors import InputError
from genir.models.base import Batch, DocidModel
from genir.plugins import Registry
from genir.training.losses.base import Loss, Setting
from genir.training.losses.distillation import Distillation, PrefixDistillation
from genir.training.losses.likelihood import CrossEntropy
from genir.training.losses.margins import Margin, Preference, PrefixMargin

LOSSES: Registry[Loss] = Registry(
    "genir.losses",
    "[[losses]] loss",
    Loss,
    (CrossEntropy, Margin, PrefixMargin, Preference, Distillation, PrefixDistillation),
)
LossSection.variants = LOSSES


def find_loss(name: str) -> type[Loss]:
    """Return the class of a loss. Raises InputError for an unknown one."""
    return LOSSES.find(name)


def check_losses(stage: Stage) -> None:
    """Raise InputError for an unknown loss or option, or a loss that does not fit the stage."""
    for section in stage.losses:
        kind = find_loss(section.loss)
        options = loss_options(section)
        if stage.decoding.mode == "free" and not kind.takes_text:
            raise InputError(
                f"[[losses]] {section.loss}: ranks documents, but a model in mode 'free' generates "
                "text; leave it out"
            )
        kind.check(options, stage)
    if stage.training.label_smoothing and not _takes_text(stage):
        raise InputError(
            "training.label_smoothing: only the loss 'cross-entropy' uses it, which is not among "
            "the [[losses]]; add it, or set label_smoothing = 0"
        )


def loss_files(stages: Sequence[Stage]) -> list[Path]:
    """Return the files that the losses of stages read. Raises InputError if one is missing."""
    made = [loss_options(section) for stage in stages for section in stage.losses]
    return [file for options in made for file in options.files()]


def takes_lists(stage: Stage) -> bool:
    """Return whether a loss needs the documents that answer a source."""
    return any(find_loss(section.loss).takes_lists for section in stage.losses)


def refuse_text(stage: Stage) -> None:
    """Raise InputError unless a loss supports text targets."""
    if not _takes_text(stage):
        raise InputError(
            "[[losses]]: only 'cross-entropy' supports text targets, which a task has; add it, or "
            "take target = 'identifier'"
        )


def _takes_text(stage: Stage) -> bool:
    return any(find_loss(section.loss).takes_text for section in stage.losses)


def loss_options(section: LossSection) -> Strict:
    """Return the options of a loss. Raises InputError for an unknown loss or option."""
    kind = find_loss(section.loss)
    return validate(kind.Options, section.options, f"[[losses]] {section.loss}")


class Losses:
    """Weighted sum of a recipe's losses, called by `DocidModel.forward`."""

    def __init__(self, setting: Setting) -> None:
        """Create the losses. Raises InputError if an input is missing or invalid."""
        self.parts = [
            (section.weight, find_loss(section.loss)(loss_options(section), setting))
            for section in setting.recipe.losses
        ]

    def __call__(self, model: DocidModel, batch: Batch) -> Tensor:
        """Return the sum; for text targets, only of the losses that support them."""
        text = bool(batch.rows[0] < 0)
        parts = [(weight, loss) for weight, loss in self.parts if loss.takes_text or not text]
        values = [loss.value(model, batch) * weight for weight, loss in parts]
        return sum(values[1:], start=values[0])
