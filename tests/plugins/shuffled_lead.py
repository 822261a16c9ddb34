"""Training task: the first words of a document, in random order -> its identifier."""

from collections.abc import Iterator, Sequence
from random import Random

from pydantic import Field

from genir.config import StrictModel
from genir.identifiers.table import IdentifierTable
from genir.tasks.base import Task, TrainQueries, draw_identifier
from genir.types import Document, Example


class ShuffledLeadOptions(StrictModel):
    """Keys of `[[tasks]]` besides `task`, `weight` and `typos`."""

    words: int = Field(default=8, ge=1, description="words per source")


class ShuffledLead(Task):
    """Generate one example per document and epoch; keyword queries have no word order either."""

    name = "shuffled-lead"
    Options = ShuffledLeadOptions

    def examples(
        self,
        corpus: Sequence[Document],
        table: IdentifierTable,
        queries: TrainQueries,
        rng: Random,
    ) -> Iterator[Example]:
        """Yield the examples of one epoch, in corpus order."""
        for document in corpus:
            words = document.text.split()[: self.options.words]
            rng.shuffle(words)
            yield Example(" ".join(words), draw_identifier(table, document.key, rng))
