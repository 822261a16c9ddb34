"""CorpusBrain's tasks (Chen et al., CIKM 2022): sentences, paragraphs and links of
long pages -> identifiers.

A page is read in units: its paragraphs (lines), as in the authors' data, or its sentences; short
ones, headings among them, are left out. The authors join the identifiers of the page and of pages
that it links to into one target; so does `join`, where the model can write it. Without it each is
the target of an example of its own, with any scheme.
"""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from random import Random
from typing import Literal

from pydantic import Field

from genir.config import Strict
from genir.corpus.tokens import count_words
from genir.identifiers.table import IdentifierTable
from genir.records import Document, Example
from genir.tasks.base import Task, TrainQueries, draw_identifier, draw_target
from genir.tasks.hyperlinks import Places, anchors
from genir.tasks.passages import clean, paragraph_places, sentence_places

LINKED = (0.70, 0.20, 0.05, 0.03, 0.02)
"""How likely a source leads to 0, 1, ... 4 of the page's links besides the page itself."""

INNER = 11
"""Random units of a page that are sources, besides its lead."""

PARAGRAPHS = ((0, 3), (3, 6), (6, 9))
"""The units that make up the lead paragraphs."""

NEIGHBOURS = 3
"""Links of a page that are sources."""


class UnitOptions(Strict):
    """Pages of `page` words or more, read in units of `shortest` words or more."""

    unit: Literal["paragraph", "sentence"] = "paragraph"
    page: int = Field(default=128, ge=1)
    shortest: int = Field(default=11, ge=1)


class InnerOptions(UnitOptions):
    """join: the page and the pages that it links to are one target, the page first."""

    join: bool = False


class UnitTask(Task):
    """A task over the units of long pages."""

    Options = UnitOptions

    def places(self, document: Document) -> Places:
        """Return where the document's units are; nowhere if it is short."""
        text = document.text
        if count_words(text) < self.options.page:
            return []
        split = sentence_places if self.options.unit == "sentence" else paragraph_places
        long = self.options.shortest
        return [(start, end) for start, end in split(text) if count_words(text[start:end]) >= long]


class Inner(UnitTask):
    """Units -> the page, and now and then pages that it links to."""

    Options = InnerOptions

    def examples(
        self,
        corpus: Sequence[Document],
        table: IdentifierTable,
        queries: TrainQueries,
        rng: Random,
    ) -> Iterator[Example]:
        """Yield an example a source and identifier, or a source; sources of one text count once."""
        for document in corpus:
            places = self.places(document)
            units = [clean(document.text[start:end]) for start, end in places]
            links = [anchor.target for anchor in anchors(document, table)] if units else []
            for source in dict.fromkeys(self.sources(units, rng)):
                own = draw_target(table, document, rng)
                (count,) = rng.choices(range(len(LINKED)), LINKED)
                keys = dict.fromkeys(rng.sample(links, min(count, len(links))))
                linked = tuple(draw_identifier(table, key, rng) for key in keys)
                if self.joins:
                    yield Example(source, own, also=linked)
                else:
                    yield from (Example(source, target) for target in (own, *linked))

    @abstractmethod
    def sources(self, units: Sequence[str], rng: Random) -> list[str]:
        """Return the texts that should lead to the page."""


class Iss(Inner):
    """Inner sentence selection: the lead unit and random later ones."""

    name = "iss"

    def sources(self, units: Sequence[str], rng: Random) -> list[str]:
        """Draw the later units."""
        later = units[1:]
        return [*units[:1], *rng.sample(later, min(INNER, len(later)))]


class Lps(Inner):
    """Lead paragraph selection: three units in a row, three times from the beginning."""

    name = "lps"

    def sources(self, units: Sequence[str], rng: Random) -> list[str]:
        """Return what of it the page is long enough for."""
        return [" ".join(units[a:b]) for a, b in PARAGRAPHS if len(units) >= b]


class Hip(UnitTask):
    """Hyperlink identifier prediction: a link's unit between its neighbours -> the linked page.

    As in the authors' code, the neighbour before may not be the lead.
    """

    name = "hip"

    def examples(
        self,
        corpus: Sequence[Document],
        table: IdentifierTable,
        queries: TrainQueries,
        rng: Random,
    ) -> Iterator[Example]:
        """Yield up to three examples a page, none of the same unit and target twice."""
        for document in corpus:
            places = self.places(document)
            found = anchors(document, table, places)
            usable = [(a.place, a.target) for a in found if 2 <= a.place < len(places) - 1]
            for place, key in list(dict.fromkeys(rng.sample(usable, len(usable))))[:NEIGHBOURS]:
                around = [document.text[a:b] for a, b in places[place - 1 : place + 2]]
                yield Example(clean(" ".join(around)), draw_identifier(table, key, rng))
