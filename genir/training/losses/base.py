"""The contract of a loss: a number of a model and a batch. Knows no loop.

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

from genir.config import Stage, Strict
from genir.decoding.trie import Trie
from genir.identifiers.table import IdentifierTable
from genir.models.base import Batch, DocidModel
from genir.records import Example
from genir.retriever import Retriever


@dataclass(frozen=True)
class Setting:
    """Where a loss is measured.

    retriever: what is trained. start: the model folder of what it was before the first step. work:
    a folder for what is dear to make, kept until the training is done. examples: those of the first
    epoch.
    """

    retriever: Retriever
    start: Path
    work: Path
    examples: Sequence[Example] = ()

    @property
    def recipe(self) -> Stage:
        """Return the recipe."""
        return self.retriever.recipe

    @property
    def table(self) -> IdentifierTable:
        """Return the table of identifiers."""
        return self.retriever.table

    @property
    def trie(self) -> Trie:
        """Return the trie, on the device where the model is by now."""
        return self.retriever.trie

    def documents(self, rows: Tensor) -> Tensor:
        """Return the numbers of the documents that rows belong to; of rows below 0, any."""
        return self._documents[rows.clamp(min=0)]

    @cached_property
    def _documents(self) -> Tensor:
        return torch.from_numpy(self.table.documents).to(self.trie.symbols.device)

    def held_by(self, rows: Tensor, documents: Tensor) -> Tensor:
        """Tell whose identifiers are also of some documents: bool [B, C] of rows int64 [B, C].

        documents: numbers, int64 [B, A], padded with -1.
        """
        numbers, owned = self._owned
        wanted = numbers[rows.clamp(min=0)].unsqueeze(2) * len(self.table.keys)
        wanted = wanted + documents.unsqueeze(1)
        place = torch.searchsorted(owned, wanted).clamp(max=len(owned) - 1)
        return ((owned[place] == wanted) & (documents >= 0).unsqueeze(1)).any(dim=2)

    @cached_property
    def _owned(self) -> tuple[Tensor, Tensor]:
        """Return the number of each row's identifier, and (that, document) as sorted numbers."""
        symbols = self.trie.symbols
        new = (symbols[1:] != symbols[:-1]).any(dim=1)
        numbers = torch.cat([new.new_zeros(1), new]).long().cumsum(dim=0)
        return numbers, (numbers * len(self.table.keys) + self._documents).sort().values


class Loss(ABC):
    """A loss of the recipe. What it draws at random comes from torch's generator, or nowhere.

    Whatever it needs beside weights and batch is made from the `Setting` anew, so that a resumed
    training goes on with the same bits.
    """

    name: ClassVar[str]
    Options: ClassVar[type[Strict]]
    takes_text: ClassVar[bool] = False
    """Whether targets may be text; batches of such targets are left to these losses."""
    takes_lists: ClassVar[bool] = False
    """Whether batches must know which documents answer their sources."""

    def __init__(self, options: Any, setting: Setting) -> None:
        """Make what the loss needs. Raises InputError when it cannot be had."""
        self.options = options
        self.setting = setting

    @classmethod
    def check(cls, options: Any, stage: Stage) -> None:
        """Raise InputError where the loss makes no sense in a recipe. By default nothing."""
        return

    @abstractmethod
    def value(self, model: DocidModel, batch: Batch) -> Tensor:
        """Return the mean over the batch's examples by their weights: a scalar float32 tensor."""


def weighted_mean(losses: Tensor, weights: Tensor) -> Tensor:
    """Return the mean of losses [B] by weights [B]; 0, with gradients, where no weight is."""
    return (losses * weights).sum() / weights.sum().clamp(min=1e-9)
