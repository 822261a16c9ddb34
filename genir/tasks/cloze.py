"""The three tasks of Chang et al. (ICLR 2020): a sentence -> its document, or another.

Their passages become identifiers here, or (inverse cloze) the rest of the passage as text.
"""

from collections.abc import Iterable, Iterator, Sequence
from random import Random
from typing import Literal

from pydantic import Field

from genir.config import Strict
from genir.corpus.tokens import count_words, join_words
from genir.identifiers.table import IdentifierTable
from genir.records import Document, Example
from genir.tasks.base import CorpusTask, Task, TrainQueries, draw_identifier, draw_target
from genir.tasks.hyperlinks import linked_from
from genir.tasks.indexing import Indexing
from genir.tasks.passages import fill, first_section, sentences


class IctOptions(Strict):
    """Passages of about `words` words, a sentence of `shortest` words or more out of each.

    target: the document's identifier, or the `rest` of the passage as text, which in the share
    `keep` of the cases still holds the sentence (ORQA: Lee et al., ACL 2019: 0.1).
    """

    words: int = Field(default=200, ge=1)
    shortest: int = Field(default=4, ge=1)
    target: Literal["identifier", "rest"] = "identifier"
    keep: float = Field(default=0.1, ge=0, le=1)


class Ict(Task):
    """Inverse cloze: a random sentence of each passage -> what stood around it."""

    name = "ict"
    Options = IctOptions

    def examples(
        self,
        corpus: Sequence[Document],
        table: IdentifierTable,
        queries: TrainQueries,
        rng: Random,
    ) -> Iterator[Example]:
        """Yield an example a passage; none if it has no long sentence, or nothing else to say."""
        for document in corpus:
            for passage in fill(sentences(document.text), self.options.words):
                chosen = _draw_long(passage, self.options.shortest, rng)
                if chosen is None:
                    continue
                sentence = str(passage[chosen])
                if self.options.target == "identifier":
                    yield Example(sentence, draw_target(table, document, rng))
                elif rest := self._rest(passage, chosen, rng):
                    yield Example(sentence, rest)

    def _rest(self, passage: Sequence[str], chosen: int, rng: Random) -> str:
        kept = rng.random() < self.options.keep and len(passage) > 1
        return join_words([s for n, s in enumerate(passage) if kept or n != chosen])


class BfsOptions(Strict):
    """`count` sentences of the first section, of `shortest` words or more."""

    count: int = Field(default=1, ge=1)
    shortest: int = Field(default=4, ge=1)


class Bfs(Indexing):
    """Body first selection: a sentence of the document's first section, which tells what it is."""

    name = "bfs"
    Options = BfsOptions

    def sources(self, document: Document, rng: Random) -> Iterable[str]:
        """Draw different sentences, in their order."""
        long = _long_opening(document, self.options.shortest)
        drawn = rng.sample(range(len(long)), min(self.options.count, len(long)))
        return [long[place] for place in sorted(drawn)]


class Wlp(CorpusTask[dict[str, list[str]]]):
    """Wiki link prediction: a sentence of a document's first section -> one that links to it."""

    name = "wlp"
    Options = BfsOptions

    def learn(self, corpus: Sequence[Document], table: IdentifierTable) -> dict[str, list[str]]:
        """Find which documents link to each."""
        return linked_from(corpus, table)

    def examples(
        self,
        corpus: Sequence[Document],
        table: IdentifierTable,
        queries: TrainQueries,
        rng: Random,
    ) -> Iterator[Example]:
        """Yield `count` examples a document that others link to."""
        linking = self.facts(corpus, table)
        for document in corpus:
            others = linking.get(document.key)
            long = _long_opening(document, self.options.shortest)
            for _ in range(self.options.count if others and long else 0):
                source = rng.choice(long)
                yield Example(source, draw_identifier(table, rng.choice(others or []), rng))


def _long_opening(document: Document, shortest: int) -> list[str]:
    opening = sentences(first_section(document.text))
    return [str(sentence) for sentence in opening if count_words(sentence) >= shortest]


def _draw_long(passage: Sequence[str], shortest: int, rng: Random) -> int | None:
    """Draw the place of a sentence of `shortest` words or more."""
    long = [place for place, sentence in enumerate(passage) if count_words(sentence) >= shortest]
    return rng.choice(long) if long else None
