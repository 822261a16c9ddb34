"""Beam search: documents are ranked by their best identifiers in the beams."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from genir.config import StrictModel
from genir.decoding.aggregate import Aggregate, Ranked, rank_documents
from genir.decoding.beam import BeamStep, beam_search, beam_steps
from genir.decoding.beam_state import Beams
from genir.decoding.exact import ExactResult, exact_search
from genir.decoding.exact_documents import exact_documents
from genir.decoding.row_mask import Mask, RowMask
from genir.decoding.search_options import SearchOptions
from genir.decoding.stage import Stage
from genir.decoding.strategies.base import SearchStrategy
from genir.errors import InputError
from genir.identifiers.table import IdentifierTable
from genir.models.base import Inputs
from genir.types import Capabilities, HitList


class BeamOptions(StrictModel):
    """Options of beam search and exact search.

    aggregate: document score from the log-probabilities of its identifiers.
    """

    aggregate: Literal["max", "logsumexp"] = "max"
    max_nodes: int = Field(
        default=1024, ge=1, description="maximum number of trie nodes per query in exact search"
    )


class Beam(SearchStrategy):
    """Beam search constrained to the trie (GENRE, DSI)."""

    name = "beam"
    Options = BeamOptions
    capabilities = Capabilities(proof=True, trace=True, shares=True)
    takes_logits = True

    def search_options(self, stage: Stage, row_mask: RowMask, beams: int) -> SearchOptions:
        """Return the parameters of a beam search or an exact search."""
        common = super().search_options(stage, row_mask, beams)
        return common._replace(max_nodes=self.options.max_nodes)

    def search(
        self, stage: Stage, queries: Sequence[str], row_mask: RowMask, beams: int, k: int
    ) -> list[list[Ranked]]:
        """Return the documents below the identifiers that beam search finds."""
        options = self.search_options(stage, row_mask, beams)
        # The top k identifiers may belong to fewer documents if a document has several.
        top_k = k if stage.has_unique_identifiers else None
        with stage.autocast():
            found = find_identifiers(stage, stage.encode(queries), row_mask, options, top_k)
        return rank_beams(stage.table, found, masks_of(row_mask, queries), self.options.aggregate)

    def prove(
        self, stage: Stage, queries: Sequence[str], row_mask: RowMask, k: int
    ) -> list[HitList[Ranked]]:
        """Return the proven top k documents of each query; see `exact_documents`.

        Raises:
            InputError: Scores are unnormalised, so that a prefix is no bound of its completions.
        """
        if self.config.decoding.softmax == "none":
            raise InputError(
                "exact search: scores of [decoding] softmax = 'none' have no bound; search by "
                "beams, or use softmax = 'vocabulary'"
            )
        options = self.search_options(stage, row_mask, self.config.decoding.beams)

        def search(asked: Sequence[int], wanted: int) -> ExactResult:
            inputs = stage.encode([queries[q] for q in asked])
            own = row_mask.select(asked)
            with stage.autocast():
                return exact_search(stage.model, stage.trie, inputs, own, wanted, options)

        masks = masks_of(row_mask, queries)
        return exact_documents(search, stage.table, masks, k, self.options.aggregate)

    def trace(
        self, stage: Stage, queries: Sequence[str], row_mask: RowMask, beams: int
    ) -> Iterator[BeamStep]:
        """Yield the state of the search after each level, without early stopping.

        Consume it within `stage.autocast()`.
        """
        options = self.search_options(stage, row_mask, beams)
        return beam_steps(stage.model, stage.trie, stage.encode(queries), row_mask, options)


class Exact(Beam):
    """Best-first search with a proven top k, and beam search beyond its budget of nodes."""

    name = "exact"
    capabilities = replace(Beam.capabilities, proves_by_default=True)
    takes_logits = False


def find_identifiers(
    stage: Stage,
    inputs: Inputs,
    row_mask: RowMask,
    options: SearchOptions,
    top_k: int | None,
) -> Beams:
    """Run `beam_search`, as a captured CUDA graph where that is possible."""
    captured = not options.lookahead_weight and not inputs[0].is_floating_point()
    if stage.graph_cache is not None and captured:
        return stage.graph_cache.search(inputs, row_mask, options)
    return beam_search(stage.model, stage.trie, inputs, row_mask, options, top_k)


def masks_of(row_mask: RowMask, queries: Sequence[object]) -> list[Mask]:
    """Return the mask of each query, bool [rows]."""
    return [row_mask.masks[place] for place in row_mask.mask_index(len(queries))]


def to_numpy(beams: Beams) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Return low, high and score of beams on the host, [B, K] each."""
    low, high, score = (t.cpu().numpy() for t in (beams.low, beams.high, beams.score))
    return low, high, score


def rank_beams(
    table: IdentifierTable, beams: Beams, masks: Sequence[Mask], aggregate: Aggregate
) -> list[list[Ranked]]:
    """Return the documents below the complete identifiers of each query, best first."""
    return [
        rank_documents(table, low, high, score, mask, aggregate)
        for low, high, score, mask in zip(*to_numpy(beams), masks, strict=True)
    ]
