"""Ranked documents with lazily computed snippets."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from genir.corpus.snippet import snippet
from genir.records import Answer, Hit


@dataclass(frozen=True, slots=True)
class Matches:
    """The hits of one query without snippets, and their texts.

    Holds all the data that it shows: `hits` may run in any thread, while documents change or after
    the store is closed. texts: one for each hit.
    """

    query: str
    bare: Answer[Hit]
    texts: Sequence[str]

    @property
    def proven(self) -> bool | None:
        """Whether exact search has proved the hits to be the best; None without exact search."""
        return self.bare.proven

    def __iter__(self) -> Iterator[Hit]:
        """Yield the hits with their snippets, computed one by one."""
        for hit, text in zip(self.bare, self.texts, strict=True):
            yield replace(hit, snippet=snippet(text, self.query))

    def hits(self) -> Answer[Hit]:
        """Return the hits with their snippets."""
        return Answer(self, self.proven)
