"""Base class of search strategies.

A strategy turns queries into ranked documents with a model and the trie of its identifiers. To add
one, write one file with a subclass, and name it in `registry.py` or in an entry point.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from numpy.typing import NDArray

from genir.config import Recipe, StageConfig, StrictModel, validate
from genir.decoding.aggregate import Ranked
from genir.decoding.row_mask import RowMask
from genir.decoding.search_options import SearchOptions
from genir.decoding.stage import Stage
from genir.errors import InputError, did_you_mean
from genir.identifiers.table import IdentifierTable
from genir.types import Capabilities, HitList


class SearchStrategy(ABC):
    """A way to search: `[decoding] strategy` in a recipe.

    Attributes:
        name: Value of `strategy`.
        Options: Further keys of `[decoding]`.
        capabilities: Features that the strategy supports.
        needs_passage_stage: Whether the recipe must have a `[passage_stage]`.
        takes_logits: Whether scores may be unnormalised (`softmax = "none"`).
    """

    name: ClassVar[str]
    Options: ClassVar[type[StrictModel]] = StrictModel
    capabilities: ClassVar[Capabilities] = Capabilities()
    needs_passage_stage: ClassVar[bool] = False
    takes_logits: ClassVar[bool] = False

    def __init__(self, config: StageConfig, stages: Sequence[Stage] = ()) -> None:
        """Read the options. Raises InputError for an unknown or invalid one.

        Args:
            config: Recipe of the stage that emits identifiers of documents.
            stages: Further stages; see `load_stages`.
        """
        self.config = config
        self.stages = stages
        self.options: Any = read_options(type(self), config)

    @classmethod
    def check(cls, options: Any, recipe: Recipe) -> None:
        """Raise InputError for a recipe that the strategy does not support. By default none."""
        return

    @classmethod
    def max_identifiers(cls, options: Any) -> int:
        """Return the maximum number of identifiers in one answer."""
        return 1

    @classmethod
    def load_stages(cls, recipe: Recipe, folder: Path) -> Sequence[Stage]:
        """Load the further stages of a model folder. By default there are none."""
        return ()

    def save(self, folder: Path, table: IdentifierTable, numbers: NDArray[Any]) -> None:
        """Write further files to a model folder. By default none.

        Args:
            folder: New model folder.
            table: Table written to it.
            numbers: New number of each current document, int64 [documents]; -1 if it is left out.
        """
        return

    def search_options(self, stage: Stage, row_mask: RowMask, beams: int) -> SearchOptions:
        """Return the parameters of a search for queries with these masks.

        If every document is one symbol, a softmax over the vocabulary depends on all documents. So
        a closed selection uses the softmax over legal symbols, which gives the same ranking. Other
        vocabularies do not depend on the documents.
        """
        closed = row_mask.restrict_scores and stage.model.has_document_rows
        softmax = self.config.decoding.softmax
        softmax = "trie" if closed and softmax == "vocabulary" else softmax
        return SearchOptions(min(beams, stage.trie.rows), softmax)

    @abstractmethod
    def search(
        self, stage: Stage, queries: Sequence[str], row_mask: RowMask, beams: int, k: int
    ) -> list[list[Ranked]]:
        """Return documents for each query, best first, ties broken by key.

        A query that gets fewer than k documents while more of them pass is searched again with
        twice the beams, up to the number of rows.

        Args:
            stage: Model, identifiers and trie.
            queries: B query texts.
            row_mask: Rows that each query may reach; no other document may be returned.
            beams: Beam width.
            k: Number of documents needed.
        """

    def prove(
        self, stage: Stage, queries: Sequence[str], row_mask: RowMask, k: int
    ) -> list[HitList[Ranked]]:
        """Return the proven top k of each query; empty and `proven=False` beyond the budget.

        Raises:
            InputError: The strategy has no exact search.
        """
        raise InputError(unsupported("exact search", self.name))


def unsupported(feature: str, name: str) -> str:
    """Return the message that a strategy does not support a feature."""
    return (
        f"{feature}: [decoding] strategy = {name!r} does not support it; use a model with "
        "strategy = 'beam'"
    )


def read_options(strategy: type[SearchStrategy], config: StageConfig) -> StrictModel:
    """Return the options of a strategy. Raises InputError for an unknown or invalid one."""
    where, options = f"[decoding] strategy = {strategy.name!r}", config.decoding.options
    known = [*type(config.decoding).model_fields, *strategy.Options.model_fields]
    for key in options.keys() - known:
        raise InputError(f"{where}: unknown key {key!r}{did_you_mean(key, known)}")
    return validate(strategy.Options, options, where)
