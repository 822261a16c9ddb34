"""Fusion of searchers: reciprocal ranks, and convex combination of scores."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Self

from genir.arguments import as_count, as_texts
from genir.errors import InputError
from genir.types import Filter, Hit, Qrel, Query, Searcher

DEPTH = 100
"""Hits of each searcher that are fused."""
WEIGHTS = tuple(round(0.1 * step, 1) for step in range(11))
"""Weights of the first searcher that `Convex.tuned` compares."""


class Fusion:
    """Sum of 1 / (constant + rank) over each searcher's top `depth` hits (RRF).

    Cormack, Clarke and Büttcher, SIGIR 2009.

    Raises:
        InputError: no searcher, an object without `search`, a depth below 1, a negative constant.
    """

    def __init__(
        self, searchers: Sequence[Searcher], depth: int = DEPTH, constant: float = 60
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
            k: Maximum number of hits per query.
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
        for number, ranked in enumerate(lists):
            for hit, gain in zip(ranked, self._gains(number, ranked), strict=True):
                hits.setdefault(hit.key, hit)
                scores[hit.key] = scores.get(hit.key, 0.0) + gain
        order = sorted(scores, key=lambda key: (-scores[key], key))
        return [
            replace(hits[key], score=scores[key], rank=rank)
            for rank, key in enumerate(order, start=1)
        ]

    def _gains(self, number: int, ranked: Sequence[Hit]) -> list[float]:
        """Return what the hits of searcher `number` add to the scores of their documents."""
        return [1 / (self._constant + hit.rank) for hit in ranked]


class Convex(Fusion):
    """Weighted sum of scores, each searcher's scaled to 0 to 1 over its top `depth` hits.

    A document that a searcher does not find gets 0 from it. Bruch, Gai and Ingber, TOIS 2023,
    section 4 ("convex combination", min-max).

    Attributes:
        weight: Weight of the first of two searchers; the second has 1 - weight.
    """

    def __init__(
        self, searchers: Sequence[Searcher], weight: float = 0.5, depth: int = DEPTH
    ) -> None:
        super().__init__(searchers, depth)
        if len(searchers) != 2:
            raise InputError(f"searchers: got {len(searchers)}; a convex combination takes two")
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight <= 1:
            raise InputError(f"weight = {weight!r:.60}: give a number from 0 to 1")
        self.weight = weight

    @classmethod
    def tuned(
        cls,
        searchers: Sequence[Searcher],
        queries: Sequence[Query],
        qrels: Iterable[Qrel],
        depth: int = DEPTH,
    ) -> Self:
        """Return the combination with the highest mean RR@10 on dev queries.

        Args:
            queries: Dev queries; not the queries that are reported.
        """
        relevant: dict[str, set[str]] = {}
        for one in qrels:
            if one.grade > 0:
                relevant.setdefault(one.query, set()).add(one.document)
        asked = [query for query in queries if query.key in relevant]
        if not asked:
            raise InputError("dev queries: none has a relevant document; give their judgements")
        texts = [query.text for query in asked]
        lists = [*zip(*(one.search(texts, depth) for one in searchers), strict=True)]

        def quality(weight: float) -> float:
            fuse = cls(searchers, weight, depth)._fuse
            ranks = (
                next((hit.rank for hit in fuse(own)[:10] if hit.key in relevant[query.key]), 0)
                for query, own in zip(asked, lists, strict=True)
            )
            return sum(1 / rank for rank in ranks if rank)

        return cls(searchers, max(WEIGHTS, key=quality), depth)

    def _gains(self, number: int, ranked: Sequence[Hit]) -> list[float]:
        weight = 1 - self.weight if number else self.weight
        scores = [hit.score for hit in ranked]
        low, high = min(scores, default=0.0), max(scores, default=0.0)
        if high <= low:
            return [weight] * len(scores)
        return [weight * (score - low) / (high - low) for score in scores]
