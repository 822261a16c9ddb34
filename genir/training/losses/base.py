"""Base class of losses, independent of the training loop.

To add a loss: write a subclass in the file of its family, and name it in `registry.py`.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from genir.config import StageConfig, StrictModel
from genir.decoding.trie import Trie
from genir.identifiers.table import IdentifierTable
from genir.models.base import Batch, DocidModel
from genir.retriever import Retriever
from genir.types import Example


@dataclass(frozen=True)
class LossContext:
    """Context in which a loss is computed.

    Attributes:
        start: Model folder with the weights before the first step.
        work: Cache folder for expensive results, kept until training ends.
        examples: Examples of the first epoch.
    """

    retriever: Retriever
    start: Path
    work: Path
    examples: Sequence[Example] = ()

    @property
    def recipe(self) -> StageConfig:
        """Return the recipe's stage."""
        return self.retriever.recipe

    @property
    def table(self) -> IdentifierTable:
        """Return the table of identifiers."""
        return self.retriever.table

    @property
    def trie(self) -> Trie:
        """Return the trie, on the model's current device."""
        return self.retriever.decoder.stage.trie

    def documents(self, rows: Tensor) -> Tensor:
        """Return the document numbers of rows; arbitrary for rows below 0."""
        return self._documents[rows.clamp(min=0)]

    @cached_property
    def _documents(self) -> Tensor:
        return torch.from_numpy(self.table.documents).to(self.trie.symbols.device)

    def belongs_to(self, rows: Tensor, documents: Tensor) -> Tensor:
        """Return whether a row's identifier also belongs to given documents, bool [B, C].

        Args:
            rows: Rows of the table, int64 [B, C].
            documents: Document numbers, int64 [B, A], padded with -1.
        """
        numbers, owned = self._owned
        wanted = numbers[rows.clamp(min=0)].unsqueeze(2) * len(self.table.keys)
        wanted = wanted + documents.unsqueeze(1)
        place = torch.searchsorted(owned, wanted).clamp(max=len(owned) - 1)
        return ((owned[place] == wanted) & (documents >= 0).unsqueeze(1)).any(dim=2)

    @cached_property
    def _owned(self) -> tuple[Tensor, Tensor]:
        """Return each row's identifier number, and sorted (identifier, document) pair codes."""
        symbols = self.trie.symbols
        new = (symbols[1:] != symbols[:-1]).any(dim=1)
        numbers = torch.cat([new.new_zeros(1), new]).long().cumsum(dim=0)
        return numbers, (numbers * len(self.table.keys) + self._documents).sort().values


class Loss(ABC):
    """Loss of the recipe. Randomness comes only from torch's generator.

    All other state is rebuilt from the `LossContext`, so a resumed training is bit-identical.
    """

    name: ClassVar[str]
    Options: ClassVar[type[StrictModel]]
    accepts_text: ClassVar[bool] = False
    """Whether the loss supports text targets; other losses skip batches with text targets."""
    needs_answers: ClassVar[bool] = False
    """Whether the loss needs the documents that answer each source."""
    smooths_labels: ClassVar[bool] = False
    """Whether the loss uses `training.label_smoothing`."""
    progress: float = 0.0
    """Fraction of the training steps done, 0 to 1, set before each step."""

    def __init__(self, options: Any, context: LossContext) -> None:
        """Prepare the loss. Raises InputError if an input is missing or invalid."""
        self.options = options
        self.context = context

    @classmethod
    def check(cls, options: Any, stage: StageConfig) -> None:
        """Raise InputError if the loss does not fit the stage. By default it always does."""
        return

    @abstractmethod
    def compute(self, model: DocidModel, batch: Batch) -> Tensor:
        """Return the weighted mean over the batch's examples, a float32 scalar."""


def weighted_mean(losses: Tensor, weights: Tensor) -> Tensor:
    """Return the mean of losses [B] by weights [B]; 0, with gradients, if all weights are 0."""
    return (losses * weights).sum() / weights.sum().clamp(min=1e-9)
