"""Retrieval tasks: a train query -> the identifier of a document that answers it."""

from collections.abc import Iterator, Sequence
from random import Random

from genir.config import Strict
from genir.identifiers.table import IdentifierTable
from genir.records import Document, Example
from genir.tasks.base import Task, TrainQueries, draw_target
from genir.tasks.passages import clean


class QueriesOptions(Strict):
    """Train queries have no parameters."""


class Queries(Task):
    """Every (train query, document) pair, one example each."""

    name = "queries"
    Options = QueriesOptions

    def examples(
        self,
        corpus: Sequence[Document],
        table: IdentifierTable,
        queries: TrainQueries,
        rng: Random,
    ) -> Iterator[Example]:
        """Yield the queries that a document answers, document by document."""
        for document in corpus:
            for source in map(clean, queries.get(document.key, ())):
                if source:
                    yield Example(source, draw_target(table, document, rng))
