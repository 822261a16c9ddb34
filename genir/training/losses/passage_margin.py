"""Margins between documents that are scored by the sum of their identifiers (LTRGR)."""

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from genir.config import StageConfig, StrictModel
from genir.decoding.row_mask import RowMask
from genir.decoding.strategies.minder import FoundViews, Minder, find_views
from genir.decoding.strategies.ngram_weights import MAX_PROBABILITY
from genir.errors import InputError
from genir.models.base import Batch, DocidModel
from genir.models.eval_mode import evaluating
from genir.training.losses.base import Loss, weighted_mean
from genir.training.losses.log_probs import log_p


class PassageMarginOptions(StrictModel):
    """Options of the margin between documents.

    margin: minimum difference of the best answer and the best other document. random_margin: added
    to it for a random answer and a random other document. count: other documents to draw from.
    """

    margin: float = Field(default=10.0, ge=0)
    random_margin: float = Field(default=3.3, ge=0)
    count: int = Field(default=100, ge=1)


class PassageMargin(Loss):
    """LTRGR (arXiv:2306.15222), section 3.3.

    s(d) is the sum of the weights of the identifiers of document d that the search of each kind
    finds (`minder`). The loss is the mean of max(0, margin - s(answer) + s(other)) for the best of
    both, and with a larger margin for a random pair. Sources without an answer or another document
    among the results are skipped, as in the official code.
    """

    name = "passage-margin"
    Options = PassageMarginOptions
    needs_answers = True

    @classmethod
    def check(cls, options: PassageMarginOptions, stage: StageConfig) -> None:
        """Raise InputError for a strategy that does not sum identifiers."""
        if stage.decoding.strategy != Minder.name:
            raise InputError(
                f"[[losses]] passage-margin: sums the identifiers of a document as strategy "
                f"'minder' does, not {stage.decoding.strategy!r}; use loss = 'margin', or "
                "[decoding] strategy = 'minder'"
            )

    def compute(self, model: DocidModel, batch: Batch) -> Tensor:
        """Return the mean of the two hinges."""
        stage, table = self.context.retriever.decoder.stage, self.context.table
        live = RowMask.build([table.live]).to(batch.rows.device)
        strategy = self.context.retriever.decoder.strategy
        options = strategy.search_options(stage, live, self.context.recipe.decoding.beams)
        with evaluating(model):
            found = find_views(model, self.context.trie, table, batch.inputs, live, options)
        owners = [self._pairs(one, own) for one, own in zip(found, batch.answers, strict=True)]
        kept = torch.tensor([pairs is not None for pairs in owners], device=batch.rows.device)
        nothing = torch.zeros(4, len(found[0].low), dtype=torch.bool)
        holds = torch.stack([nothing if own is None else own for own in owners])
        weights = self._weights(model, batch, found)
        sums = (holds.to(weights.device) * weights.unsqueeze(1)).sum(dim=2)  # [B, 4]
        margin = self.options.margin
        best = F.relu(margin - sums[:, 0] + sums[:, 1])
        drawn = F.relu(margin + self.options.random_margin - sums[:, 2] + sums[:, 3])
        return weighted_mean((best + drawn) / 2 * kept, batch.weights * kept)

    def _pairs(self, found: FoundViews, answers: Tensor) -> Tensor | None:
        """Return whether each identifier belongs to the chosen documents, bool [4, N].

        They are the best answer, the best other document, a random answer, a random other one.
        None if there is no answer or no other document.
        """
        owners: list[list[int]] = [
            [] if score == -torch.inf else self.context.table.documents[low:high].tolist()
            for low, high, score in zip(*found[:3], strict=True)
        ]
        sums: dict[int, float] = {}
        for documents, weight in zip(owners, found.weight.tolist(), strict=True):
            for document in set(documents):
                sums[document] = sums.get(document, 0.0) + weight
        ranked = sorted(sums, key=lambda document: (-sums[document], document))
        known = set(answers.tolist())
        right = [document for document in ranked if document in known]
        wrong = [document for document in ranked if document not in known][: self.options.count]
        if not right or not wrong:
            return None
        chosen = (right[0], wrong[0], _draw(right), _draw(wrong))
        return torch.tensor([[one in set(own) for own in owners] for one in chosen])

    def _weights(self, model: DocidModel, batch: Batch, found: list[FoundViews]) -> Tensor:
        """Return the weights of the found identifiers with gradients, float32 [B, N]."""
        device = batch.rows.device
        rows, share, score = (
            torch.stack([torch.from_numpy(getattr(one, name)) for one in found]).to(device)
            for name in ("low", "share", "score")
        )
        own = self._log_p(model, batch, rows)
        weights = F.relu(_log_odds(own) - _log_odds(share.log().float()))
        return weights.masked_fill(score == -torch.inf, 0.0)

    def _log_p(self, model: DocidModel, batch: Batch, rows: Tensor) -> Tensor:
        """Return log p of rows [B, N] as a search of their kind has it, float32 [B, N]."""
        softmax = self.context.recipe.decoding.softmax
        steps = log_p(model, self.context.trie, batch.inputs, rows, softmax)
        # A search of one kind has no choice at the first symbol, which is the kind.
        return steps[..., 1:].sum(dim=2) if softmax == "trie" else steps.sum(dim=2)


def _log_odds(log_p: Tensor) -> Tensor:
    held = log_p.clamp(max=torch.tensor(MAX_PROBABILITY).log().item())
    return held - torch.log1p(-held.exp())


def _draw(documents: list[int]) -> int:
    return documents[int(torch.randint(len(documents), ()))]
