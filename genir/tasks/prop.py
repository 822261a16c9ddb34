"""Representative words of a document -> its identifier: PROP (Ma et al., WSDM 2021) and B-PROP
(SIGIR 2021).

Both sample pairs of word sets of equal size and prefer the more likely one. Here the preferred set
is the source; the softmax over identifiers replaces the comparison, so the other set is dropped.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from math import log, log2, sqrt
from random import Random
from typing import NamedTuple

from pydantic import Field

from genir.config import StrictModel
from genir.corpus.tokens import is_alphabetic
from genir.identifiers.table import IdentifierTable
from genir.tasks.base import CorpusTask, Stats
from genir.tasks.term_stats import UnigramModel, document_words, draw_distinct, poisson
from genir.types import Document


class Sampler(ABC):
    """Samples the word sets of one document and scores words."""

    @abstractmethod
    def draw(self, size: int, rng: Random) -> list[str]:
        """Sample a word set."""

    @abstractmethod
    def score(self, word: str) -> float:
        """Return the word's contribution to the log-likelihood of its set."""

    def likelihood(self, words: Iterable[str]) -> float:
        """Return the score of a set; only sets of equal size are comparable."""
        return sum(self.score(word) for word in words)


class WordSetTask(CorpusTask[Stats]):
    """Base class of tasks that sample pairs of word sets."""

    def pairs(self, document: Document, facts: Stats, rng: Random) -> Iterator[tuple[str, str]]:
        """Yield the more likely set of each pair of word sets; ties go to the first."""
        sampler = self.sampler(Counter(document_words(document)), facts)
        for _ in range(self.options.pairs if sampler else 0):
            assert sampler is not None
            size = poisson(self.options.mean, rng)
            drawn = [sampler.draw(size, rng) for _ in range(2)]
            yield " ".join(max(drawn, key=sampler.likelihood)), document.key

    @abstractmethod
    def sampler(self, counts: Counter[str], facts: Stats) -> Sampler | None:
        """Return a sampler for a document with these word counts, or None if it has too few."""


class PropOptions(StrictModel):
    """`pairs` pairs a document; the size of their word sets is Poisson with `mean`.

    mu: weight, in words, of the corpus model in Dirichlet smoothing; 0 is the mean document length
    (the authors' choice). frequent: words above this relative frequency are subsampled as in
    word2vec; 1 turns subsampling off.
    """

    pairs: int = Field(default=1, ge=1)
    mean: float = Field(default=3.0, gt=0, le=50)
    mu: float = Field(default=0.0, ge=0)
    frequent: float = Field(default=1e-4, gt=0, le=1)


class Background(NamedTuple):
    """Corpus model: statistics, words, cumulative weights, probability of keeping each word."""

    language: UnigramModel
    words: list[str]
    bounds: list[float]
    kept: dict[str, float]


class Prop(WordSetTask[Background]):
    """Word sets of the document's Dirichlet-smoothed unigram model.

    P(w | document) = (tf + mu P(w | corpus)) / (length + mu): a word of the document with
    probability length / (length + mu), else a word of the corpus, perhaps absent from the document.
    """

    name = "prop"
    Options = PropOptions

    def fit(self, corpus: Sequence[Document], table: IdentifierTable) -> Background:
        """Count the words and subsample frequent ones."""
        language = UnigramModel(corpus)
        kept = {w: self._keep_probability(language.probability(w)) for w in language.counts}
        weights = (language.probability(word) * part for word, part in kept.items())
        return Background(language, list(kept), list(accumulate(weights)), kept)

    def _keep_probability(self, share: float) -> float:
        """Return the probability of keeping a word of this relative frequency (word2vec)."""
        if self.options.frequent >= 1:
            return 1.0
        ratio = self.options.frequent / share
        return min(1.0, sqrt(ratio) + ratio)

    def sampler(self, counts: Counter[str], facts: Background) -> Sampler | None:
        """Return a sampler of the smoothed model, or None for a document without words."""
        return Smoothed(counts, facts, self.options.mu) if counts else None


class Smoothed(Sampler):
    """Samples from a mixture of document and corpus words, with frequent words subsampled."""

    def __init__(self, counts: Counter[str], background: Background, mu: float) -> None:
        self.counts, self.background = counts, background
        self.mu = mu or background.language.mean_length
        self.words = list(counts)
        self.bounds = list(accumulate(n * background.kept[word] for word, n in counts.items()))
        self.share = self.bounds[-1] / (self.bounds[-1] + self.mu * background.bounds[-1])

    def draw(self, size: int, rng: Random) -> list[str]:
        """Sample each word from the document or the corpus."""
        own, corpus = (self.words, self.bounds), (self.background.words, self.background.bounds)
        sources = (own if rng.random() < self.share else corpus for _ in range(size))
        return [rng.choices(words, cum_weights=bounds)[0] for words, bounds in sources]

    def score(self, word: str) -> float:
        """Return log P(word | document)."""
        smoothing = self.mu * self.background.language.probability(word)
        return log((self.counts[word] + smoothing) / (self.counts.total() + self.mu))


class BPropOptions(StrictModel):
    """`pairs` pairs a document; the size of their word sets is Poisson with `mean`.

    fewest: documents with fewer distinct alphabetic words are skipped.
    """

    pairs: int = Field(default=1, ge=1)
    mean: float = Field(default=3.0, gt=0, le=50)
    fewest: int = Field(default=10, ge=1)


class BProp(WordSetTask[UnigramModel]):
    """Distinct words of the document, weighted by their divergence from the corpus model.

    The paper contrasts BERT's attention from [CLS] with its mean over the corpus, and samples
    from the softmax. Tasks have no model: here a word's contrast is its term of the KL divergence
    of the document's unigram model from the corpus model, P(w | document) log2(P(w | document) /
    P(w | corpus)). Words are sampled in proportion to it, because the softmax of these small
    numbers is nearly uniform.
    """

    name = "b-prop"
    Options = BPropOptions

    def fit(self, corpus: Sequence[Document], table: IdentifierTable) -> UnigramModel:
        """Count the words."""
        return UnigramModel(corpus)

    def sampler(self, counts: Counter[str], facts: UnigramModel) -> Sampler | None:
        """Return a sampler of the contrast, or None for a document of few or only common words."""
        if sum(is_alphabetic(word) for word in counts) < self.options.fewest:
            return None
        shares = {word: count / counts.total() for word, count in counts.items()}
        contrast = {
            word: max(share * (log2(share) + facts.self_information(word)), 0.0)
            for word, share in shares.items()
            if is_alphabetic(word)
        }
        return Contrast(contrast) if any(contrast.values()) else None


class Contrast(Sampler):
    """Samples distinct words in proportion to their contrast."""

    def __init__(self, contrast: dict[str, float]) -> None:
        self.contrast = contrast

    def draw(self, size: int, rng: Random) -> list[str]:
        """Sample words without replacement."""
        return draw_distinct(self.contrast, size, rng)

    def score(self, word: str) -> float:
        """Return the word's contrast."""
        return self.contrast[word]
