"""Ranked documents whose snippets are still to be made."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from genir.corpus.snippet import snippet
from genir.records import Answer, Hit


@dataclass(frozen=True, slots=True)
class Matches:
    """The hits of one query without snippets, and the texts to make them from.

    It holds everything that it shows: `hits` may run in any thread, while documents are changed or
    after their store was closed. texts: one for each hit.
    """

    query: str
    bare: Answer[Hit]
    texts: Sequence[str]

    @property
    def proven(self) -> bool | None:
        """Whether exact search has shown that nothing better exists; None if it was not asked."""
        return self.bare.proven

    def __iter__(self) -> Iterator[Hit]:
        """Yield the hits with their snippets, each made when it is asked for."""
        for hit, text in zip(self.bare, self.texts, strict=True):
            yield replace(hit, snippet=snippet(text, self.query))

    def hits(self) -> Answer[Hit]:
        """Return the hits with their snippets."""
        return Answer(self, self.proven)
