"""Beam search whose scores are divided by a power of the identifier's length."""

from collections.abc import Sequence

from pydantic import Field

from genir.config import StrictModel
from genir.decoding.aggregate import Ranked
from genir.decoding.beam import beam_search
from genir.decoding.row_mask import RowMask
from genir.decoding.stage import Stage
from genir.decoding.strategies.base import SearchStrategy
from genir.decoding.strategies.beam import masks_of, rank_beams
from genir.identifiers.table import PAD


class LengthNormalisedOptions(StrictModel):
    """Options: `alpha`, the power of the length."""

    alpha: float = Field(default=1.0, ge=0)


class LengthNormalised(SearchStrategy):
    """score(document | query) = log p(identifier | query) / length ** alpha."""

    name = "length-normalised"
    Options = LengthNormalisedOptions

    def search(
        self, stage: Stage, queries: Sequence[str], row_mask: RowMask, beams: int, k: int
    ) -> list[list[Ranked]]:
        """Return the documents of the identifiers in the beams, by normalised score."""
        options = self.search_options(stage, row_mask, beams)
        with stage.autocast():
            inputs = stage.encode(queries)
            found = beam_search(stage.model, stage.trie, inputs, row_mask, options)
        length = (stage.trie.symbols[found.low] != PAD).sum(dim=-1)
        found = found.with_final_scores(found.score / length**self.options.alpha)
        return rank_beams(stage.table, found, masks_of(row_mask, queries), "max")
