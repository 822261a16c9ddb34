"""Atomic identifiers: one symbol a document, its number (DSI, arXiv:2202.06991, section 3.2)."""

from collections.abc import Sequence, Set
from pathlib import Path
from typing import ClassVar, Self

from genir.config import Strict, validate
from genir.identifiers.artefact import read_artefact, write_artefact
from genir.identifiers.base import Scheme, Tokenizer, Vectors
from genir.identifiers.vectors import require_documents
from genir.records import Document, Identifier


class AtomicOptions(Strict):
    """Nothing to choose."""


class Atomic(Scheme):
    """Number the documents; those added later get the numbers that follow.

    `size` is one above the highest number given, so it grows with every addition: save the scheme
    again after one.
    """

    name: ClassVar[str] = "atomic"
    Options: ClassVar[type[Strict]] = AtomicOptions
    size: int = 0

    def fit(self, corpus: Sequence[Document], vectors: Vectors | None = None) -> Self:
        """Count the documents."""
        require_documents(self.name, corpus)
        self.size = len(corpus)
        return self

    def encode(
        self,
        documents: Sequence[Document],
        vectors: Vectors | None = None,
        taken: Set[Identifier] = frozenset(),
    ) -> list[list[Identifier]]:
        """Return the next numbers after the highest taken one."""
        first = max(taken)[0] + 1 if taken else 0
        self.size = max(self.size, first + len(documents))
        return [[(number,)] for number in range(first, first + len(documents))]

    def admit(self, identifiers: Sequence[Identifier]) -> None:
        """Make room for numbers given elsewhere."""
        self.size = max([self.size, *(number + 1 for (number,) in identifiers)])

    def level_sizes(self) -> list[int]:
        """Return how many numbers were given."""
        return [self.size]

    def describe(self, identifier: Identifier) -> str:
        """Return the number."""
        return str(identifier[0])

    def save(self, folder: Path) -> None:
        """Write `scheme.json`."""
        write_artefact(self, folder, {"size": self.size})

    @classmethod
    def load(cls, folder: Path, tokenizer: Tokenizer | None = None) -> Self:
        """Read back what `save` wrote. Raises InputError naming a missing or foreign file."""
        saved = read_artefact(folder, cls.name)
        scheme = cls(validate(cls.Options, saved.options, str(folder)), tokenizer)
        scheme.size = int(saved.fact("size"))
        return scheme
