"""N-grams as identifiers: any n-gram of a document identifies it (SEAL, arXiv:2204.10628).

Each token position is a row: the token and the n - 1 that follow. A prefix of a row is an n-gram,
and its row range is the set of its occurrences in all documents, as in SEAL's FM-index. So all
substrings of up to n tokens are included, with one row per corpus token, of 2 n + 4 bytes each
(tldr's 6,825 pages: 742,090 rows, 18 MB), or 4 n + 4 for more than 32,767 symbols.
"""

from collections.abc import Iterable, Sequence
from typing import ClassVar

from pydantic import Field

from genir.config import StrictModel
from genir.identifiers.text import SharedTextScheme, whole_text
from genir.types import Document, Identifier


class NgramOptions(StrictModel):
    """Maximum length `n`; number of leading `tokens` of a document that are used, 0 = all."""

    n: int = Field(default=10, ge=1)
    tokens: int = Field(default=0, ge=0)


class Ngram(SharedTextScheme):
    """The n tokens from each position of `title. text`; fewer, with the end symbol, at its end.

    Documents share n-grams. A row that is repeated in a document is included once.
    """

    name: ClassVar[str] = "ngram"
    Options: ClassVar[type[StrictModel]] = NgramOptions
    options: NgramOptions

    @property
    def max_length(self) -> int:
        """Return 0: n-grams are not truncated texts."""
        return 0

    def text(self, document: Document) -> str:
        """Return the title and the text."""
        return whole_text(document)

    def identifiers_of(self, document: Document) -> Iterable[Identifier]:
        """Return the n-grams."""
        tokens = self._tokens(document)[: self.options.tokens or None]
        return windows(tokens, self.options.n, self.end)

    def to_text(self, identifier: Identifier) -> str:
        """Return the text; marks an n-gram at the end of its document."""
        ends = " (end)" if identifier[-1] == self.end else ""
        return super().to_text(identifier) + ends


def windows(tokens: Sequence[int], n: int, end: int) -> list[Identifier]:
    """Return the distinct windows of n tokens from each position; shorter ones end with `end`."""
    ended = (*tokens, end)
    return list(dict.fromkeys(ended[place : place + n] for place in range(len(tokens))))
