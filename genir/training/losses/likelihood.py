"""Cross-entropy over all symbols or over the trie's legal symbols."""

from typing import Literal

import torch
from torch import Tensor

from genir.config import Stage, Strict
from genir.errors import InputError
from genir.models.base import Batch, DocidModel
from genir.training.losses.base import Loss
from genir.training.losses.scores import legal_choices, mean_of_symbols


class CrossEntropyOptions(Strict):
    """Options of cross-entropy.

    normalise: softmax over the "vocabulary" or the "legal" symbols; best as under `[decoding]`.
    """

    normalise: Literal["vocabulary", "legal"] = "vocabulary"


class CrossEntropy(Loss):
    """-log p of the target, averaged over its symbols, with `training.label_smoothing`.

    Over the vocabulary it is the model's own `loss`; for a bridge, over documents and prefixes.
    Text targets always use the whole vocabulary.
    """

    name = "cross-entropy"
    Options = CrossEntropyOptions
    takes_text = True

    @classmethod
    def check(cls, options: CrossEntropyOptions, stage: Stage) -> None:
        """Raise InputError for an option without effect."""
        if options.normalise == "legal" and stage.identifiers.scheme == "atomic":
            raise InputError(
                "[[losses]] normalise = 'legal': every symbol of the scheme 'atomic' is legal; "
                "leave it out"
            )

    def value(self, model: DocidModel, batch: Batch) -> Tensor:
        """Return the cross-entropy of the targets."""
        smoothing = self.setting.recipe.training.label_smoothing
        if self.options.normalise == "vocabulary" or bool(batch.rows[0] < 0):
            return model.loss(batch, smoothing)
        return self._legal(model, batch, smoothing)

    def _legal(self, model: DocidModel, batch: Batch, smoothing: float) -> Tensor:
        losses = []
        for one in legal_choices(model, self.setting.trie, batch.inputs, batch.rows.unsqueeze(1)):
            own = torch.where(one.chosen, one.log_p, 0.0).sum(dim=-1)
            spread = torch.where(one.legal, one.log_p, 0.0).sum(dim=-1) / one.legal.sum(dim=-1)
            losses.append(-(1 - smoothing) * own - smoothing * spread)
        return mean_of_symbols(losses, batch)
