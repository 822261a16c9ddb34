"""A loss: focal loss (Lin et al., 2017), which weighs symbols that are already likely less."""

from pydantic import Field
from torch import Tensor

from genir.config import Strict
from genir.models.base import Batch, DocidModel
from genir.training.losses.base import Loss
from genir.training.losses.scores import log_p


class FocalOptions(Strict):
    gamma: float = Field(default=2.0, ge=0, description="0 is cross-entropy")


class Focal(Loss):
    """Mean over the target's symbols of -(1 - p)^gamma log p."""

    name = "focal"
    Options = FocalOptions

    def value(self, model: DocidModel, batch: Batch) -> Tensor:
        rows = batch.rows.unsqueeze(1)  # one row of the identifier table a source
        own = log_p(model, self.setting.trie, batch.inputs, rows, "vocabulary").squeeze(1)
        losses = -((1 - own.exp()) ** self.options.gamma) * own  # [B, T]; 0 past the end
        weights = batch.weights[:, None] * (batch.targets >= 0)
        return (losses * weights).sum() / weights.sum()
