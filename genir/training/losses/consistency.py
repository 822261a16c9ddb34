"""Consistency of two views of a source (NCI's R-Drop)."""

from dataclasses import replace

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from genir.config import StageConfig, StrictModel
from genir.corpus.tokens import join_words, words
from genir.errors import InputError
from genir.identifiers.table import PAD
from genir.models.base import Batch, DocidModel
from genir.models.seq2seq import Seq2SeqModel
from genir.models.tokenization import encode_texts, pad_batch
from genir.training.losses.base import Loss


class RDropOptions(StrictModel):
    """Options of R-Drop.

    alpha: weight of the consistency. temperature: divisor of the products of decoder states.
    mask_batches: fraction of the batches whose source tokens are masked. mask_tokens: fraction of
    their tokens.
    """

    alpha: float = Field(default=0.15, ge=0)
    temperature: float = Field(default=1.0, gt=0)
    mask_batches: float = Field(default=0.5, ge=0, le=1)
    mask_tokens: float = Field(default=0.1, ge=0, lt=1)


class RDrop(Loss):
    """NCI (arXiv:2206.02743), section 3.4: cross-entropy of two views, and their consistency.

    The second view of a source is a random span of its words. At each position, the decoder state
    of a view must be closer to that of the other view of its source than to all other states of
    the batch:

        -log(exp(z . z' / t) / sum over the other 2 B - 1 states u of exp(z . u / t))

    averaged over views and positions, and added `alpha` times to the cross-entropy of both views.
    """

    name = "r-drop"
    Options = RDropOptions
    smooths_labels = True

    @classmethod
    def check(cls, options: RDropOptions, stage: StageConfig) -> None:
        """Raise InputError for a model without a decoder."""
        if stage.model.kind != "seq2seq":
            raise InputError(
                f"[[losses]] r-drop: compares decoder states, which a {stage.model.kind!r} model "
                "lacks; use [model] kind = 'seq2seq'"
            )

    def compute(self, model: DocidModel, batch: Batch) -> Tensor:
        """Return the cross-entropy plus the consistency."""
        both = self._both_views(model, batch)
        losses, consistency = [], []
        states = model.teacher_forced_states(both.inputs, both.targets.unsqueeze(1))
        assert isinstance(model, Seq2SeqModel)
        width = model.backbone.output.weight.shape[1]  # a head may append states of its own
        smoothing = self.context.recipe.training.label_smoothing
        for depth, hidden in enumerate(states):
            target = both.targets[:, depth]
            real = target != PAD
            logits = model.level_logits(hidden[real, 0], depth)
            loss = F.cross_entropy(
                logits, target[real], reduction="none", label_smoothing=smoothing
            )
            losses.append(loss.new_zeros(target.shape).masked_scatter(real, loss))
            if bool(real.any()):
                consistency.append(self._consistency(hidden[real, 0, :width]))
        weights = both.weights[:, None] * (both.targets != PAD)
        entropy = (torch.stack(losses, dim=1) * weights).sum() / weights.sum()
        return entropy + self.options.alpha * torch.stack(consistency).mean()

    def _consistency(self, states: Tensor) -> Tensor:
        """Return the mean loss of states [2 N, H]: N first views, then their second views."""
        with torch.autocast(states.device.type, enabled=False):  # bf16 would round large products
            products = states.float() @ states.float().T / self.options.temperature
        itself = torch.eye(len(states), dtype=torch.bool, device=states.device)
        other = torch.arange(len(states), device=states.device).roll(len(states) // 2)
        return F.cross_entropy(products.masked_fill(itself, -torch.inf), other)

    def _both_views(self, model: DocidModel, batch: Batch) -> Batch:
        """Return the batch and, after it, its second views."""
        spans = [random_span(text) for text in batch.sources]
        length = self.context.recipe.training.source_length
        pad = model.tokenizer.pad_token_id
        read = pad_batch(encode_texts(model.tokenizer, spans, length), pad)
        second = [one.to(batch.input_ids.device) for one in read]
        longest = max(batch.input_ids.shape[1], second[0].shape[1])
        ids, mask = (
            torch.cat([F.pad(one, (0, longest - one.shape[1]), value=value) for one in parts])
            for parts, value in (
                ((batch.input_ids, second[0]), pad),
                ((batch.attention_mask, second[1]), 0),
            )
        )
        if float(torch.rand(())) < self.options.mask_batches:
            hidden = torch.rand(ids.shape) < self.options.mask_tokens
            ids = ids.masked_fill(hidden.to(ids.device), pad)
        return replace(
            batch,
            input_ids=ids,
            attention_mask=mask,
            targets=batch.targets.repeat(2, 1),
            weights=batch.weights.repeat(2),
        )


def random_span(text: str) -> str:
    """Return a span of a text's words with uniform ends, at least one word."""
    found = words(text)
    if len(found) < 2:
        return text
    start, end = torch.randint(len(found), (2,)).sort().values.tolist()
    return join_words(found[start : end + 1])
