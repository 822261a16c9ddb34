"""Strategy of models that generate text, such as query generators: they rank no documents."""

from collections.abc import Sequence

from genir.decoding.aggregate import Ranked
from genir.decoding.row_mask import RowMask
from genir.decoding.stage import Stage
from genir.decoding.strategies.base import SearchStrategy
from genir.errors import InputError
from genir.types import Capabilities


class Text(SearchStrategy):
    """No search: the model generates text, for `genir generate-queries --model`."""

    name = "text"
    capabilities = Capabilities(filters=False, insertion=False)

    def search(
        self, stage: Stage, queries: Sequence[str], row_mask: RowMask, beams: int, k: int
    ) -> list[list[Ranked]]:
        """Raise InputError."""
        raise InputError(
            "[decoding] strategy = 'text': this model generates text, not documents; use "
            "genir generate-queries --model"
        )
