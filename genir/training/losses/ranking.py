"""Pairwise losses: fixed margin, teacher's margin, and preference relative to a frozen model."""

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from genir.config import StageConfig
from genir.errors import InputError
from genir.identifiers.registry import SCHEMES
from genir.models.base import Batch, DocidModel
from genir.retriever import Retriever
from genir.training.losses.base import LossContext, weighted_mean
from genir.training.losses.candidates import (
    NegativeLoss,
    NegativeOptions,
    TeacherLoss,
    is_negative,
    teacher_candidates,
)
from genir.training.losses.log_probs import log_p
from genir.training.losses.teachers import TeacherOptions


class MarginOptions(NegativeOptions):
    """margin: minimum difference of log p between the target and a negative."""

    margin: float = Field(default=1.0, ge=0)


class Margin(NegativeLoss):
    """LTRGR (arXiv:2306.15222): max(0, margin - s(answer) + s(other)), s = log p of an identifier.

    Sum of the hinge of the top negative and the mean over all negatives, which is the expectation
    of a random draw.
    """

    name = "margin"
    Options = MarginOptions

    def compute(self, model: DocidModel, batch: Batch) -> Tensor:
        """Return the sum of the two hinges; sources without negatives are skipped."""
        rows = self.negatives(model, batch)
        scores = sequence_scores(model, self.context, batch, rows)
        real = rows >= 0
        hinges = F.relu(self.options.margin - scores[:, :1] + scores[:, 1:])
        losses = hinges[:, 0] + row_mean(hinges, real)
        return weighted_mean(losses * real[:, 0], batch.weights * real[:, 0])


class PrefixMarginOptions(TeacherOptions):
    """Options of the prefix margin.

    lengths: prefix lengths besides the whole identifier. scale: factor that brings the teacher's
    scores to the magnitude of log p. count: negatives per source, the teacher's top candidates.
    depth: maximum rank of the answer in the teacher's list. decay: margin reduction of prefixes.
    """

    lengths: tuple[int, ...] = (4, 8, 16, 32)
    scale: float = Field(default=1.0, gt=0)
    count: int = Field(default=8, ge=1)
    depth: int = Field(default=100, ge=2)
    decay: float = Field(default=2.0, ge=0)


class PrefixMargin(TeacherLoss):
    """RIPOR (arXiv:2311.09134), section 3.1: MarginMSE at several prefix lengths.

    (s_i(answer) - s_i(other) - a_i (T(answer) - T(other)))^2, where s_i is the log p of the first i
    symbols, T the teacher and a_i = (1 - decay / i) / (1 - decay / L), which is 1 for the whole
    identifier of L symbols. Sources whose answer the teacher does not rank are skipped.
    """

    name = "prefix-margin"
    Options = PrefixMarginOptions
    needs_answers = True

    @classmethod
    def check(cls, options: PrefixMarginOptions, stage: StageConfig) -> None:
        """Raise InputError for schemes with shared identifiers: teachers score single documents."""
        if not SCHEMES.find(stage.identifiers.scheme).unique:
            raise InputError(
                f"[[losses]] prefix-margin: documents share identifiers of the scheme "
                f"{stage.identifiers.scheme!r}, but a teacher scores single documents; take "
                "another scheme, or loss = 'margin'"
            )

    def compute(self, model: DocidModel, batch: Batch) -> Tensor:
        """Return the mean over prefix lengths and negatives."""
        lists = teacher_candidates(self.teacher, self.context, batch, self.options.depth)
        own = self.context.documents(batch.rows).unsqueeze(1)
        same = self.context.documents(lists.rows) == own
        answer = same & (lists.rows >= 0)
        taught = torch.where(answer, lists.scores, 0.0).sum(dim=1, keepdim=True)
        others = lists.take(is_negative(self.context, batch, lists.rows), self.options.count)
        wanted = self.options.scale * (taught - others.scores)
        real = (others.rows >= 0) & answer.any(dim=1, keepdim=True)
        prefixes = candidate_scores(model, self.context, batch, others.rows).cumsum(dim=2)
        losses = []
        for length, share in self._shares():
            found = prefixes[..., min(length, prefixes.shape[2]) - 1]
            margins = found[:, :1] - found[:, 1:]
            losses.append(row_mean((margins - share * wanted).square(), real))
        kept = real.any(dim=1)
        return weighted_mean(torch.stack(losses).mean(dim=0) * kept, batch.weights * kept)

    def _shares(self) -> list[tuple[int, float]]:
        whole, decay = self.context.table.depth, self.options.decay
        most = 1 - decay / whole
        lengths = [n for n in sorted(set(self.options.lengths)) if 0 < n < whole]
        shares = [(n, max(0.0, (1 - decay / n) / most) if most > 0 else 0.0) for n in lengths]
        return [*shares, (whole, 1.0)]


class PreferenceOptions(NegativeOptions):
    """beta: strength of the penalty for moving away from the frozen model."""

    teacher: str = Field(default="bm25", min_length=1)
    count: int = Field(default=3, ge=1)
    beta: float = Field(default=0.4, gt=0)


class Preference(NegativeLoss):
    """DDRO (arXiv:2504.05181), after DPO: -log sigmoid(beta (r(answer) - r(other))).

    r = log p of an identifier minus its log p under the frozen model, which has the weights before
    the first step.
    """

    name = "preference"
    Options = PreferenceOptions

    def __init__(self, options: PreferenceOptions, context: LossContext) -> None:
        super().__init__(options, context)
        self.reference = load_reference_model(context)

    @classmethod
    def check(cls, options: PreferenceOptions, stage: StageConfig) -> None:
        """Raise InputError if the frozen model is untrained."""
        if stage.model.kind == "seq2seq" and not stage.model.init_from:
            raise InputError(
                "[[losses]] preference: needs a trained reference model, but training starts from "
                "scratch; name a trained model as [model] init_from"
            )

    def compute(self, model: DocidModel, batch: Batch) -> Tensor:
        """Return the mean over negatives."""
        rows = self.negatives(model, batch)
        with torch.no_grad():
            known = sequence_scores(self.reference, self.context, batch, rows)
        gains = sequence_scores(model, self.context, batch, rows) - known
        losses = -F.logsigmoid(self.options.beta * (gains[:, :1] - gains[:, 1:]))
        kept = (rows >= 0).any(dim=1)
        return weighted_mean(row_mean(losses, rows >= 0) * kept, batch.weights * kept)


def load_reference_model(context: LossContext) -> DocidModel:
    """Return a frozen copy of the model before the first step."""
    frozen = Retriever.load(context.start, context.retriever.model.device)
    frozen.documents.close()
    return frozen.model.requires_grad_(False)


def candidate_scores(
    model: DocidModel, context: LossContext, batch: Batch, others: Tensor
) -> Tensor:
    """Return log p of each symbol of the answer, then of `others` [B, C]: float32 [B, 1 + C, T]."""
    rows = torch.cat([batch.rows.unsqueeze(1), others], dim=1)
    softmax = context.recipe.decoding.softmax
    return log_p(model, context.trie, batch.inputs, rows, softmax)


def sequence_scores(
    model: DocidModel, context: LossContext, batch: Batch, others: Tensor
) -> Tensor:
    """Return log p of whole identifiers, answer first, float32 [B, 1 + C]."""
    return candidate_scores(model, context, batch, others).sum(dim=2)


def row_mean(values: Tensor, real: Tensor) -> Tensor:
    """Return the mean of each row's real values, [B]; 0 if there are none."""
    return (values * real).sum(dim=1) / real.sum(dim=1).clamp(min=1)
