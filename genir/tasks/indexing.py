"""Indexing tasks: a part of the document's own text -> its identifier."""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from random import Random
from typing import Self

from pydantic import Field, model_validator

from genir.config import StrictModel
from genir.corpus.tokens import words
from genir.identifiers.table import IdentifierTable
from genir.tasks.base import Task, TrainQueries, draw_identifier
from genir.tasks.chunking import clean, lead, span, windows
from genir.types import Document, Example


class Indexing(Task):
    """Base class of tasks whose sources come from the document alone."""

    def examples(
        self, corpus: Sequence[Document], table: IdentifierTable, queries: TrainQueries, rng: Random
    ) -> Iterator[Example]:
        """Yield one example for each non-empty source."""
        for document in corpus:
            for source in self.sources(document, rng):
                if source:
                    yield Example(source, draw_identifier(table, document.key, rng))

    @abstractmethod
    def sources(self, document: Document, rng: Random) -> Iterable[str]:
        """Return the source texts of the document."""


class LeadOptions(StrictModel):
    """`words`: maximum number of words of a lead."""

    words: int = Field(default=32, ge=1)


class Lead(Indexing):
    """The first line or sentence."""

    name = "lead"
    Options = LeadOptions

    def sources(self, document: Document, rng: Random) -> Iterable[str]:
        """Return the lead."""
        return [lead(document.text, self.options.words)]


class Title(Indexing):
    """The title."""

    name = "title"
    Options = StrictModel

    def sources(self, document: Document, rng: Random) -> Iterable[str]:
        """Return the title."""
        return [clean(document.title)]


class TitleLead(Indexing):
    """Title and lead, joined by a full stop; no example if either is missing."""

    name = "title-lead"
    Options = LeadOptions

    def sources(self, document: Document, rng: Random) -> Iterable[str]:
        """Return `title. lead`."""
        parts = [clean(document.title), lead(document.text, self.options.words)]
        return [". ".join(parts)] if all(parts) else []


class SpansOptions(StrictModel):
    """`count` spans a document, each of `shortest` to `longest` words."""

    shortest: int = Field(default=3, ge=1)
    longest: int = Field(default=8, ge=1)
    count: int = Field(default=2, ge=1)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.shortest > self.longest:
            raise ValueError(f"shortest = {self.shortest} is above longest = {self.longest}")
        return self


class Spans(Indexing):
    """Random spans of the text, sampled again in each pass; a short text is used whole, once."""

    name = "spans"
    Options = SpansOptions

    def sources(self, document: Document, rng: Random) -> Iterable[str]:
        """Sample the spans."""
        found, options = words(document.text), self.options
        count = options.count if len(found) > options.shortest else min(len(found), 1)
        return [span(found, options.shortest, options.longest, rng) for _ in range(count)]


class ChunksOptions(StrictModel):
    """Windows of `words` words; consecutive windows share `overlap` words."""

    words: int = Field(default=64, ge=1)
    overlap: int = Field(default=16, ge=0)

    @model_validator(mode="after")
    def _advancing(self) -> Self:
        if self.overlap >= self.words:
            raise ValueError(f"overlap = {self.overlap} must be below words = {self.words}")
        return self


class Chunks(Indexing):
    """The whole text as consecutive windows."""

    name = "chunks"
    Options = ChunksOptions

    def sources(self, document: Document, rng: Random) -> Iterable[str]:
        """Return the windows in reading order."""
        return windows(words(document.text), self.options.words, self.options.overlap)
