"""Tasks around text that a model writes: a passage -> the document's identifier, which is TOME's
second stage, and a document -> its queries, which teaches a generator of queries.
"""

from collections.abc import Iterable, Iterator, Sequence
from random import Random

from pydantic import Field

from genir.config import Strict
from genir.corpus.tokens import first_words
from genir.identifiers.passage import document_passages
from genir.identifiers.table import IdentifierTable
from genir.records import Document, Example
from genir.tasks.base import Task, TrainQueries
from genir.tasks.indexing import Indexing
from genir.tasks.passages import clean, is_bare


class WrittenPassagesOptions(Strict):
    """`words` a passage and `count` a document: those of the scheme `passage`."""

    words: int = Field(default=24, ge=1)
    count: int = Field(default=1, ge=1)


class WrittenPassages(Indexing):
    """The passages that the first stage writes (TOME, 2023)."""

    name = "written-passages"
    Options = WrittenPassagesOptions

    def sources(self, document: Document, rng: Random) -> Iterable[str]:
        """Return the passages; a document without a word has none."""
        if is_bare(document):
            return []
        return document_passages(document, self.options.words, self.options.count)


class WriteQueriesOptions(Strict):
    """`words` of a document's text are read."""

    words: int = Field(default=64, ge=1)


class WriteQueries(Task):
    """The document -> each of its train queries, as text (doc2query, DSI-QG)."""

    name = "write-queries"
    Options = WriteQueriesOptions

    def examples(
        self,
        corpus: Sequence[Document],
        table: IdentifierTable,
        queries: TrainQueries,
        rng: Random,
    ) -> Iterator[Example]:
        """Yield (what a generator reads, a query), document by document."""
        for document in corpus:
            source = reading(document, self.options.words)
            for target in map(clean, queries.get(document.key, ())):
                if source and target:
                    yield Example(source, target)


def reading(document: Document, words: int) -> str:
    """Return what a generator of queries reads of a document: the title, then the text's start."""
    parts = [clean(document.title), first_words(document.text, words)]
    return ". ".join(filter(None, parts))
