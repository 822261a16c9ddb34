"""The contract of a training task: examples made from the corpus, the table and train queries.

To add a task: write a subclass in the file of its family, and name it in `registry.py`.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from random import Random
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from genir.config import Strict
from genir.identifiers.table import IdentifierTable
from genir.records import Document, Example, Identifier

TrainQueries = Mapping[str, Sequence[str]]
"""The texts of the train queries that each document (by key) answers."""


class Task(ABC):
    """A way to make training examples (text -> identifier, or text -> text).

    Promises, held by the shared test suite: the same arguments and generator state give the same
    examples; sources are non-empty; identifier targets stand in the table, those of one example
    belong to different documents; a document with nothing to say under a task yields nothing. The
    table numbers documents by their place in the corpus.
    """

    name: ClassVar[str]
    Options: ClassVar[type[Strict]]

    def __init__(self, options: Any) -> None:
        self.options = options

    @property
    def joins(self) -> bool:
        """Tell whether targets are joined: an example may lead to several documents."""
        return bool(getattr(self.options, "join", False))

    def own_queries(self) -> Iterable[str]:
        """Return the queries that the task has read from a file. By default none."""
        return ()

    def leave_out(self, questions: Collection[str]) -> None:
        """Make no example of these queries, the dev questions, from now on. By default nothing."""
        return

    @abstractmethod
    def examples(
        self,
        corpus: Sequence[Document],
        table: IdentifierTable,
        queries: TrainQueries,
        rng: Random,
    ) -> Iterator[Example]:
        """Yield one epoch's examples, document by document in corpus order."""


Facts = TypeVar("Facts")


class CorpusTask(Task, Generic[Facts]):
    """A task that must know something of the whole corpus: learned in one pass, once."""

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self._learned: tuple[Sequence[Document], Facts] | None = None

    @abstractmethod
    def learn(self, corpus: Sequence[Document], table: IdentifierTable) -> Facts:
        """Read the corpus; what comes back depends on nothing else."""

    def facts(self, corpus: Sequence[Document], table: IdentifierTable) -> Facts:
        """Return what `learn` says of a corpus, which later epochs do not read again."""
        if self._learned is None or self._learned[0] is not corpus:
            self._learned = (corpus, self.learn(corpus, table))
        return self._learned[1]


def draw_target(table: IdentifierTable, document: Document, rng: Random) -> Identifier:
    """Return one of the document's identifiers, drawn as by `draw_identifier`."""
    return draw_identifier(table, document.key, rng)


def draw_identifier(table: IdentifierTable, key: str, rng: Random) -> Identifier:
    """Return one of the identifiers of the document with a key, which must be in the table.

    First a kind is drawn, which is those that begin alike, then one of it: so no view of a document
    (`identifiers/views.py`) is learned less because there are few of its kind.
    """
    rows = table.rows_of(table.number(key))
    firsts = table.symbols[rows, 0]
    if len(rows) > 1 and firsts.min() < firsts.max():
        rows = rows[firsts == rng.choice(np.unique(firsts).tolist())]
    return table.identifier(int(rows[0] if len(rows) == 1 else rng.choice(rows.tolist())))
