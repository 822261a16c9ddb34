"""The three tasks of Chang et al. (ICLR 2020): a sentence -> its own or a linking document.

The target is a document identifier or, for inverse cloze, optionally the rest of the passage.
"""

from collections.abc import Iterable, Iterator, Sequence
from random import Random
from typing import Literal

from pydantic import Field

from genir.config import StrictModel
from genir.corpus.tokens import count_words, join_words
from genir.identifiers.table import IdentifierTable
from genir.tasks.base import CorpusTask, Task, TrainQueries, draw_identifier
from genir.tasks.chunking import fill, first_section, sentences
from genir.tasks.hyperlinks import linked_from
from genir.tasks.indexing import Indexing
from genir.types import Document, Example


class IctOptions(StrictModel):
    """Passages of about `words` words; one sentence of at least `shortest` words from each.

    target: the document's identifier, or the `rest` of the passage as text. The sentence stays in
    the rest with probability `keep` (ORQA: Lee et al., ACL 2019: 0.1).
    """

    words: int = Field(default=200, ge=1)
    shortest: int = Field(default=4, ge=1)
    target: Literal["identifier", "rest"] = "identifier"
    keep: float = Field(default=0.1, ge=0, le=1)


class Ict(Task):
    """Inverse cloze: a random sentence of a passage -> its document, or the rest of it."""

    name = "ict"
    Options = IctOptions

    def examples(
        self, corpus: Sequence[Document], table: IdentifierTable, queries: TrainQueries, rng: Random
    ) -> Iterator[Example]:
        """Yield one example for each passage that has a long enough sentence and a target."""
        for document in corpus:
            for passage in fill(sentences(document.text), self.options.words):
                long = _long(passage, self.options.shortest)
                if not long:
                    continue
                chosen = rng.choice(long)
                sentence = str(passage[chosen])
                if self.options.target == "identifier":
                    yield Example(sentence, draw_identifier(table, document.key, rng))
                    continue
                kept = rng.random() < self.options.keep and len(passage) > 1
                rest = join_words([s for n, s in enumerate(passage) if kept or n != chosen])
                if rest:
                    yield Example(sentence, rest)


class BfsOptions(StrictModel):
    """`count` sentences of the first section, each of at least `shortest` words."""

    count: int = Field(default=1, ge=1)
    shortest: int = Field(default=4, ge=1)


class Bfs(Indexing):
    """Body first selection: sentences of the document's first section -> the document."""

    name = "bfs"
    Options = BfsOptions

    def sources(self, document: Document, rng: Random) -> Iterable[str]:
        """Sample distinct sentences; return them in reading order."""
        long = _long_opening(document, self.options.shortest)
        drawn = rng.sample(range(len(long)), min(self.options.count, len(long)))
        return [long[place] for place in sorted(drawn)]


class Wlp(CorpusTask[dict[str, list[str]]]):
    """Wiki link prediction: a sentence of the first section -> a document that links to it."""

    name = "wlp"
    Options = BfsOptions

    def fit(self, corpus: Sequence[Document], table: IdentifierTable) -> dict[str, list[str]]:
        """Collect the keys of the documents that link to each document."""
        return linked_from(corpus, table)

    def pairs(
        self, document: Document, facts: dict[str, list[str]], rng: Random
    ) -> Iterator[tuple[str, str]]:
        """Yield `count` sentences of a document that others link to."""
        others = facts.get(document.key, [])
        long = _long_opening(document, self.options.shortest)
        for _ in range(self.options.count if others and long else 0):
            yield rng.choice(long), rng.choice(others)


def _long_opening(document: Document, shortest: int) -> list[str]:
    opening = sentences(first_section(document.text))
    return [str(opening[place]) for place in _long(opening, shortest)]


def _long(passage: Sequence[str], shortest: int) -> list[int]:
    return [place for place, sentence in enumerate(passage) if count_words(sentence) >= shortest]
