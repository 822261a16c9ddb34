"""TOME (ACL 2023): a first model finds passages, a second one reads them in the query's place.

score(document | query) = log p(passage | query) + log p(identifier | passage), the best or the sum
over the passages that the first stage's beams hold (`[decoding] aggregate`). The second stage may
read the query as well, as one passage more (`[decoding] query_share`; not the paper's). The first
stage is held to real passages of documents that may be found. Knows no texts but those its tokens
spell.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from genir.config import Stage
from genir.decoding.beam import beam_search
from genir.decoding.masks import LiveRows, Mask
from genir.decoding.ranker import NO_NUMBERS, Ranker, Reading
from genir.errors import InputError
from genir.identifiers.base import Scheme
from genir.identifiers.table import IdentifierTable
from genir.models.base import DocidModel


class FirstStage(Ranker):
    """Query -> passages, as texts."""

    def __init__(
        self, recipe: Stage, scheme: Scheme, table: IdentifierTable, model: DocidModel
    ) -> None:
        super().__init__(recipe, table, model.eval())
        self.scheme = scheme
        # The second stage's table, and the numbers there of this one's documents.
        self._second: tuple[IdentifierTable, NDArray[np.int64]] | None = None

    @torch.inference_mode()
    def passages(
        self, queries: Sequence[str], live: LiveRows, second: IdentifierTable
    ) -> list[list[Reading]]:
        """Return the best passages of each query with their log p, `[first.decoding] beams` many.

        live: the rows of the `second` stage's table that each query may be led to; passages of
        other documents are left out.
        """
        if not queries:
            return []
        places = live.places(len(queries))
        masks = [self._rows(mask, second) for mask in live.masks]
        index = None if live.index is None else places
        own = LiveRows.build(masks, index, live.closed).to(self.model.device)
        beams = min(self.recipe.decoding.beams, self.trie.rows)
        decoding = self.recipe.decoding.model_copy(update={"beams": beams})
        with self.autocast():
            found = beam_search(self.model, self.trie, self.encode(queries), own, decoding)
        rows = zip(found.low.tolist(), found.score.tolist(), strict=True)
        readings = [self._read_out(low, score) for low, score in rows]
        if not all(readings):
            raise InputError(NO_NUMBERS)
        return readings

    def _rows(self, mask: Mask, second: IdentifierTable) -> Mask:
        """Return which passages are of documents with a row in `mask`."""
        passing = np.zeros(len(second.keys) + 1, dtype=bool)  # at the end what is not there
        passing[second.documents[mask]] = True
        rows: Mask = self.table.live & passing[self._numbers(second)[self.table.documents]]
        return rows

    def _numbers(self, second: IdentifierTable) -> NDArray[np.int64]:
        """Return the numbers that documents have in the other table, -1 where a compaction of it
        has left them out.
        """
        if self._second is None or self._second[0] is not second:
            keys = self.table.keys
            numbers = np.array([second.number(k) if k in second else -1 for k in keys], np.int64)
            self._second = (second, numbers)
        return self._second[1]

    def _read_out(self, low: Sequence[int], scores: Sequence[float]) -> list[Reading]:
        found = zip(low, scores, strict=True)
        return [
            Reading(self.scheme.describe(self.table.identifier(row)), score)
            for row, score in found
            if score > -np.inf
        ]

    def write(self, folder: Path, second: IdentifierTable, numbers: NDArray[np.int64]) -> None:
        """Write weights, tokenizer and identifiers into a new folder.

        second: the table that the second stage is written with; numbers: int64 [documents], what
        documents of today are called there, or -1 for those that are left out.
        """
        self.model.save(folder)
        self.scheme.save(folder / "identifiers")
        kept = numbers[self.table.documents] >= 0
        own = numbers[self.table.documents[kept]]
        live = self.table.live[kept]
        table = IdentifierTable(self.table.symbols[kept], own, second.keys, live)
        table.save(folder / "identifiers")


def add_queries(
    passages: Sequence[Sequence[Reading]], queries: Sequence[str], share: float
) -> list[list[Reading]]:
    """Return the passages of each query and, for `share` of the probability, the query itself."""
    if not share:
        return [list(own) for own in passages]
    left, whole = math.log1p(-share), math.log(share)
    return [
        [*(Reading(text, score + left) for text, score in own), Reading(query, whole)]
        for own, query in zip(passages, queries, strict=True)
    ]
