"""Text generation tasks: a passage -> the document's identifier (TOME's second stage), and a
document -> its queries (training a query generator).
"""

from collections.abc import Iterable, Iterator, Sequence
from random import Random

from pydantic import Field

from genir.config import StrictModel
from genir.corpus.tokens import first_words
from genir.identifiers.passage import document_passages
from genir.identifiers.table import IdentifierTable
from genir.tasks.base import Task, TrainQueries
from genir.tasks.chunking import clean, is_bare
from genir.tasks.indexing import Indexing
from genir.types import Document, Example


class PassageGenerationOptions(StrictModel):
    """`words` per passage and `count` passages a document: the values of the scheme `passage`."""

    words: int = Field(default=24, ge=1)
    count: int = Field(default=1, ge=1)


class PassageGeneration(Indexing):
    """The passages that the first stage generates (TOME, 2023)."""

    name = "written-passages"
    Options = PassageGenerationOptions

    def sources(self, document: Document, rng: Random) -> Iterable[str]:
        """Return the document's passages; [] for a document without words."""
        if is_bare(document):
            return []
        return document_passages(document, self.options.words, self.options.count)


class QueryGenerationOptions(StrictModel):
    """`words`: number of words of the document's text in the generator's input."""

    words: int = Field(default=64, ge=1)


class QueryGeneration(Task):
    """The document -> each of its train queries, as text (doc2query, DSI-QG)."""

    name = "write-queries"
    Options = QueryGenerationOptions

    def examples(
        self, corpus: Sequence[Document], table: IdentifierTable, queries: TrainQueries, rng: Random
    ) -> Iterator[Example]:
        """Yield (generator input, query), document by document."""
        for document in corpus:
            source = generator_input(document, self.options.words)
            for target in map(clean, queries.get(document.key, ())):
                if source and target:
                    yield Example(source, target)


def generator_input(document: Document, words: int) -> str:
    """Return the input of a query generator: title and first words of the text."""
    parts = [clean(document.title), first_words(document.text, words)]
    return ". ".join(filter(None, parts))
