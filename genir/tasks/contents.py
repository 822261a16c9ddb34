"""What a document holds -> its identifier, as DynamicRetriever's vanilla model is pre-trained
(Zhou et al., arXiv:2203.00537) and Ultron after it: passages, terms, n-grams.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from random import Random
from typing import Literal

from pydantic import Field

from genir.config import Strict
from genir.corpus.tokens import join_words, words
from genir.identifiers.table import IdentifierTable
from genir.records import Document, Example
from genir.tasks.base import CorpusTask, TrainQueries, draw_target
from genir.tasks.indexing import Indexing
from genir.tasks.passages import fill, sentences
from genir.tasks.terms import Language, document_words

READ = 1024
"""Words of a document from which its terms are taken."""


class PassagesOptions(Strict):
    """Passages of `words` words, the title included; at most `count` a document, 0 = all."""

    words: int = Field(default=128, ge=1)
    count: int = Field(default=4, ge=0)


class Passages(Indexing):
    """The title and as many whole sentences as it takes to fill a passage, from the beginning."""

    name = "passages"
    Options = PassagesOptions

    def sources(self, document: Document, rng: Random) -> Iterable[str]:
        """Return the passages in reading order; what is over in the last sentence is lost."""
        title, limit = words(document.title), self.options.words
        room = max(limit - len(title), 1)
        passages = fill(sentences(document.text), room)[: self.options.count or None]
        return [join_words([*title, *words(join_words(p))][:limit]) for p in passages]


class TermsOptions(Strict):
    """The `words` terms of greatest tf-idf, or random ones."""

    words: int = Field(default=64, ge=1)
    by: Literal["tf-idf", "random"] = "tf-idf"


class Terms(CorpusTask[Language]):
    """Terms of title and text in their order; one that stands twice comes twice."""

    name = "terms"
    Options = TermsOptions

    def learn(self, corpus: Sequence[Document], table: IdentifierTable) -> Language:
        """Count in how many documents each word stands."""
        return Language(corpus)

    def examples(
        self,
        corpus: Sequence[Document],
        table: IdentifierTable,
        queries: TrainQueries,
        rng: Random,
    ) -> Iterator[Example]:
        """Yield an example a document."""
        language = self.facts(corpus, table)
        for document in corpus:
            found = document_words(document)[:READ]
            if found:
                places = self._places(found, language, rng)
                yield Example(
                    " ".join(found[place] for place in places), draw_target(table, document, rng)
                )

    def _places(self, found: Sequence[str], language: Language, rng: Random) -> list[int]:
        """Return the places of the chosen terms; of equals, those that come first."""
        count = min(self.options.words, len(found))
        if self.options.by == "random":
            return sorted(rng.sample(range(len(found)), count))
        counts = Counter(found)
        weights = {word: n / len(found) * language.idf(word) for word, n in counts.items()}
        ranked = sorted(range(len(found)), key=lambda place: -weights[found[place]])
        return sorted(ranked[:count])


class NgramsOptions(Strict):
    """`count` runs of `words` words each."""

    words: int = Field(default=5, ge=1)
    count: int = Field(default=4, ge=1)


class Ngrams(Indexing):
    """Random n-grams of the text, none from the same place; a text below n words comes whole."""

    name = "ngrams"
    Options = NgramsOptions

    def sources(self, document: Document, rng: Random) -> Iterable[str]:
        """Draw the n-grams, in reading order."""
        found, size = words(document.text), self.options.words
        places = range(max(len(found) - size + 1, 1))
        drawn = sorted(rng.sample(places, min(self.options.count, len(places))))
        return [join_words(found[place : place + size]) for place in drawn]
