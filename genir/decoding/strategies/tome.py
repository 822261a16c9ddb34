"""Two-stage retrieval (TOME, ACL 2023): query -> passages -> identifiers.

score(document | query) = log p(passage | query) + log p(identifier | passage), aggregated over the
passages in the first stage's beams (`aggregate`). The second stage may also read the query itself
(`query_weight`; not in the paper). The first stage is constrained to passages of documents that may
be found.
"""

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from genir.config import Recipe, StageConfig, StrictModel
from genir.decoding.aggregate import Ranked, rank_documents
from genir.decoding.beam import beam_search
from genir.decoding.row_mask import Mask, RowMask
from genir.decoding.search_options import SearchOptions
from genir.decoding.stage import NAN_SCORES, Stage
from genir.decoding.strategies.base import SearchStrategy
from genir.decoding.strategies.beam import Beam, find_identifiers, masks_of, to_numpy
from genir.errors import InputError
from genir.identifiers.registry import SCHEMES
from genir.identifiers.table import IdentifierTable
from genir.types import Capabilities

FOLDER = "passage_stage"
"""Folder of the first stage in a model folder."""


class Source(NamedTuple):
    """A source text of the second stage, and its log-probability given the query."""

    text: str
    score: float


class TomeOptions(StrictModel):
    """Options of the two-stage search.

    aggregate: document score from the scores of its identifiers over all passages.
    """

    aggregate: Literal["max", "logsumexp"] = "max"
    query_weight: float = Field(
        default=0.0, ge=0, lt=1, description="weight of the query itself, beside the passages"
    )


