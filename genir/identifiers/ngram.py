"""N-grams as identifiers: whatever a document holds names it (SEAL, arXiv:2204.10628).

Of each token there is a row: it and the n - 1 that follow. A prefix of a row is an n-gram, its row
range all places where that stands, in whatever document: what SEAL asks of an FM-index. So every
substring of up to n tokens is there in as many rows as the corpus has tokens, of 2 n + 4 bytes
each (tldr's 6,825 pages: 742,090 rows, 18 MB), 4 n + 4 where the vocabulary has more than 32,767.
"""

from collections.abc import Iterable, Sequence
from typing import ClassVar

from pydantic import Field

from genir.config import Strict
from genir.identifiers.text import SharedTextScheme, whole_text
from genir.records import Document, Identifier


class NgramOptions(Strict):
    """`n` tokens at most; `tokens` of a document are read, from its beginning, 0 = all."""

    n: int = Field(default=10, ge=1)
    tokens: int = Field(default=0, ge=0)


class Ngram(SharedTextScheme):
    """The n tokens from each place of `title. text` on; fewer and the end symbol at its end.

    Documents share what both hold. A row that stands twice in a document is there once.
    """

    name: ClassVar[str] = "ngram"
    Options: ClassVar[type[Strict]] = NgramOptions
    options: NgramOptions

    @property
    def limit(self) -> int:
        """Return 0: no text is cut where an n-gram ends."""
        return 0

    def text(self, document: Document) -> str:
        """Return the title and the text."""
        return whole_text(document)

    def own(self, document: Document) -> Iterable[Identifier]:
        """Return the n-grams."""
        tokens = self._tokens(document)[: self.options.tokens or None]
        return windows(tokens, self.options.n, self.end)

    def describe(self, identifier: Identifier) -> str:
        """Return the text; an n-gram that ends with its document shows where."""
        ends = " (end)" if identifier[-1] == self.end else ""
        return super().describe(identifier) + ends


def windows(tokens: Sequence[int], n: int, end: int) -> list[Identifier]:
    """Return the n tokens from each place on, each window once; a shorter one is ended by `end`."""
    ended = (*tokens, end)
    return list(dict.fromkeys(ended[place : place + n] for place in range(len(tokens))))
