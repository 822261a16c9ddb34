"""Base classes of training tasks, which make examples from the corpus, the table and train queries.

To add a task: write a subclass in the file of its family, and list it in `registry.py`.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from random import Random
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from genir.config import StrictModel
from genir.identifiers.table import IdentifierTable
from genir.types import Document, Example, Identifier

TrainQueries = Mapping[str, Sequence[str]]
"""Document key -> texts of the train queries that the document is relevant to."""


class Task(ABC):
    """A way to make training examples (text -> identifier, or text -> text).

    Contract, checked by the shared test suite: the same arguments and generator state give the same
    examples; sources are non-empty; identifier targets are in the table, and the targets of one
    example belong to different documents; a document without usable text yields no example. The
    table numbers documents by their position in the corpus.
    """

    name: ClassVar[str]
    Options: ClassVar[type[StrictModel]]

    def __init__(self, options: Any) -> None:
        self.options = options

    @property
    def concatenates_targets(self) -> bool:
        """Whether targets are joined, so that one example may lead to several documents."""
        return bool(getattr(self.options, "join", False))

    def own_queries(self) -> Iterable[str]:
        """Return the queries that the task has read from a file; none by default."""
        return ()

    def leave_out(self, questions: Collection[str]) -> None:
        """Exclude these queries (the dev queries) from all later examples; no-op by default."""
        return

    @abstractmethod
    def examples(
        self, corpus: Sequence[Document], table: IdentifierTable, queries: TrainQueries, rng: Random
    ) -> Iterator[Example]:
        """Yield one epoch's examples, document by document in corpus order."""


Stats = TypeVar("Stats")


class CorpusTask(Task, Generic[Stats]):
    """A task over one document at a time and statistics of the whole corpus, computed once."""

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self._fitted: tuple[Sequence[Document], Stats] | None = None

    @abstractmethod
    def fit(self, corpus: Sequence[Document], table: IdentifierTable) -> Stats:
        """Compute the statistics; they depend on the corpus and the table only."""

    def stats(self, corpus: Sequence[Document], table: IdentifierTable) -> Stats:
        """Return the statistics of `fit`, cached for later epochs."""
        if self._fitted is None or self._fitted[0] is not corpus:
            self._fitted = (corpus, self.fit(corpus, table))
        return self._fitted[1]

    @abstractmethod
    def pairs(self, document: Document, facts: Stats, rng: Random) -> Iterable[tuple[str, str]]:
        """Return the sources of a document, and the key of each one's target document.

        facts: result of `fit`.
        """

    def examples(
        self, corpus: Sequence[Document], table: IdentifierTable, queries: TrainQueries, rng: Random
    ) -> Iterator[Example]:
        """Yield the pairs of each document; a target is sampled after its source."""
        facts = self.stats(corpus, table)
        for document in corpus:
            for source, key in self.pairs(document, facts, rng):
                yield Example(source, draw_identifier(table, key, rng))


def draw_identifier(table: IdentifierTable, key: str, rng: Random) -> Identifier:
    """Sample one identifier of the document with this key, which must be in the table.

    A first symbol is sampled first, then an identifier that starts with it. Views of a document
    (`identifiers/views.py`) differ in their first symbol, so a view with few identifiers is trained
    as often as one with many.
    """
    rows = table.rows_of(table.number(key))
    firsts = table.symbols[rows, 0]
    if len(rows) > 1 and firsts.min() < firsts.max():
        rows = rows[firsts == rng.choice(np.unique(firsts).tolist())]
    return table.identifier(int(rows[0] if len(rows) == 1 else rng.choice(rows.tolist())))
