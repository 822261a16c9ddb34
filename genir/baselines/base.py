"""Base class of baselines: document text, filters, and conversion of scores to hits.

Hits have only key, score and rank; titles are read from the document store when shown.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from genir.arguments import as_count, as_texts, is_listable
from genir.corpus.serialization import document_of, documents_of, record_from
from genir.corpus.store import DocumentStore
from genir.errors import InputError
from genir.types import Document, Filter, Hit, as_filter

Scores = NDArray[np.float32]
"""Scores of all documents, float32 [documents], in corpus order."""


def corpus_of(given: Any) -> Sequence[Document]:
    """Return a document store unchanged, or records converted to documents.

    Raises:
        InputError: an item is neither a `Document` nor a dict with its fields.
    """
    if isinstance(given, DocumentStore):
        return given
    if isinstance(given, str | bytes | Mapping | Document) or not is_listable(given):
        return documents_of(given)
    return [
        one
        if isinstance(one, Document)
        else document_of(record_from(one, f"document {number}"), f"document {number}")
        for number, one in enumerate(given, 1)
    ]


def passage(document: Document) -> str:
    """Return the text of a document for a baseline: title and text."""
    return ". ".join(part for part in (document.title, document.text) if part)


class ExhaustiveSearcher(ABC):
    """Searcher that scores every document of its corpus. Ties are ordered by key.

    Raises:
        InputError: the corpus has no documents.
    """

    floor: ClassVar[float] = -np.inf
    """Minimum score, exclusive, of a hit."""

    def __init__(self, corpus: Sequence[Document], keys: Sequence[str]) -> None:
        if not keys:
            raise InputError("the corpus has no documents; a baseline needs at least one")
        self._corpus = corpus
        self._keys = keys
        self._places = np.empty(len(keys), dtype=np.int64)
        self._places[sorted(range(len(keys)), key=keys.__getitem__)] = np.arange(len(keys))

    @abstractmethod
    def scores(self, queries: str | Iterable[str]) -> Iterator[Scores]:
        """Yield each query's scores of all documents."""

    def search(
        self,
        queries: str | Iterable[str],
        k: int,
        where: Filter | None = None,
        among: NDArray[np.bool_] | None = None,
    ) -> list[list[Hit]]:
        """Return at most `k` hits per query, best first, without duplicates.

        Args:
            queries: Query texts; a string is one query.
            k: Maximum number of hits per query.
            where: Metadata filter; needs a document store as the corpus.
            among: Documents that may be hits, bool [documents]; None allows all.

        Raises:
            InputError: a query is not text, k is below 1, or the filter is not supported.
        """
        queries, k = as_texts(queries), as_count(k, "k")
        barred = None if where is None else ~self._matching(where)
        if among is not None:
            among = np.asarray(among, dtype=bool)
            if among.shape != self._places.shape:
                raise InputError(f"among: shape {among.shape}; give one bool per document")
            barred = ~among if barred is None else barred | ~among
        return [self._hits(scores, k, barred) for scores in self.scores(queries)]

    def _matching(self, where: Filter) -> NDArray[np.bool_]:
        where = as_filter(where)
        if not isinstance(self._corpus, DocumentStore):
            raise InputError(f"the filter {where} needs a document store as the corpus")
        return self._corpus.matching(where)

    def _hits(self, scores: Scores, k: int, barred: NDArray[np.bool_] | None) -> list[Hit]:
        if barred is not None:
            scores = np.where(barred, -np.inf, scores)
        found = np.flatnonzero(scores > self.floor)
        if len(found) > k:
            # Keep all ties with the k-th best score: the keys decide.
            last = np.partition(scores[found], -k)[-k]
            found = found[scores[found] >= last]
        order = np.lexsort((self._places[found], -scores[found]))[:k]
        return [
            Hit(self._keys[number], float(scores[number]), rank)
            for rank, number in enumerate(found[order].tolist(), start=1)
        ]
