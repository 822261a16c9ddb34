"""A document's passages, terms and n-grams -> its identifier: the pre-training tasks of
DynamicRetriever's vanilla model (Zhou et al., arXiv:2203.00537) and of Ultron.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from random import Random
from typing import Literal

from pydantic import Field

from genir.config import StrictModel
from genir.corpus.tokens import join_words, words
from genir.identifiers.table import IdentifierTable
from genir.tasks.base import CorpusTask
from genir.tasks.chunking import fill, sentences
from genir.tasks.indexing import Indexing
from genir.tasks.term_stats import UnigramModel, document_words
from genir.types import Document

MAX_WORDS_READ = 1024
"""Number of leading words of a document that terms are selected from."""


class PassagesOptions(StrictModel):
    """At most `count` passages a document (0 = all), of `words` words including the title."""

    words: int = Field(default=128, ge=1)
    count: int = Field(default=4, ge=0)


class Passages(Indexing):
    """Consecutive passages: the title, then whole sentences until the passage is full."""

    name = "passages"
    Options = PassagesOptions

    def sources(self, document: Document, rng: Random) -> Iterable[str]:
        """Return the passages in reading order; the last sentence is truncated to fit."""
        title, limit = words(document.title), self.options.words
        room = max(limit - len(title), 1)
        passages = fill(sentences(document.text), room)[: self.options.count or None]
        return [join_words([*title, *words(join_words(p))][:limit]) for p in passages]


class TermsOptions(StrictModel):
    """The `words` terms with the highest tf-idf, or random ones."""

    words: int = Field(default=64, ge=1)
    by: Literal["tf-idf", "random"] = "tf-idf"


class Terms(CorpusTask[UnigramModel]):
    """Selected terms of title and text in reading order; repeated occurrences are kept."""

    name = "terms"
    Options = TermsOptions

    def fit(self, corpus: Sequence[Document], table: IdentifierTable) -> UnigramModel:
        """Count document frequencies."""
        return UnigramModel(corpus)

    def pairs(
        self, document: Document, facts: UnigramModel, rng: Random
    ) -> Iterable[tuple[str, str]]:
        """Return the selected terms as one source."""
        found = document_words(document)[:MAX_WORDS_READ]
        places = self._places(found, facts, rng)
        return [(" ".join(found[place] for place in places), document.key)] if found else []

    def _places(self, found: Sequence[str], language: UnigramModel, rng: Random) -> list[int]:
        """Return the positions of the selected terms; ties go to the earlier position."""
        count = min(self.options.words, len(found))
        if self.options.by == "random":
            return sorted(rng.sample(range(len(found)), count))
        counts = Counter(found)
        weights = {word: n / len(found) * language.idf(word) for word, n in counts.items()}
        ranked = sorted(range(len(found)), key=lambda place: -weights[found[place]])
        return sorted(ranked[:count])


class NgramsOptions(StrictModel):
    """`count` n-grams of `words` words each."""

    words: int = Field(default=5, ge=1)
    count: int = Field(default=4, ge=1)


class Ngrams(Indexing):
    """Random n-grams of the text with distinct start positions; a shorter text is used whole."""

    name = "ngrams"
    Options = NgramsOptions

    def sources(self, document: Document, rng: Random) -> Iterable[str]:
        """Sample the n-grams; return them in reading order."""
        found, size = words(document.text), self.options.words
        places = range(max(len(found) - size + 1, 1))
        drawn = sorted(rng.sample(places, min(self.options.count, len(places))))
        return [join_words(found[place : place + size]) for place in drawn]
