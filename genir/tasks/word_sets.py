"""Representative words of a document -> its identifier: PROP (Ma et al., WSDM 2021) and B-PROP
(SIGIR 2021).

Both draw pairs of word sets of one size and call the likelier set the query; that set alone is the
source here, since identifiers are told apart by the softmax and need no losing set.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from math import log, log2, sqrt
from random import Random
from typing import NamedTuple

from pydantic import Field

from genir.config import Strict
from genir.corpus.tokens import is_alphabetic
from genir.identifiers.table import IdentifierTable
from genir.records import Document, Example
from genir.tasks.base import CorpusTask, Facts, TrainQueries, draw_target
from genir.tasks.terms import Language, document_words, draw_distinct, poisson


class Sampler(ABC):
    """Draws the word sets of one document, and scores words."""

    @abstractmethod
    def draw(self, size: int, rng: Random) -> list[str]:
        """Draw a word set."""

    @abstractmethod
    def score(self, word: str) -> float:
        """Return what a word adds to the likelihood of its set."""

    def likelihood(self, words: Iterable[str]) -> float:
        """Return how likely a set is, as far as sets of one size compare."""
        return sum(self.score(word) for word in words)


class WordSets(CorpusTask[Facts]):
    """Pairs of word sets; a subclass says how a set is drawn and scored."""

    def examples(
        self,
        corpus: Sequence[Document],
        table: IdentifierTable,
        queries: TrainQueries,
        rng: Random,
    ) -> Iterator[Example]:
        """Yield the better set of each pair; of equals, the first."""
        facts = self.facts(corpus, table)
        for document in corpus:
            sampler = self.sampler(Counter(document_words(document)), facts)
            if sampler is None:
                continue
            for _ in range(self.options.pairs):
                size = poisson(self.options.mean, rng)
                pair = [sampler.draw(size, rng) for _ in range(2)]
                yield Example(" ".join(max(pair, key=sampler.likelihood)),
                              draw_target(table, document, rng))  # fmt: skip

    @abstractmethod
    def sampler(self, counts: Counter[str], facts: Facts) -> Sampler | None:
        """Return what draws sets for a document of these words, None if it has too few."""


class PropOptions(Strict):
    """`pairs` a document, of word sets whose size is Poisson with `mean`.

    mu: words of the corpus's model that smooth a document's (Dirichlet); 0 is the mean length of a
    document, the authors' choice. frequent: words above this share of the corpus are drawn less
    often, as in word2vec; 1 is never.
    """

    pairs: int = Field(default=1, ge=1)
    mean: float = Field(default=3.0, gt=0, le=50)
    mu: float = Field(default=0.0, ge=0)
    frequent: float = Field(default=1e-4, gt=0, le=1)


class Background(NamedTuple):
    """The corpus's model: statistics, words, their accumulated weight, how often each is kept."""

    language: Language
    words: list[str]
    bounds: list[float]
    kept: dict[str, float]


class Prop(WordSets[Background]):
    """Word sets of the document's Dirichlet-smoothed unigram model.

    P(w | document) = (tf + mu P(w | corpus)) / (length + mu): with probability length / (length +
    mu) a word of the document, else one of the corpus. Sets may hold words that the document lacks.
    """

    name = "prop"
    Options = PropOptions

    def learn(self, corpus: Sequence[Document], table: IdentifierTable) -> Background:
        """Count the words, and subsample the common ones."""
        language = Language(corpus)
        kept = {word: self._kept(language.probability(word)) for word in language.counts}
        weights = (language.probability(word) * part for word, part in kept.items())
        return Background(language, list(kept), list(accumulate(weights)), kept)

    def _kept(self, share: float) -> float:
        """Return how often a word of this share of the corpus is kept (word2vec's subsampling)."""
        if self.options.frequent >= 1:
            return 1.0
        ratio = self.options.frequent / share
        return min(1.0, sqrt(ratio) + ratio)

    def sampler(self, counts: Counter[str], facts: Background) -> Sampler | None:
        """Return a sampler of the smoothed model, None for a document without words."""
        return Smoothed(counts, facts, self.options.mu) if counts else None


class Smoothed(Sampler):
    """Words of a document mixed with those of the corpus, common ones subsampled."""

    def __init__(self, counts: Counter[str], background: Background, mu: float) -> None:
        self.counts, self.background = counts, background
        self.mu = mu or background.language.mean_length
        self.words = list(counts)
        self.bounds = list(accumulate(n * background.kept[word] for word, n in counts.items()))
        self.share = self.bounds[-1] / (self.bounds[-1] + self.mu * background.bounds[-1])

    def draw(self, size: int, rng: Random) -> list[str]:
        """Draw each word from the document or the corpus."""
        return [self._word(rng) for _ in range(size)]

    def _word(self, rng: Random) -> str:
        if rng.random() < self.share:
            return rng.choices(self.words, cum_weights=self.bounds)[0]
        return rng.choices(self.background.words, cum_weights=self.background.bounds)[0]

    def score(self, word: str) -> float:
        """Return log P(word | document)."""
        smoothing = self.mu * self.background.language.probability(word)
        return log((self.counts[word] + smoothing) / (self.counts.total() + self.mu))


class BPropOptions(Strict):
    """`pairs` a document, of word sets whose size is Poisson with `mean`.

    fewest: documents with fewer different words of letters are left out.
    """

    pairs: int = Field(default=1, ge=1)
    mean: float = Field(default=3.0, gt=0, le=50)
    fewest: int = Field(default=10, ge=1)


class BProp(WordSets[Language]):
    """Different words of the document by their divergence from randomness.

    The paper contrasts BERT's attention from [CLS] with its mean over the corpus, and draws by the
    softmax. A task knows no model: here the document's unigram model stands for the attention, the
    contrast is the word's part of the divergence of the corpus's model from it, P(w | document)
    log2(P(w | document) / P(w | corpus)), and words are drawn in proportion to that, since the
    softmax of such small numbers is nearly even.
    """

    name = "b-prop"
    Options = BPropOptions

    def learn(self, corpus: Sequence[Document], table: IdentifierTable) -> Language:
        """Count the words."""
        return Language(corpus)

    def sampler(self, counts: Counter[str], facts: Language) -> Sampler | None:
        """Return a sampler of the contrast, None for a document of few words, or common ones."""
        if sum(is_alphabetic(word) for word in counts) < self.options.fewest:
            return None
        shares = {word: count / counts.total() for word, count in counts.items()}
        contrast = {
            word: max(share * (log2(share) + facts.information(word)), 0.0)
            for word, share in shares.items()
            if is_alphabetic(word)
        }
        return Contrast(contrast) if any(contrast.values()) else None


class Contrast(Sampler):
    """Different words in proportion to their contrast."""

    def __init__(self, contrast: dict[str, float]) -> None:
        self.contrast = contrast

    def draw(self, size: int, rng: Random) -> list[str]:
        """Draw words one after the other, none twice."""
        return draw_distinct(self.contrast, size, rng)

    def score(self, word: str) -> float:
        """Return the word's contrast."""
        return self.contrast[word]
