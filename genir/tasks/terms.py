"""Words of texts, and how common they are in a corpus. Knows no identifiers.

A word is a term of `corpus/tokens.py`: a run of letters and digits in lower case or, in a script
without spaces, two characters.
"""

from collections import Counter
from collections.abc import Iterable
from itertools import accumulate
from math import exp, log, log2
from random import Random

from genir.corpus.tokens import terms
from genir.memory import hidden
from genir.records import Document

with hidden("jax"):
    from bm25s.stopwords import STOPWORDS_EN_PLUS

STOP_WORDS = frozenset(STOPWORDS_EN_PLUS)
"""English function words, which BM25 of the same package leaves out too."""


def document_words(document: Document) -> list[str]:
    """Return the words of title and text."""
    return terms(f"{document.title} {document.text}")


class Language:
    """Word statistics of a corpus.

    counts: occurrences of each word. holders: documents that hold it. total: all occurrences.
    """

    def __init__(self, corpus: Iterable[Document]) -> None:
        self.counts: Counter[str] = Counter()
        self.holders: Counter[str] = Counter()
        self.documents = 0
        for document in corpus:
            found = document_words(document)
            self.counts.update(found)
            self.holders.update(list(dict.fromkeys(found)))
            self.documents += 1
        self.total = sum(self.counts.values())

    @property
    def mean_length(self) -> float:
        """Return the mean number of words of a document."""
        return self.total / self.documents

    def probability(self, word: str) -> float:
        """Return P(word | corpus); a word that the corpus lacks counts as one occurrence."""
        return max(self.counts[word], 1) / max(self.total, 1)

    def information(self, word: str) -> float:
        """Return -log2 P(word | corpus), in bits."""
        return -log2(self.probability(word))

    def idf(self, word: str) -> float:
        """Return log(documents / (holders + 1)), which is negative for a word in all of them."""
        return log(self.documents / (self.holders[word] + 1))


class WordSampler:
    """Draws words of a text by count times information, with replacement. Stop words weigh nothing.

    words, bounds: the different words, and the running sums of their weights.
    """

    def __init__(self, found: Iterable[str], language: Language) -> None:
        counts = Counter(word for word in found if word not in STOP_WORDS)
        weights = (count * language.information(word) for word, count in counts.items())
        self.words, self.bounds = list(counts), list(accumulate(weights))

    def draw(self, count: int, rng: Random) -> list[str]:
        """Draw `count` words in time that does not grow with the text; none without any weight."""
        if not self.bounds or self.bounds[-1] <= 0:
            return []
        return rng.choices(self.words, cum_weights=self.bounds, k=count)


def draw_distinct(weights: dict[str, float], count: int, rng: Random) -> list[str]:
    """Draw at most `count` different words one after the other, by the weights of those left.

    The words with the least exponential waiting times (Efraimidis and Spirakis, 2006).
    """
    waits = {word: -log(1 - rng.random()) / weight for word, weight in weights.items() if weight}
    return sorted(waits, key=waits.__getitem__)[:count]


def poisson(mean: float, rng: Random) -> int:
    """Draw a Poisson number, given that it is not 0.

    The first event of a unit of time that has one, then Knuth's product for the rest of the time.
    """
    first = -log(1 - rng.random() * (1 - exp(-mean)))
    count, product, floor = 1, rng.random(), exp(first - mean)
    while product > floor:
        count += 1
        product *= rng.random()
    return count


def normal(mean: float, deviation: float, rng: Random) -> int:
    """Draw a normal number, rounded down but at least 1; 0 if the mean is 0."""
    return max(int(rng.gauss(mean, deviation)), 1) if mean else 0
