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
    Candidates,
    NegativeLoss,
    NegativeOptions,
    TeacherLoss,
    generate_prefixes,
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
    scores to the magnitude of the model's. count: negatives per source, the teacher's top
    candidates. mined: further negatives per source, the model's best prefixes at that step. depth:
    maximum rank of the answer in the teacher's list. decay: margin reduction of prefixes. staged:
    train on the shortest length first, then on the next one with all shorter ones, each for an
    equal share of the steps.
    """

    lengths: tuple[int, ...] = (4, 8, 16, 32)
    scale: float = Field(default=1.0, gt=0)
    count: int = Field(default=8, ge=1)
    mined: int = Field(default=0, ge=0)
    depth: int = Field(default=100, ge=2)
    decay: float = Field(default=2.0, ge=0)
    staged: bool = False


class PrefixMargin(TeacherLoss):
    """RIPOR (arXiv:2311.09134), section 3.3: MarginMSE at several prefix lengths.

    (s_i(answer) - s_i(other) - a_i (T_m(answer) - T_m(other)))^2, where s_i is the score of the
    first i symbols, m the largest length trained at present, T_m the teacher's best score below a
    prefix of m symbols, and a_i = (1 - decay / i) / (1 - decay / L), which is 1 for all L codes.
    Prefixes below which the teacher ranks nothing have its lowest score. Sources whose answer the
    teacher does not rank are skipped.
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
        ranked = ((self.context.documents(lists.rows) == own) & (lists.rows >= 0)).any(dim=1)
        shares = self._shares()
        length = shares[-1][0]
        others = self._negatives(model, batch, lists, length)
        taught = self._taught(lists, torch.cat([batch.rows.unsqueeze(1), others], dim=1), length)
        wanted = self.options.scale * (taught[:, :1] - taught[:, 1:])
        real = (others >= 0) & ranked.unsqueeze(1)
        prefixes = candidate_scores(model, self.context, batch, others, length).cumsum(dim=2)
        losses = []
        for symbols, share in shares:
            found = prefixes[..., min(symbols, prefixes.shape[2]) - 1]
            margins = found[:, :1] - found[:, 1:]
            losses.append(row_mean((margins - share * wanted).square(), real))
        kept = real.any(dim=1)
        return weighted_mean(torch.stack(losses).mean(dim=0) * kept, batch.weights * kept)

    def _negatives(self, model: DocidModel, batch: Batch, lists: Candidates, length: int) -> Tensor:
        """Return negative rows, int64 [B, C], padded with -1: the teacher's, then mined ones."""
        kept = is_negative(self.context, batch, lists.rows)
        rows = lists.take(kept, self.options.count).rows
        if not self.options.mined:
            return rows
        beams = self.options.mined + 1  # one may be the answer's
        mined = generate_prefixes(model, self.context, batch, beams, length)
        same = self._prefixes(mined, length) == self._prefixes(batch.rows.unsqueeze(1), length)
        new = Candidates(mined, torch.zeros(mined.shape, device=mined.device))
        new = new.take((mined >= 0) & ~same.all(dim=2), self.options.mined)
        return torch.cat([rows, new.rows], dim=1)

    def _taught(self, lists: Candidates, rows: Tensor, length: int) -> Tensor:
        """Return T_m of the prefixes of `length` symbols of rows [B, C], float32 [B, C]."""
        ranked = lists.rows >= 0
        own, listed = self._prefixes(rows, length), self._prefixes(lists.rows, length)
        below = (own.unsqueeze(2) == listed.unsqueeze(1)).all(dim=3) & ranked.unsqueeze(1)
        best = torch.where(below, lists.scores.unsqueeze(1), -torch.inf).amax(dim=2)
        lowest = lists.scores.masked_fill(~ranked, torch.inf).amin(dim=1, keepdim=True)
        return torch.where(below.any(dim=2), best, lowest)

    def _prefixes(self, rows: Tensor, length: int) -> Tensor:
        """Return the first symbols of rows [B, C], [B, C, length]; arbitrary below 0."""
        return self.context.trie.symbols[rows.clamp(min=0), :length]

    def _shares(self) -> list[tuple[int, float]]:
        """Return the lengths trained at present, in increasing order, and their share a_i."""
        ties = SCHEMES.find(self.context.recipe.identifiers.scheme).tie_levels
        whole, decay = self.context.table.depth - ties, self.options.decay
        most = 1 - decay / whole
        lengths = [n for n in sorted(set(self.options.lengths)) if 0 < n < whole]
        shares = [(n, max(0.0, (1 - decay / n) / most) if most > 0 else 0.0) for n in lengths]
        shares.append((whole, 1.0))
        if self.options.staged:
            return shares[: min(len(shares), 1 + int(self.progress * len(shares)))]
        return shares


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
    model: DocidModel,
    context: LossContext,
    batch: Batch,
    others: Tensor,
    length: int | None = None,
) -> Tensor:
    """Return the scores of the answer's symbols, then of `others` [B, C]: float32 [B, 1 + C, T].

    length: number of leading symbols; None for all.
    """
    rows = torch.cat([batch.rows.unsqueeze(1), others], dim=1)
    softmax = context.recipe.decoding.softmax
    return log_p(model, context.trie, batch.inputs, rows, softmax, length)


def sequence_scores(
    model: DocidModel, context: LossContext, batch: Batch, others: Tensor
) -> Tensor:
    """Return the scores of whole identifiers, answer first, float32 [B, 1 + C]."""
    return candidate_scores(model, context, batch, others).sum(dim=2)


def row_mean(values: Tensor, real: Tensor) -> Tensor:
    """Return the mean of each row's real values, [B]; 0 if there are none."""
    return (values * real).sum(dim=1) / real.sum(dim=1).clamp(min=1)
