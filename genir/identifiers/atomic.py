"""Atomic identifiers: one symbol per document, its number (DSI, arXiv:2202.06991, section 3.2)."""

from collections.abc import Sequence, Set
from pathlib import Path
from typing import ClassVar, Self

from genir.config import StrictModel, validate
from genir.identifiers.base import Scheme, Tokenizer, Vectors
from genir.identifiers.serialization import read_scheme, write_scheme
from genir.identifiers.vectors import require_documents
from genir.types import Document, Identifier


class AtomicOptions(StrictModel):
    """No options."""


class Atomic(Scheme):
    """Numbers the documents in order.

    `size` is the highest number plus one. It grows with every insertion, so the scheme must be
    saved again afterwards.
    """

    name: ClassVar[str] = "atomic"
    Options: ClassVar[type[StrictModel]] = AtomicOptions
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
        reserved: Set[Identifier] = frozenset(),
    ) -> list[list[Identifier]]:
        """Return the numbers that follow the highest one in use."""
        first = max(reserved)[0] + 1 if reserved else 0
        self.size = max(self.size, first + len(documents))
        return [[(number,)] for number in range(first, first + len(documents))]

    def mark_used(self, identifiers: Sequence[Identifier]) -> None:
        """Raise `size` to cover these identifiers."""
        self.size = max([self.size, *(number + 1 for (number,) in identifiers)])

    def level_sizes(self) -> list[int]:
        """Return the number of symbols."""
        return [self.size]

    def to_text(self, identifier: Identifier) -> str:
        """Return the number as text."""
        return str(identifier[0])

    def save(self, folder: Path) -> None:
        """Write `scheme.json`."""
        write_scheme(self, folder, {"size": self.size})

    @classmethod
    def load(cls, folder: Path, tokenizer: Tokenizer | None = None) -> Self:
        """Load a saved scheme. Raises InputError if a file is missing or does not match."""
        saved = read_scheme(folder, cls.name)
        scheme = cls(validate(cls.Options, saved.options, str(folder)), tokenizer)
        scheme.size = int(saved.fact("size"))
        return scheme
