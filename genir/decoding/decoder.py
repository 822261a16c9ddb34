"""`Decoder`: ranks document numbers for queries, with a model, its trie and a search strategy."""

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Self

import numpy as np
import torch

from genir.arguments import as_counts, as_texts
from genir.cancellation import raise_if_cancelled
from genir.config import Recipe
from genir.decoding.aggregate import Ranked
from genir.decoding.row_mask import Mask, RowMask
from genir.decoding.stage import NAN_SCORES, Stage
from genir.decoding.strategies.base import SearchStrategy, unsupported
from genir.decoding.strategies.beam import Beam
from genir.decoding.strategies.registry import check_strategy, find_strategy, load_strategy
from genir.errors import InputError
from genir.identifiers.table import IdentifierTable
from genir.models.base import DocidModel
from genir.models.eval_mode import evaluating
from genir.types import HitList


class Decoder:
    """Ranks the documents of a table.

    Attributes:
        stage: Model, identifiers and trie.
        strategy: Search strategy.
    """

    def __init__(self, stage: Stage, strategy: SearchStrategy) -> None:
        self.stage = stage
        self.strategy = strategy

    @classmethod
    def load(cls, folder: Path, recipe: Recipe, device: torch.device) -> Self:
        """Load a model folder onto a device. Raises InputError for missing or damaged files."""
        try:
            check_strategy(recipe)
        except InputError as error:
            raise InputError(f"{folder / 'recipe.toml'}: {error}") from None
        decoder = cls(Stage.load(folder, recipe), load_strategy(recipe, folder))
        decoder.to(device)
        return decoder

    @property
    def stages(self) -> list[Stage]:
        """All stages; the one that emits identifiers of documents is the first."""
        return [self.stage, *self.strategy.stages]

    def to(self, device: torch.device | str) -> None:
        """Move models and tries to a device, in place."""
        for stage in self.stages:
            stage.to(device)

    def with_table(self, table: IdentifierTable, model: DocidModel) -> "Decoder":
        """Return the decoder with another table, and the model for it."""
        return type(self)(self.stage.with_table(table, model), self.strategy)

    def with_recipe(self, recipe: Recipe) -> "Decoder":
        """Return the decoder under another recipe, with the same networks and identifiers.

        Raises:
            InputError: The strategy does not fit the recipe.
        """
        check_strategy(recipe)
        strategy = find_strategy(recipe.decoding.strategy)
        return type(self)(self.stage.with_config(recipe), strategy(recipe, self.strategy.stages))

    def beam_width(self, k: int, beams: int | None = None) -> int:
        """Return the beam width for k hits; beams: the requested one, None for the recipe's.

        It is multiplied by the largest number of units of a document: fewer beams may all be units
        of fewer than k documents.
        """
        return max(k, beams or self.stage.config.decoding.beams) * self.stage.table.max_units

    def require(self, capability: str, feature: str) -> None:
        """Raise InputError that names `feature` if the strategy lacks a capability."""
        if not getattr(self.strategy.capabilities, capability):
            raise InputError(unsupported(feature, self.strategy.name))

    def traceable_strategy(self, feature: str) -> Beam:
        """Return the strategy if `feature` can follow its search. Raises InputError otherwise."""
        if not (self.strategy.capabilities.trace and isinstance(self.strategy, Beam)):
            raise InputError(unsupported(feature, self.strategy.name))
        return self.strategy

    @torch.inference_mode()
    def rank(
        self,
        queries: str | Iterable[str],
        k: int | Sequence[int],
        row_mask: RowMask,
        beams: int,
        exact: bool | None = None,
    ) -> list[HitList[Ranked]]:
        """Return at most k documents for each query, best first.

        Args:
            queries: Query texts; a string is one query.
            k: Number of documents, for all queries or for each.
            row_mask: Rows that each query may reach.
            beams: Beam width.
            exact: Whether to prove the top k first; None follows the strategy.

        Raises:
            InputError: The strategy does not support the request, or a score is NaN.
        """
        exact = self.strategy.capabilities.proves_by_default if exact is None else exact
        queries = as_texts(queries)
        ks = as_counts(k, "k", len(queries))
        answers: list[HitList[Ranked]] = [HitList() for _ in queries]
        with evaluating(self.stage.model):
            row_mask = row_mask.to(self.stage.model.device)
            if exact:
                self.require("proof", "exact search")
                most = max(ks, default=0)
                proven = self.strategy.prove(self.stage, queries, row_mask, most)
                answers = [HitList(one[:n], one.proven) for one, n in zip(proven, ks, strict=True)]
            self._search_until_enough(answers, queries, ks, row_mask, beams)
        return answers

    def _search_until_enough(
        self,
        answers: list[HitList[Ranked]],
        queries: Sequence[str],
        ks: Sequence[int],
        row_mask: RowMask,
        beams: int,
    ) -> None:
        """Search the queries that have too few documents, with twice the beams each time.

        Several identifiers of one document may have occupied the beams.
        """
        places = row_mask.mask_index(len(queries))
        matching = cache(lambda place: count_documents(self.stage, row_mask.masks[place]))

        def lacking(asked: Iterable[int]) -> list[int]:
            short = [q for q in asked if len(answers[q]) < ks[q]]
            return [q for q in short if len(answers[q]) < matching(places[q])]

        short, most = lacking(range(len(queries))), max(ks, default=0)
        while short:
            raise_if_cancelled()
            asked = [queries[q] for q in short]
            found = self.strategy.search(self.stage, asked, row_mask.select(short), beams, most)
            for query, ranked in zip(short, found, strict=True):
                answers[query] = HitList(ranked[: ks[query]], answers[query].proven)
            short = lacking(short)
            if short and beams >= self.stage.trie.rows:
                raise InputError(NAN_SCORES)
            beams *= 2


def count_documents(stage: Stage, mask: Mask) -> int:
    """Return the number of documents with a row in a mask, bool [rows]."""
    if stage.has_unique_identifiers:
        return int(np.count_nonzero(mask))
    return int(np.count_nonzero(np.bincount(stage.table.documents[mask])))
