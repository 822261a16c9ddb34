"""Words of texts and their corpus statistics.

A word is a term of `corpus/tokens.py`: a lower-case run of letters and digits or, in a script
without spaces, two characters.
"""

from collections import Counter
from collections.abc import Iterable
from itertools import accumulate
from math import exp, log, log2
from random import Random

from genir.corpus.tokens import terms
from genir.process_memory import block_import
from genir.types import Document

with block_import("jax"):
    from bm25s.stopwords import STOPWORDS_EN_PLUS

STOP_WORDS = frozenset(STOPWORDS_EN_PLUS)
"""English function words; the stop words of the BM25 baseline (`bm25s`)."""


def document_words(document: Document) -> list[str]:
    """Return the words of title and text."""
    return terms(f"{document.title} {document.text}")


class UnigramModel:
    """Unigram statistics of a corpus.

    Attributes:
        counts: Number of occurrences of each word.
        document_frequency: Document frequency of each word.
        documents: Number of documents.
        total: Total number of occurrences.
    """

    def __init__(self, corpus: Iterable[Document]) -> None:
        self.counts: Counter[str] = Counter()
        self.document_frequency: Counter[str] = Counter()
        self.documents = 0
        for document in corpus:
            found = document_words(document)
            self.counts.update(found)
            self.document_frequency.update(list(dict.fromkeys(found)))
            self.documents += 1
        self.total = sum(self.counts.values())

    @property
    def mean_length(self) -> float:
        """Return the mean number of words of a document."""
        return self.total / self.documents

    def probability(self, word: str) -> float:
        """Return P(word | corpus); an unknown word counts as one occurrence."""
        return max(self.counts[word], 1) / max(self.total, 1)

    def self_information(self, word: str) -> float:
        """Return -log2 P(word | corpus), in bits."""
        return -log2(self.probability(word))

    def idf(self, word: str) -> float:
        """Return log(documents / (document frequency + 1)); negative if all have the word."""
        return log(self.documents / (self.document_frequency[word] + 1))


class WordSampler:
    """Samples words of a text with replacement; weight: count times information.

    words: distinct words except stop words. bounds: cumulative sums of their weights.
    """

    def __init__(self, found: Iterable[str], language: UnigramModel) -> None:
        counts = Counter(word for word in found if word not in STOP_WORDS)
        weights = (count * language.self_information(word) for word, count in counts.items())
        self.words, self.bounds = list(counts), list(accumulate(weights))

    def draw(self, count: int, rng: Random) -> list[str]:
        """Sample `count` words in time independent of the text; [] if all weights are 0."""
        if not self.bounds or self.bounds[-1] <= 0:
            return []
        return rng.choices(self.words, cum_weights=self.bounds, k=count)


def draw_distinct(weights: dict[str, float], count: int, rng: Random) -> list[str]:
    """Sample at most `count` distinct words, without replacement, in proportion to their weights.

    Takes the smallest exponential waiting times (Efraimidis and Spirakis, 2006).
    """
    waits = {word: -log(1 - rng.random()) / weight for word, weight in weights.items() if weight}
    return sorted(waits, key=waits.__getitem__)[:count]


def poisson(mean: float, rng: Random) -> int:
    """Sample a zero-truncated Poisson number.

    Samples the first event within the unit interval, then the rest with Knuth's method.
    """
    first = -log(1 - rng.random() * (1 - exp(-mean)))
    count, product, floor = 1, rng.random(), exp(first - mean)
    while product > floor:
        count += 1
        product *= rng.random()
    return count


def normal(mean: float, deviation: float, rng: Random) -> int:
    """Sample a normal number, rounded down, at least 1; 0 if the mean is 0."""
    return max(int(rng.gauss(mean, deviation)), 1) if mean else 0
