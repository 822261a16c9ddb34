"""The losses by name. Other packages add to them by entry points `genir.losses`."""

from torch import Tensor

from genir.config import LossSection, StageConfig, StrictModel, validate
from genir.errors import InputError
from genir.models.base import Batch, DocidModel
from genir.plugins import Registry
from genir.training.losses.base import Loss, LossContext
from genir.training.losses.consistency import RDrop
from genir.training.losses.cross_entropy import CrossEntropy
from genir.training.losses.distillation import Distillation, PrefixDistillation
from genir.training.losses.passage_margin import PassageMargin
from genir.training.losses.ranking import Margin, Preference, PrefixMargin

# fmt: off
LOSSES: Registry[Loss] = Registry(
    "genir.losses",
    "[[losses]] loss",
    Loss,
    (
        CrossEntropy, RDrop,
        Margin, PassageMargin, PrefixMargin, Preference,
        Distillation, PrefixDistillation,
    ),
)
# fmt: on


def check_losses(stage: StageConfig) -> None:
    """Raise InputError for an unknown loss or option, or a loss that does not fit the stage."""
    for section in stage.losses:
        kind = LOSSES.find(section.loss)
        options = loss_options(section)
        if stage.decoding.is_text and not kind.accepts_text:
            raise InputError(
                f"[[losses]] {section.loss}: ranks documents, but a model with strategy 'text' "
                "generates text; leave it out"
            )
        kind.check(options, stage)
    smooths = any(LOSSES.find(section.loss).smooths_labels for section in stage.losses)
    if stage.training.label_smoothing and not smooths:
        raise InputError(
            "training.label_smoothing: only the losses 'cross-entropy' and 'r-drop' use it, which "
            "are not among the [[losses]]; add one, or set label_smoothing = 0"
        )


def needs_answers(stage: StageConfig) -> bool:
    """Return whether a loss needs the documents that answer a source."""
    return any(LOSSES.find(section.loss).needs_answers for section in stage.losses)


def require_text_loss(stage: StageConfig) -> None:
    """Raise InputError unless a loss supports text targets."""
    if not _accepts_text(stage):
        raise InputError(
            "[[losses]]: only 'cross-entropy' supports text targets, which a task has; add it, or "
            "take target = 'identifier'"
        )


def _accepts_text(stage: StageConfig) -> bool:
    return any(LOSSES.find(section.loss).accepts_text for section in stage.losses)


def loss_options(section: LossSection) -> StrictModel:
    """Return the options of a loss. Raises InputError for an unknown loss or option."""
    kind = LOSSES.find(section.loss)
    return validate(kind.Options, section.options, f"[[losses]] {section.loss}")


class Losses:
    """Weighted sum of a recipe's losses, called by `DocidModel.forward`."""

    def __init__(self, context: LossContext) -> None:
        """Create the losses. Raises InputError if an input is missing or invalid."""
        self.parts = [
            (section.weight, LOSSES.find(section.loss)(loss_options(section), context))
            for section in context.recipe.losses
        ]

    def set_progress(self, share: float) -> None:
        """Set the fraction of the training steps done, for losses with a schedule."""
        for _, loss in self.parts:
            loss.progress = share

    def __call__(self, model: DocidModel, batch: Batch) -> Tensor:
        """Return the sum; for text targets, only of the losses that support them."""
        text = bool(batch.rows[0] < 0)
        parts = [(weight, loss) for weight, loss in self.parts if loss.accepts_text or not text]
        values = [loss.compute(model, batch) * weight for weight, loss in parts]
        return sum(values[1:], start=values[0])
