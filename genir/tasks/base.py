"""The contract of a training task: examples made from the corpus, the table and train queries.

To add a task: write a subclass in the file of its family, and name it in `registry.py`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any, ClassVar

from genir.config import Strict
from genir.identifiers.table import IdentifierTable
from genir.records import Document, Example, Identifier

TrainQueries = Mapping[str, Sequence[str]]
"""The texts of the train queries that each document (by key) answers."""


class Task(ABC):
    """A way to make training examples (text -> identifier, or text -> text).

    Promises, held by the shared test suite: the same arguments and generator state give the same
    examples; sources are non-empty; identifier targets stand in the table; a document with nothing
    to say under a task yields nothing.
    """

    name: ClassVar[str]
    Options: ClassVar[type[Strict]]

    def __init__(self, options: Any) -> None:
        self.options = options

    @abstractmethod
    def examples(
        self,
        corpus: Sequence[Document],
        table: IdentifierTable,
        queries: TrainQueries,
        rng: Random,
    ) -> Iterator[Example]:
        """Yield one epoch's examples, document by document in corpus order."""


def draw_target(table: IdentifierTable, document: Document, rng: Random) -> Identifier:
    """Return one of the document's identifiers, drawn evenly when it has several."""
    rows = table.rows_of(table.number(document.key))
    return table.identifier(int(rows[0] if len(rows) == 1 else rng.choice(rows.tolist())))
