"""Reciprocal-rank fusion of searchers (Cormack, Clarke and Büttcher, SIGIR 2009)."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from genir.arguments import as_count, as_texts
from genir.errors import InputError
from genir.types import Filter, Hit, Searcher


class Fusion:
    """Sum of 1 / (constant + rank) over each searcher's top `depth` hits.

    Raises:
        InputError: no searcher, an object without `search`, a depth below 1, a negative constant.
    """

    def __init__(
        self, searchers: Sequence[Searcher], depth: int = 100, constant: float = 60
    ) -> None:
        if not isinstance(searchers, list | tuple) or not searchers:
            raise InputError(f"searchers: got {searchers!r:.60}; give a list of at least one")
        wrong = next((one for one in searchers if not hasattr(one, "search")), None)
        if wrong is not None or None in searchers:
            raise InputError(f"searchers: {wrong!r:.60} has no `search`; give a Retriever or Bm25")
        if isinstance(constant, bool) or not isinstance(constant, int | float) or not constant >= 0:
            raise InputError(f"constant = {constant!r:.60}: give a number of at least 0")
        self._searchers = searchers
        self._depth = as_count(depth, "depth")
        self._constant = constant

    @property
    def bytes_per_document(self) -> float | None:
        """Return the sum over the searchers; None if one is unknown."""
        sizes = [getattr(searcher, "bytes_per_document", None) for searcher in self._searchers]
        known = [size for size in sizes if size is not None]
        return sum(known) if len(known) == len(sizes) else None

    def search(
        self, queries: str | Iterable[str], k: int, where: Filter | None = None
    ) -> list[list[Hit]]:
        """Return at most `k` hits per query, best first, without duplicates.

        Args:
            queries: Query texts; a string is one query.
            k: Maximal number of hits per query.
            where: Metadata filter, passed to the searchers.
        """
        queries, k = as_texts(queries), as_count(k, "k")
        depth = max(k, self._depth)
        answers = [searcher.search(queries, depth, where) for searcher in self._searchers]
        return [self._fuse(lists)[:k] for lists in zip(*answers, strict=True)]

    def _fuse(self, lists: Sequence[Sequence[Hit]]) -> list[Hit]:
        """Merge hit lists; fields come from the first searcher with the document, ties by key."""
        hits: dict[str, Hit] = {}
        scores: dict[str, float] = {}
        for hit in (hit for ranked in lists for hit in ranked):
            hits.setdefault(hit.key, hit)
            scores[hit.key] = scores.get(hit.key, 0.0) + 1 / (self._constant + hit.rank)
        order = sorted(scores, key=lambda key: (-scores[key], key))
        return [
            replace(hits[key], score=scores[key], rank=rank)
            for rank, key in enumerate(order, start=1)
        ]
