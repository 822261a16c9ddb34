"""Cross-entropy over all symbols or over the trie's legal symbols."""

from typing import Literal

import torch
from torch import Tensor

from genir.config import StageConfig, StrictModel
from genir.errors import InputError
from genir.models.base import Batch, DocidModel
from genir.training.losses.base import Loss
from genir.training.losses.log_probs import legal_choices, mean_of_symbols


class CrossEntropyOptions(StrictModel):
    """Options of cross-entropy.

    softmax: softmax over the "vocabulary" or the "trie" symbols; best as under `[decoding]`.
    """

    softmax: Literal["vocabulary", "trie"] = "vocabulary"


class CrossEntropy(Loss):
    """-log p of the target, averaged over its symbols, with `training.label_smoothing`.

    Over the vocabulary it is the model's own `loss`; for an encoder-head model, over documents and
    prefixes. Text targets always use the whole vocabulary.
    """

    name = "cross-entropy"
    Options = CrossEntropyOptions
    accepts_text = True
    smooths_labels = True

    @classmethod
    def check(cls, options: CrossEntropyOptions, stage: StageConfig) -> None:
        """Raise InputError for an option without effect."""
        if options.softmax == "trie" and stage.identifiers.scheme == "atomic":
            raise InputError(
                "[[losses]] softmax = 'trie': every symbol of the scheme 'atomic' is legal; "
                "leave it out"
            )

    def compute(self, model: DocidModel, batch: Batch) -> Tensor:
        """Return the cross-entropy of the targets."""
        smoothing = self.context.recipe.training.label_smoothing
        if self.options.softmax == "vocabulary" or bool(batch.rows[0] < 0):
            return model.loss(batch, smoothing)
        return self._trie_loss(model, batch, smoothing)

    def _trie_loss(self, model: DocidModel, batch: Batch, smoothing: float) -> Tensor:
        losses = []
        for one in legal_choices(model, self.context.trie, batch.inputs, batch.rows.unsqueeze(1)):
            own = torch.where(one.chosen, one.log_p, 0.0).sum(dim=-1)
            spread = torch.where(one.legal, one.log_p, 0.0).sum(dim=-1) / one.legal.sum(dim=-1)
            losses.append(-(1 - smoothing) * own - smoothing * spread)
        return mean_of_symbols(losses, batch)
