"""Beam search with look-ahead (PAG, arXiv:2404.14600, section 3.2).

A prefix is selected by its log-probability plus the weighted prior of its best document.
"""

from pydantic import Field

from genir.decoding.row_mask import RowMask
from genir.decoding.search_options import SearchOptions
from genir.decoding.stage import Stage
from genir.decoding.strategies.beam import Beam, BeamOptions
from genir.types import Capabilities


class LookaheadOptions(BeamOptions):
    """Options of the look-ahead."""

    lookahead_weight: float = Field(
        default=1.0, gt=0, description="weight of the document prior in the score of a prefix"
    )
    full_scores: bool = Field(
        default=False,
        description="add the log-probability of whole identifiers to the prior, for models where "
        "it does not depend on the prefix: exact for any beam width",
    )


class Lookahead(Beam):
    """Beam search that adds a prior of the best document below each prefix."""

    name = "lookahead"
    Options = LookaheadOptions
    capabilities = Capabilities(proof=True, trace=True)

    def search_options(self, stage: Stage, row_mask: RowMask, beams: int) -> SearchOptions:
        """Return the parameters of a search with look-ahead."""
        common = super().search_options(stage, row_mask, beams)
        options = self.options
        return common._replace(
            lookahead_weight=options.lookahead_weight, full_scores=options.full_scores
        )
