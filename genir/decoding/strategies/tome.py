"""Two-stage retrieval (TOME, ACL 2023): query -> passages -> identifiers.

score(document | query) = log p(passage | query) + log p(identifier | passage), aggregated over the
passages in the first stage's beams (`[decoding] aggregate`). The second stage may also read the
query itself (`[decoding] query_weight`; not in the paper). The first stage is constrained to
passages of documents that may be found.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from genir.config import StageConfig
from genir.decoding.beam import beam_search
from genir.decoding.ranker import NAN_SCORES, DecoderInput, Ranker
from genir.decoding.row_mask import Mask, RowMask
from genir.errors import InputError
from genir.identifiers.base import Scheme
from genir.identifiers.table import IdentifierTable
from genir.models.base import DocidModel


class PassageStage(Ranker):
    """First stage: generates passages for queries, as texts."""

    def __init__(
        self, recipe: StageConfig, scheme: Scheme, table: IdentifierTable, model: DocidModel
    ) -> None:
        super().__init__(recipe, table, model.eval())
        self.scheme = scheme
        # The second stage's table, and the number there of each document of this table.
        self._document_stage: tuple[IdentifierTable, NDArray[np.int64]] | None = None

    @torch.inference_mode()
    def passages(
        self, queries: Sequence[str], live: RowMask, second: IdentifierTable
    ) -> list[list[DecoderInput]]:
        """Return the top `[passage_stage.decoding] beams` passages of each query with their log p.

        Args:
            queries: Query texts.
            live: Rows of the second stage's table that each query may reach; passages of other
                documents are excluded.
            second: Table of the second stage.
        """
        if not queries:
            return []
        places = live.mask_index(len(queries))
        masks = [self._rows(mask, second) for mask in live.masks]
        index = None if live.index is None else places
        own = RowMask.build(masks, index, live.restrict_scores).to(self.model.device)
        beams = min(self.recipe.decoding.beams, self.trie.rows)
        decoding = self.recipe.decoding.model_copy(update={"beams": beams})
        with self.autocast():
            found = beam_search(self.model, self.trie, self.encode(queries), own, decoding)
        rows = zip(found.low.tolist(), found.score.tolist(), strict=True)
        readings = [self._decode_passages(low, score) for low, score in rows]
        if not all(readings):
            raise InputError(NAN_SCORES)
        return readings

    def _rows(self, mask: Mask, second: IdentifierTable) -> Mask:
        """Return the passages of documents with a row in `mask`, bool [rows]."""
        passing = np.zeros(len(second.keys) + 1, dtype=bool)  # the last entry is for number -1
        passing[second.documents[mask]] = True
        rows: Mask = self.table.live & passing[self._numbers(second)[self.table.documents]]
        return rows

    def _numbers(self, second: IdentifierTable) -> NDArray[np.int64]:
        """Return the document numbers in the second table; -1 for documents compacted away."""
        if self._document_stage is None or self._document_stage[0] is not second:
            keys = self.table.keys
            numbers = np.array([second.number(k) if k in second else -1 for k in keys], np.int64)
            self._document_stage = (second, numbers)
        return self._document_stage[1]

    def _decode_passages(self, low: Sequence[int], scores: Sequence[float]) -> list[DecoderInput]:
        found = zip(low, scores, strict=True)
        return [
            DecoderInput(self.scheme.to_text(self.table.identifier(row)), score)
            for row, score in found
            if score > -np.inf
        ]

    def write(self, folder: Path, second: IdentifierTable, numbers: NDArray[np.int64]) -> None:
        """Write weights, tokenizer and identifiers to a new folder.

        Args:
            folder: New folder.
            second: Table written for the second stage.
            numbers: Number of each current document in that table, int64 [documents]; -1 if it is
                left out.
        """
        self.model.save(folder)
        self.scheme.save(folder / "identifiers")
        kept = numbers[self.table.documents] >= 0
        own = numbers[self.table.documents[kept]]
        live = self.table.live[kept]
        table = IdentifierTable(self.table.symbols[kept], own, second.keys, live)
        table.save(folder / "identifiers")


def add_queries(
    passages: Sequence[Sequence[DecoderInput]], queries: Sequence[str], share: float
) -> list[list[DecoderInput]]:
    """Append each query to its passages, with probability `share` taken from the passages."""
    if not share:
        return [list(own) for own in passages]
    left, whole = math.log1p(-share), math.log(share)
    return [
        [*(DecoderInput(text, score + left) for text, score in own), DecoderInput(query, whole)]
        for own, query in zip(passages, queries, strict=True)
    ]
