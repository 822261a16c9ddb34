"""Search results whose snippets are computed on demand."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from genir.corpus.snippet import snippet
from genir.types import Hit, HitList


@dataclass(frozen=True, slots=True)
class LazyHits:
    """The hits of one query, and the texts from which their snippets are computed.

    `hits` needs no access to the store, so it may run in any thread, also after documents have
    changed or the store is closed.

    texts: start of the text of each hit (`DocumentStore.previews`).
    """

    query: str
    hits_without_snippets: HitList[Hit]
    texts: Sequence[str]

    @property
    def proven(self) -> bool | None:
        """Whether exact search has proved that no document scores higher; else None."""
        return self.hits_without_snippets.proven

    def with_urls(self, shown: Callable[[str], str]) -> "LazyHits":
        """Return the hits with other URLs. shown: maps a URL to the one of the hit."""
        hits = [replace(hit, url=shown(hit.url)) for hit in self.hits_without_snippets]
        return replace(self, hits_without_snippets=HitList(hits, self.proven))

    def __iter__(self) -> Iterator[Hit]:
        """Yield the hits with their snippets, computed one by one."""
        for hit, text in zip(self.hits_without_snippets, self.texts, strict=True):
            yield replace(hit, snippet=snippet(text, self.query))

    def hits(self) -> HitList[Hit]:
        """Return the hits with their snippets."""
        return HitList(self, self.proven)