class Tome(SearchStrategy):
    """Beam search for passages, then beam search for identifiers given each passage."""

    name = "tome"
    Options = TomeOptions
    capabilities = Capabilities(insertion=False)
    needs_passage_stage = True

    def __init__(self, config: StageConfig, stages: Sequence[Stage] = ()) -> None:
        super().__init__(config, stages)
        # Keys of the second stage's table, and the number there of each document of the first's.
        self._numbers: tuple[Sequence[str], NDArray[np.int64]] | None = None

    @classmethod
    def check(cls, options: TomeOptions, recipe: Recipe) -> None:
        """Raise InputError unless the first stage emits text by beam search."""
        first = recipe.passage_stage
        if first is None:
            return
        if first.decoding.strategy != Beam.name or first.decoding.options:
            raise InputError(
                "[passage_stage.decoding]: the first stage uses plain beam search; set only beams "
                "and softmax"
            )
        scheme = first.identifiers.scheme
        if not SCHEMES.find(scheme).needs_tokenizer:
            raise InputError(
                f"[passage_stage.identifiers] scheme = {scheme!r}: the second stage reads the "
                "passages of the first, so they must be text; take 'passage'"
            )

    @classmethod
    def load_stages(cls, recipe: Recipe, folder: Path) -> Sequence[Stage]:
        """Load the first stage from `passage_stage/` in a folder."""
        first = recipe.passage_stage
        return () if first is None else [Stage.load(folder / FOLDER, first)]

    def save(self, folder: Path, table: IdentifierTable, numbers: NDArray[Any]) -> None:
        """Write the first stage to `passage_stage/`, without the documents that are left out."""
        first = self.passage_stage
        first.model.save(folder / FOLDER)
        first.scheme.save(folder / FOLDER / "identifiers")
        kept = numbers[first.table.documents] >= 0
        own = numbers[first.table.documents[kept]]
        live = first.table.live[kept]
        written = IdentifierTable(first.table.symbols[kept], own, table.keys, live)
        written.save(folder / FOLDER / "identifiers")

    @property
    def passage_stage(self) -> Stage:
        """The first stage."""
        return self.stages[0]

    def search(
        self, stage: Stage, queries: Sequence[str], row_mask: RowMask, beams: int, k: int
    ) -> list[list[Ranked]]:
        """Return the documents below the identifiers that any source of a query finds."""
        options, aggregate = self.search_options(stage, row_mask, beams), self.options.aggregate
        passages = self.passages(queries, row_mask, stage.table)
        sources = add_queries(passages, queries, self.options.query_weight)
        owners = [query for query, own in enumerate(sources) for _ in own]
        flat = [source for own in sources for source in own]
        # Identifiers beyond the top k of one source count where the scores of several are added.
        adds = aggregate == "logsumexp" and len(flat) > len(queries)
        top_k = k if stage.has_unique_identifiers and not adds else None
        with stage.autocast():
            inputs = stage.encode([source.text for source in flat])
            own_masks = row_mask.select(owners)
            low, high, score = to_numpy(find_identifiers(stage, inputs, own_masks, options, top_k))
        score = score + np.array([source.score for source in flat])[:, None]
        ends = pairwise(accumulate(map(len, sources), initial=0))
        return [
            rank_documents(
                stage.table,
                low[start:end].ravel(),
                high[start:end].ravel(),
                score[start:end].ravel(),
                mask,
                aggregate,
            )
            for (start, end), mask in zip(ends, masks_of(row_mask, queries), strict=True)
        ]

    @torch.inference_mode()
    def passages(
        self, queries: Sequence[str], row_mask: RowMask, second: IdentifierTable
    ) -> list[list[Source]]:
        """Return the top `[passage_stage.decoding] beams` passages of each query with their log p.

        Args:
            queries: Query texts.
            row_mask: Rows of the second stage's table that each query may reach; passages of other
                documents are excluded.
            second: Table of the second stage.

        Raises:
            InputError: A score is NaN.
        """
        if not queries:
            return []
        first = self.passage_stage
        masks = [self._rows(mask, second) for mask in row_mask.masks]
        index = None if row_mask.index is None else row_mask.mask_index(len(queries))
        own = RowMask.build(masks, index, row_mask.restrict_scores).to(first.model.device)
        decoding = first.config.decoding
        options = SearchOptions(min(decoding.beams, first.trie.rows), decoding.softmax)
        with first.autocast():
            found = beam_search(first.model, first.trie, first.encode(queries), own, options)
        rows = zip(found.low.tolist(), found.score.tolist(), strict=True)
        sources = [self._sources(low, score) for low, score in rows]
        if not all(sources):
            raise InputError(NAN_SCORES)
        return sources

    def _rows(self, mask: Mask, second: IdentifierTable) -> Mask:
        """Return the passages of documents with a row in `mask`, bool [rows]."""
        passing = np.zeros(len(second.keys) + 1, dtype=bool)  # the last entry is for number -1
        passing[second.documents[mask]] = True
        table = self.passage_stage.table
        rows: Mask = table.live & passing[self._numbers_in(second)[table.documents]]
        return rows

    def _numbers_in(self, second: IdentifierTable) -> NDArray[np.int64]:
        """Return the document numbers in the second table; -1 for documents compacted away."""
        if self._numbers is None or self._numbers[0] is not second.keys:
            keys = self.passage_stage.table.keys
            numbers = np.array([second.number(k) if k in second else -1 for k in keys], np.int64)
            self._numbers = (second.keys, numbers)
        return self._numbers[1]

    def _sources(self, low: Sequence[int], scores: Sequence[float]) -> list[Source]:
        first = self.passage_stage
        return [
            Source(first.scheme.to_text(first.table.identifier(row)), score)
            for row, score in zip(low, scores, strict=True)
            if score > -np.inf
        ]


def add_queries(
    passages: Sequence[Sequence[Source]], queries: Sequence[str], share: float
) -> list[list[Source]]:
    """Append each query to its passages, with probability `share` taken from the passages."""
    if not share:
        return [list(own) for own in passages]
    left, whole = math.log1p(-share), math.log(share)
    return [
        [*(Source(text, score + left) for text, score in own), Source(query, whole)]
        for own, query in zip(passages, queries, strict=True)
    ]
