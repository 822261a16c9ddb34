"""Ranked documents with lazily computed snippets."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from genir.corpus.snippet import snippet
from genir.types import Hit, HitList


@dataclass(frozen=True, slots=True)
class LazyHits:
    """The hits of one query without snippets, and their texts.

    Holds all the data that it shows: `hits` may run in any thread, while documents change or after
    the store is closed. texts: one for each hit.
    """

    query: str
    hits_without_snippets: HitList[Hit]
    texts: Sequence[str]

    @property
    def proven(self) -> bool | None:
        """Whether exact search has proved the hits to be the best; None without exact search."""
        return self.hits_without_snippets.proven

    def __iter__(self) -> Iterator[Hit]:
        """Yield the hits with their snippets, computed one by one."""
        for hit, text in zip(self.hits_without_snippets, self.texts, strict=True):
            yield replace(hit, snippet=snippet(text, self.query))

    def hits(self) -> HitList[Hit]:
        """Return the hits with their snippets."""
        return HitList(self, self.proven)
