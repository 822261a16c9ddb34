"""Loss: focal loss (Lin et al., 2017), cross-entropy with less weight on well-predicted symbols."""

from pydantic import Field
from torch import Tensor

from genir.config import StrictModel
from genir.models.base import Batch, DocidModel
from genir.training.losses.base import Loss
from genir.training.losses.log_probs import log_p


class FocalOptions(StrictModel):
    """Keys of `[[losses]]` besides `loss` and `weight`."""

    gamma: float = Field(default=2.0, ge=0, description="exponent; 0 is cross-entropy")


class Focal(Loss):
    """Mean of -(1 - p)^gamma log p over the symbols of the target identifiers."""

    name = "focal"
    Options = FocalOptions

    def compute(self, model: DocidModel, batch: Batch) -> Tensor:
        """Return the weighted mean over B examples with identifiers of up to T symbols."""
        rows = batch.rows.unsqueeze(1)  # [B, 1]: row of the target in the identifier table
        logs = log_p(model, self.context.trie, batch.inputs, rows, "vocabulary").squeeze(1)
        losses = -((1 - logs.exp()) ** self.options.gamma) * logs  # [B, T]
        weights = batch.weights[:, None] * (batch.targets >= 0)  # 0 after the end
        return (losses * weights).sum() / weights.sum()
