"""Decimal strings as identifiers (DSI, arXiv:2202.06991, section 3.2: naive string docids)."""

from collections.abc import Sequence, Set
from typing import Any, ClassVar, Self

from genir.config import StrictModel
from genir.errors import InputError
from genir.identifiers.base import Vectors
from genir.identifiers.serialization import SchemeFiles
from genir.identifiers.text import DOCUMENTS_PER_BATCH, TokenScheme
from genir.identifiers.vectors import require_documents, track_chunks
from genir.types import Document, Identifier


class String(TokenScheme):
    """Tokens of the document's number in decimal digits.

    `size` is the highest number plus one. It grows with every insertion, so the scheme must be
    saved again afterwards.
    """

    name: ClassVar[str] = "string"
    Options: ClassVar[type[StrictModel]] = StrictModel
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
        """Return the numbers from 0, or those that follow the highest one in use.

        Raises:
            InputError: The tokenizer cannot spell a number.
        """
        first = self.size if reserved else 0
        identifiers = list[list[Identifier]]()
        for rows in track_chunks(len(documents), DOCUMENTS_PER_BATCH, f"{self.name} tokens"):
            numbers = range(first + rows.start, first + min(rows.stop, len(documents)))
            identifiers += [[self._spell(number)] for number in numbers]
        self.size = max(self.size, first + len(documents))
        return identifiers

    def _spell(self, number: int) -> Identifier:
        identifier = (*self._encode_text(str(number)), self.end)
        if self.to_text(identifier) != str(number):
            raise InputError(
                f"scheme {self.name!r}: the tokenizer reads the number {number} as "
                f"{self.to_text(identifier)!r}; add the digits to its vocabulary, or take another "
                "scheme"
            )
        return identifier

    def mark_used(self, identifiers: Sequence[Identifier]) -> None:
        """Raise `size` to cover these identifiers."""
        self.size = max([self.size, *(int(self.to_text(one)) + 1 for one in identifiers)])

    def to_text(self, identifier: Identifier) -> str:
        """Return the digits, without the spaces that some decoders put between tokens."""
        return "".join(super().to_text(identifier).split())

    def fitted(self) -> dict[str, Any]:
        """Return facts about the tokenizer, and the size."""
        return super().fitted() | {"size": self.size}

    def restore(self, saved: SchemeFiles) -> None:
        """Set the size. Raises InputError for another tokenizer."""
        super().restore(saved)
        self.size = int(saved.fact("size"))
