"""Distillation of a teacher's ranking, over a list of candidates or at each prefix."""

import torch
from pydantic import Field
from torch import Tensor

from genir.models.base import Batch, DocidModel
from genir.training.losses.base import weighted_mean
from genir.training.losses.candidates import TeacherLoss, teacher_candidates
from genir.training.losses.log_probs import LegalChoices, legal_choices, log_p, mean_of_symbols
from genir.training.losses.teachers import TeacherOptions


class DistillationOptions(TeacherOptions):
    """Options of list distillation.

    count: number of the teacher's top candidates. temperature: divisor of the teacher's scores.
    """

    count: int = Field(default=16, ge=2)
    temperature: float = Field(default=1.0, gt=0)


class Distillation(TeacherLoss):
    """KL(teacher || model) between softmaxes over the teacher's top candidates.

    The model's scores are log p of whole identifiers. Sources with fewer than two candidates are
    skipped.
    """

    name = "distillation"
    Options = DistillationOptions

    def compute(self, model: DocidModel, batch: Batch) -> Tensor:
        """Return the divergence."""
        lists = teacher_candidates(self.teacher, self.context, batch, self.options.count)
        real = lists.rows >= 0
        softmax = self.context.recipe.decoding.softmax
        steps = log_p(model, self.context.trie, batch.inputs, lists.rows, softmax)
        own = _log_softmax(steps.sum(dim=2), real)
        taught = _log_softmax(lists.scores / self.options.temperature, real)
        losses = (taught.exp() * (taught - own) * real).sum(dim=1)
        kept = real.sum(dim=1) > 1
        return weighted_mean(losses * kept, batch.weights * kept)


class PrefixDistillationOptions(DistillationOptions):
    """Options of prefix distillation; the defaults suit cosine scores.

    share: weight of the teacher's distribution; the target's own identifier has the rest.
    """

    teacher: str = Field(default="dense", min_length=1)
    count: int = Field(default=32, ge=1)
    temperature: float = Field(default=0.05, gt=0)
    share: float = Field(default=0.5, gt=0, le=1)


class PrefixDistillation(TeacherLoss):
    """Cross-entropy along the target's identifier, over legal symbols, with soft labels.

    The label distribution over documents is `share` times the teacher's softmax over its top
    candidates plus the rest on the target; all of it is on the target if the teacher has no
    candidates. At each prefix, a symbol's label is the mass below it. The cost is one decoder pass
    per source, independent of the number of candidates. Not from a paper.
    """

    name = "prefix-distillation"
    Options = PrefixDistillationOptions

    def compute(self, model: DocidModel, batch: Batch) -> Tensor:
        """Return the cross-entropy, averaged over target symbols."""
        rows, mass = self._wanted(batch)
        losses = []
        for one in legal_choices(model, self.context.trie, batch.inputs, batch.rows.unsqueeze(1)):
            wanted = _edges_below(one, rows, mass).masked_fill(~one.legal, 0.0)
            wanted = wanted / wanted.sum(dim=-1, keepdim=True).clamp(min=1e-9)
            losses.append(-torch.where(one.legal, wanted * one.log_p, 0.0).sum(dim=-1))
        return mean_of_symbols(losses, batch)

    def _wanted(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the label distribution: rows in ascending order, int64 [B, C], and mass, float32.

        Padding has row -1 and mass 0.
        """
        lists = teacher_candidates(self.teacher, self.context, batch, self.options.count)
        real = lists.rows >= 0
        taught = _log_softmax(lists.scores / self.options.temperature, real).exp() * real
        rows = torch.cat([batch.rows.unsqueeze(1), lists.rows], dim=1)
        share = self.options.share * real.any(dim=1, keepdim=True)
        mass = torch.cat([1 - share, share * taught], dim=1)
        order = rows.argsort(dim=1)
        return rows.gather(1, order), mass.gather(1, order)


def _edges_below(one: LegalChoices, rows: Tensor, mass: Tensor) -> Tensor:
    """Return the mass below each edge, float32, in the shape of the choices."""
    running = torch.cat([mass.new_zeros(len(mass), 1), mass.cumsum(dim=1)], dim=1)

    def before(bound: Tensor) -> Tensor:
        flat = bound.flatten(1)
        return running.gather(1, torch.searchsorted(rows, flat)).view_as(bound)

    return (before(one.high) - before(one.low)).clamp(min=0)


def _log_softmax(scores: Tensor, real: Tensor) -> Tensor:
    """Return the log-softmax over the real scores of each row; the rest is far below."""
    return scores.masked_fill(~real, -1e9).log_softmax(dim=1)
