"""Recurring spans (Spider: Ram et al., NAACL 2022): the context of a span in one passage ->
another passage that contains the same span.

Documents are the retrieval units, so passages are either the documents of one article (documents
with the same title) or windows of one document; the target is the identifier of the document.
"""

from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Literal, NamedTuple, Self

from pydantic import Field, model_validator

from genir.config import StrictModel
from genir.corpus.tokens import is_letter, join_words, without_punctuation, words
from genir.identifiers.table import IdentifierTable
from genir.tasks.base import Task, TrainQueries, draw_identifier
from genir.tasks.chunking import clean, windows
from genir.tasks.term_stats import STOP_WORDS
from genir.types import Document, Example


class RecurringOptions(StrictModel):
    """`count` spans an article, of up to `longest` words.

    passages: "windows" of `words` words in each document, or "documents" of the same title.
    narrowest, widest: words of the query, including the span. keep: probability that the span stays
    in the query.
    """

    passages: Literal["windows", "documents"] = "windows"
    words: int = Field(default=100, ge=1)
    count: int = Field(default=2, ge=1)
    longest: int = Field(default=10, ge=1)
    narrowest: int = Field(default=10, ge=1)
    widest: int = Field(default=30, ge=1)
    keep: float = Field(default=0.5, ge=0, le=1)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.narrowest > self.widest:
            raise ValueError(f"narrowest = {self.narrowest} is above widest = {self.widest}")
        return self


class Passage(NamedTuple):
    """The words of a passage with their punctuation, and the key of its document."""

    words: list[str]
    key: str


class Place(NamedTuple):
    """Words [start, end) of passage number `passage`."""

    passage: int
    start: int
    end: int


Key = tuple[str, ...]
"""The normalised words of a span: lower case, without surrounding punctuation."""


class RecurringSpans(Task):
    """The context of a recurring span -> another document or window that contains it."""

    name = "recurring-spans"
    Options = RecurringOptions

    def examples(
        self, corpus: Sequence[Document], table: IdentifierTable, queries: TrainQueries, rng: Random
    ) -> Iterator[Example]:
        """Yield the examples of each article, at the position of its first document."""
        for passages in self._articles(corpus):
            spans = recurring_spans(passages, self.options.longest)
            for places in rng.sample(spans, min(self.options.count, len(spans))):
                here = rng.choice(places)
                others = sorted({p.passage for p in places if p.passage != here.passage})
                source = self._query(passages[here.passage].words, here, rng)
                if source:
                    target = passages[rng.choice(others)].key
                    yield Example(source, draw_identifier(table, target, rng))

    def _articles(self, corpus: Sequence[Document]) -> Iterator[list[Passage]]:
        if self.options.passages == "windows":
            for document in corpus:
                cut = windows(words(document.text), self.options.words, 0)
                yield [Passage(words(window), document.key) for window in cut]
            return
        titles: dict[str, list[int]] = {}
        for number, document in enumerate(corpus):
            titles.setdefault(clean(document.title), []).append(number)
        for title, numbers in titles.items():
            if title and len(numbers) > 1:
                documents = (corpus[number] for number in numbers)
                yield [Passage(words(document.text), document.key) for document in documents]

    def _query(self, words: Sequence[str], place: Place, rng: Random) -> str:
        """Sample a window around the span; remove the span with probability 1 - `keep`."""
        length = place.end - place.start
        size = max(rng.randint(self.options.narrowest, self.options.widest), length)
        low = max(0, place.end - size)
        high = max(low, min(place.start, len(words) - size))
        start = rng.randint(low, high)
        window = range(start, min(start + size, len(words)))
        kept = rng.random() < self.options.keep
        return join_words([words[n] for n in window if kept or not place.start <= n < place.end])


def recurring_spans(passages: Sequence[Passage], longest: int) -> list[list[Place]]:
    """Return the occurrences of each span that occurs in more than one passage.

    A span consists of words and numbers without punctuation between them, and neither starts nor
    ends with a stop word; a single word must be capitalized or a number of four digits. A span is
    left out if each of its occurrences is part of a longer recurring span.
    """
    bare = [[without_punctuation(word).lower() for word in passage.words] for passage in passages]
    spans: dict[Key, list[Place]] = {}
    grown = _starts(bare)
    for length in range(1, longest + 1):
        grown = {key: places for key, places in grown.items() if _in_several_passages(places)}
        for key, places in grown.items():
            said = places if length > 1 else [p for p in places if _informative(passages, p)]
            if key[-1] not in STOP_WORDS and _in_several_passages(said):
                spans[key] = said
        grown = _extend_span(grown, passages, bare)
    covered = {part for places in spans.values() for place in places for part in _shorter(place)}
    return [places for places in spans.values() if not covered.issuperset(places)]


def _is_content_word(word: str) -> bool:
    """Return whether a word consists of letters, combining marks and digits."""
    return word.isalnum() or (bool(word) and all(is_letter(c, digits=True) for c in word))


def _in_several_passages(places: Sequence[Place]) -> bool:
    return any(place.passage != places[0].passage for place in places)


def _starts(bare: Sequence[Sequence[str]]) -> dict[Key, list[Place]]:
    """Return the occurrences of each word that may start a span."""
    found: dict[Key, list[Place]] = {}
    for number, passage in enumerate(bare):
        for start, word in enumerate(passage):
            if _is_content_word(word) and word not in STOP_WORDS:
                found.setdefault((word,), []).append(Place(number, start, start + 1))
    return found


def _extend_span(
    grown: Mapping[Key, Sequence[Place]], passages: Sequence[Passage], bare: Sequence[Sequence[str]]
) -> dict[Key, list[Place]]:
    """Extend each span by one word where no punctuation separates them."""
    longer: dict[Key, list[Place]] = {}
    for key, places in grown.items():
        for passage, start, end in places:
            words = passages[passage].words
            if (
                end < len(words)
                and is_letter(words[end - 1][-1], digits=True)
                and is_letter(words[end][0], digits=True)
                and _is_content_word(bare[passage][end])
            ):
                place = Place(passage, start, end + 1)
                longer.setdefault((*key, bare[passage][end]), []).append(place)
    return longer


def _shorter(place: Place) -> Iterator[Place]:
    for start in range(place.start, place.end):
        for end in range(start + 1, place.end + 1):
            if end - start < place.end - place.start:
                yield Place(place.passage, start, end)


def _informative(passages: Sequence[Passage], place: Place) -> bool:
    word = without_punctuation(passages[place.passage].words[place.start])
    return word[:1].isupper() or (len(word) == 4 and word.isdigit())
