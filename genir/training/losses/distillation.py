"""A teacher's ranking as the target: the model's softmax over a list, drawn to the teacher's."""

from pydantic import Field
from torch import Tensor

from genir.models.base import Batch, DocidModel
from genir.training.losses.base import Loss, Setting, weighted_mean
from genir.training.losses.lists import ask
from genir.training.losses.scores import log_p
from genir.training.losses.teachers import TeacherOptions, open_teacher


class DistillationOptions(TeacherOptions):
    """count: the teacher's first candidates that are compared.

    temperature: what the teacher's scores are divided by, before their softmax.
    """

    count: int = Field(default=16, ge=2)
    temperature: float = Field(default=1.0, gt=0)


class Distillation(Loss):
    """KL(teacher || model), both as a softmax over the teacher's first candidates.

    The model's scores are log p of whole identifiers. Sources that the teacher finds fewer than two
    documents for are left out.
    """

    name = "distillation"
    Options = DistillationOptions

    def __init__(self, options: DistillationOptions, setting: Setting) -> None:
        super().__init__(options, setting)
        self.teacher = open_teacher(options, setting)

    def value(self, model: DocidModel, batch: Batch) -> Tensor:
        """Return the divergence."""
        lists = ask(self.teacher, self.setting, batch, self.options.count)
        real = lists.rows >= 0
        normalise = self.setting.recipe.decoding.normalise
        steps = log_p(model, self.setting.trie, batch.inputs, lists.rows, normalise)
        own = _log_softmax(steps.sum(dim=2), real)
        taught = _log_softmax(lists.scores / self.options.temperature, real)
        losses = (taught.exp() * (taught - own) * real).sum(dim=1)
        kept = real.sum(dim=1) > 1
        return weighted_mean(losses * kept, batch.weights * kept)


def _log_softmax(scores: Tensor, real: Tensor) -> Tensor:
    """Return the log-softmax of the real scores of each row; what is not real is far below."""
    return scores.masked_fill(~real, -1e9).log_softmax(dim=1)
