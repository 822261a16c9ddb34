"""CorpusBrain's tasks (Chen et al., CIKM 2022): sentences, paragraphs and links of long pages ->
identifiers.

A page is split into units: paragraphs (lines) as in the authors' data, or sentences; short units,
for example headings, are skipped. The authors join the identifiers of the page and of pages that
it links to into one target. `join` does this where the model supports it; without it each
identifier is the target of a separate example, with any scheme.
"""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from itertools import islice
from random import Random
from typing import Literal

from pydantic import Field

from genir.config import StrictModel
from genir.corpus.tokens import count_words
from genir.identifiers.table import IdentifierTable
from genir.tasks.base import Task, TrainQueries, draw_identifier
from genir.tasks.chunking import clean, paragraph_places, sentence_places
from genir.tasks.hyperlinks import Places, anchors
from genir.types import Document, Example

LINK_COUNT_WEIGHTS = (0.70, 0.20, 0.05, 0.03, 0.02)
"""Probabilities that a source also leads to 0, 1, ... 4 of the page's links."""

RANDOM_UNITS_PER_PAGE = 11
"""Number of random units of a page used as sources, besides the lead unit."""

PARAGRAPH_RANGES = ((0, 3), (3, 6), (6, 9))
"""Start and end units of each lead paragraph."""

MAX_LINKS_PER_PAGE = 3
"""Maximum number of links of a page used as sources."""


class UnitOptions(StrictModel):
    """Pages of at least `page` words, split into units of at least `shortest` words."""

    unit: Literal["paragraph", "sentence"] = "paragraph"
    page: int = Field(default=128, ge=1)
    shortest: int = Field(default=11, ge=1)


class PageTaskOptions(UnitOptions):
    """join: the target is the page and then pages that it links to, joined."""

    join: bool = False


class UnitTask(Task):
    """Base class of tasks over the units of long pages."""

    Options = UnitOptions

    def places(self, document: Document) -> Places:
        """Return the offsets of the document's units; [] for a short document."""
        text = document.text
        if count_words(text) < self.options.page:
            return []
        split = sentence_places if self.options.unit == "sentence" else paragraph_places
        long = self.options.shortest
        return [(start, end) for start, end in split(text) if count_words(text[start:end]) >= long]


class PageTask(UnitTask):
    """Units -> the page and, by `LINK_COUNT_WEIGHTS`, pages that it links to."""

    Options = PageTaskOptions

    def examples(
        self, corpus: Sequence[Document], table: IdentifierTable, queries: TrainQueries, rng: Random
    ) -> Iterator[Example]:
        """Yield one example for each source and identifier, or for each source if joined."""
        for document in corpus:
            places = self.places(document)
            units = [clean(document.text[start:end]) for start, end in places]
            links = [anchor.target for anchor in anchors(document, table)] if units else []
            for source in dict.fromkeys(self.sources(units, rng)):
                own = draw_identifier(table, document.key, rng)
                (count,) = rng.choices(range(len(LINK_COUNT_WEIGHTS)), LINK_COUNT_WEIGHTS)
                keys = dict.fromkeys(rng.sample(links, min(count, len(links))))
                linked = tuple(draw_identifier(table, key, rng) for key in keys)
                if self.concatenates_targets:
                    yield Example(source, own, extra_targets=linked)
                else:
                    yield from (Example(source, target) for target in (own, *linked))

    @abstractmethod
    def sources(self, units: Sequence[str], rng: Random) -> list[str]:
        """Return the source texts of the page, made of its units."""


class Iss(PageTask):
    """Inner sentence selection: the lead unit and random later units."""

    name = "iss"

    def sources(self, units: Sequence[str], rng: Random) -> list[str]:
        """Sample the later units."""
        later = units[1:]
        return [*units[:1], *rng.sample(later, min(RANDOM_UNITS_PER_PAGE, len(later)))]


class Lps(PageTask):
    """Lead paragraph selection: the first three groups of three consecutive units."""

    name = "lps"

    def sources(self, units: Sequence[str], rng: Random) -> list[str]:
        """Return the groups that the page is long enough for."""
        return [" ".join(units[a:b]) for a, b in PARAGRAPH_RANGES if len(units) >= b]


class Hip(UnitTask):
    """Hyperlink identifier prediction: a link's unit with both neighbours -> the linked page.

    As in the authors' code, the previous neighbour must not be the lead unit.
    """

    name = "hip"

    def examples(
        self, corpus: Sequence[Document], table: IdentifierTable, queries: TrainQueries, rng: Random
    ) -> Iterator[Example]:
        """Yield up to `MAX_LINKS_PER_PAGE` examples for each page, with distinct (unit, target)
        pairs."""
        for document in corpus:
            places = self.places(document)
            found = anchors(document, table, places)
            usable = [(a.place, a.target) for a in found if 2 <= a.place < len(places) - 1]
            shuffled = dict.fromkeys(rng.sample(usable, len(usable)))
            for place, key in islice(shuffled, MAX_LINKS_PER_PAGE):
                around = [document.text[a:b] for a, b in places[place - 1 : place + 2]]
                yield Example(clean(" ".join(around)), draw_identifier(table, key, rng))
