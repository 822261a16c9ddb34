"""A query -> word n-grams of its document that overlap with it, as text: SEAL's training data
(arXiv:2204.10628, section 4.2). For schemes whose identifiers are n-grams of the documents.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from math import exp
from random import Random
from typing import Literal

from pydantic import Field

from genir.config import StrictModel
from genir.corpus.tokens import GluedWord, characters, join_words, words
from genir.identifiers.table import IdentifierTable
from genir.identifiers.text import whole_text
from genir.tasks.base import Task, TrainQueries
from genir.tasks.chunking import clean, is_bare
from genir.tasks.term_stats import STOP_WORDS
from genir.types import Document, Example


class OverlapsOptions(StrictModel):
    """`count` n-grams of `words` words for each source.

    source: train queries, or one random n-gram of each document. temperature: the lower, the more
    strongly n-grams that share words with the source are preferred.
    """

    words: int = Field(default=10, ge=1)
    count: int = Field(default=3, ge=1)
    source: Literal["queries", "spans"] = "queries"
    temperature: float = Field(default=1.0, gt=0)


class Overlaps(Task):
    """N-grams that start with a content word, sampled with weight exp(shared words / temperature).

    An n-gram keeps the space before it: some tokenizers (BART's) encode a word differently without
    it, and the table holds the tokens of the whole text.
    """

    name = "overlaps"
    Options = OverlapsOptions

    def examples(
        self, corpus: Sequence[Document], table: IdentifierTable, queries: TrainQueries, rng: Random
    ) -> Iterator[Example]:
        """Yield (source, n-gram of title and text), document by document."""
        for document in corpus:
            if is_bare(document):
                continue
            read = words(whole_text(document))
            held = [set(characters(word)) - STOP_WORDS for word in read]
            for source in self._sources(read, queries.get(document.key, ()), rng):
                for run in self._draw(source, read, held, rng):
                    yield Example(source, run)

    def _sources(self, read: Sequence[str], asked: Sequence[str], rng: Random) -> list[str]:
        if self.options.source == "queries":
            return list(filter(None, map(clean, asked)))
        start = rng.randrange(max(len(read) - self.options.words, 0) + 1)
        return [join_words(read[start : start + self.options.words])]

    def _draw(
        self, source: str, read: Sequence[str], held: Sequence[set[str]], rng: Random
    ) -> list[str]:
        """Sample n-grams with replacement. held: the content terms of each word of `read`."""
        size = self.options.words
        wanted = set(characters(source)) - STOP_WORDS
        starts = [place for place, own in enumerate(held) if own] or [0]
        shared = [len(wanted & set().union(*held[start : start + size])) for start in starts]
        most = max(shared)  # subtracted so that exp does not overflow at low temperature
        bounds = list(accumulate(exp((n - most) / self.options.temperature) for n in shared))
        drawn = rng.choices(starts, cum_weights=bounds, k=self.options.count)
        return [
            _space_before(read, start) + join_words(read[start : start + size]) for start in drawn
        ]


def _space_before(read: Sequence[str], start: int) -> str:
    """Return the space before a word, or "" if there is none."""
    return " " if start and not isinstance(read[start], GluedWord) else ""
