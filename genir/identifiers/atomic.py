"""Atomic identifiers: one symbol per document or unit, its number (DSI, arXiv:2202.06991, 3.2)."""

from collections.abc import Sequence, Set
from typing import Any, ClassVar, Self

from genir.identifiers.base import Scheme, Vectors
from genir.identifiers.serialization import SchemeFiles
from genir.identifiers.units import UnitOptions, document_spans, has_units
from genir.identifiers.vectors import require_documents
from genir.types import Document, Identifier


class Atomic(Scheme):
    """Numbers the documents in order, or the units of long documents.

    `size` is the highest number plus one. It grows with every insertion, so the scheme must be
    saved again afterwards.
    """

    name: ClassVar[str] = "atomic"
    Options: ClassVar[type[UnitOptions]] = UnitOptions
    options: UnitOptions
    size: int = 0

    def fit(self, corpus: Sequence[Document], vectors: Vectors | None = None) -> Self:
        """Count the documents or units."""
        require_documents(self.name, corpus)
        self.size = sum(map(self._count, corpus))
        return self

    def encode(
        self,
        documents: Sequence[Document],
        vectors: Vectors | None = None,
        reserved: Set[Identifier] = frozenset(),
    ) -> list[list[Identifier]]:
        """Return the numbers that follow the highest one in use."""
        first = max(reserved)[0] + 1 if reserved else 0
        made = list[list[Identifier]]()
        for count in map(self._count, documents):
            made.append([(number,) for number in range(first, first + count)])
            first += count
        self.size = max(self.size, first)
        return made

    def _count(self, document: Document) -> int:
        """Return the number of units of a document."""
        return len(document_spans(document, self.options)) if has_units(self.options) else 1

    def mark_used(self, identifiers: Sequence[Identifier]) -> None:
        """Raise `size` to cover these identifiers."""
        self.size = max([self.size, *(number + 1 for (number,) in identifiers)])

    def level_sizes(self) -> list[int]:
        """Return the number of symbols."""
        return [self.size]

    def to_text(self, identifier: Identifier) -> str:
        """Return the number as text."""
        return str(identifier[0])

    def fitted(self) -> dict[str, Any]:
        """Return the size."""
        return {"size": self.size}

    def restore(self, saved: SchemeFiles) -> None:
        """Set the size."""
        self.size = int(saved.fact("size"))
