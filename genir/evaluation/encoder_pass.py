"""Encoder forward pass of transformers, as the lower bound of a neural search's latency."""

import copy
from collections.abc import Sequence
from typing import Any

import torch

from genir.models.base import DocidModel
from genir.models.encoder_head.model import EncoderHeadModel
from genir.models.seq2seq import Seq2SeqModel
from genir.types import Filter, Hit


class EncoderPass:
    """A searcher that tokenizes and encodes queries in fp32, and returns no hits.

    It runs a copy of the model's encoder in transformers, without genir's converted weights.
    length: maximum number of tokens of a query.
    """

    def __init__(self, model: DocidModel, length: int) -> None:
        self._net = copy.deepcopy(_encoder_of(model)).eval().float()
        self._tokenizer = model.tokenizer
        self._length = length
        self._device = model.device

    @torch.inference_mode()
    def search(
        self, queries: list[str], k: int, where: Filter | None = None
    ) -> Sequence[list[Hit]]:
        """Encode the queries; return no hits."""
        inputs = self._tokenizer(
            queries, padding=True, truncation=True, max_length=self._length, return_tensors="pt"
        ).to(self._device)
        self._net(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return [[] for _ in queries]


def _encoder_of(model: DocidModel) -> Any:
    if isinstance(model, EncoderHeadModel):
        return model.encoder.backbone
    if isinstance(model, Seq2SeqModel):
        return model.backbone.net.get_encoder()
    raise TypeError(f"a {model.kind!r} model has no transformers encoder")
