"""The four HARP tasks (Ma et al., CIKM 2021): anchor texts as queries for the linked pages.

HARP trains on pairs of a better and a worse page. Here the better page's identifier is the target,
and the softmax over all identifiers replaces the comparison. HARP weights words by BERT attention;
tasks have no model, so a word's weight is its information in the corpus, -log2 P(word), and 0 for
stop words.
"""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from itertools import groupby
from random import Random
from typing import ClassVar, NamedTuple

from pydantic import Field

from genir.config import StrictModel
from genir.corpus.tokens import terms
from genir.identifiers.table import IdentifierTable
from genir.tasks.base import CorpusTask
from genir.tasks.hyperlinks import Anchor, anchors
from genir.tasks.term_stats import STOP_WORDS, UnigramModel, WordSampler, document_words, normal
from genir.types import Document

MAX_PAIRS = 32
"""Maximum number of pairs made from one link and the links after it in its sentence."""
MAX_CACHED_WORDS = 1_000_000
"""Maximum number of distinct words of linked pages kept in memory, about 100 MB."""


class PageSamplers:
    """Cached word samplers of linked pages, so that a page with many links to it is read once.

    Args:
        corpus: Documents by number.
        language: Word statistics that weight the words.
    """

    def __init__(self, corpus: Sequence[Document], language: UnigramModel) -> None:
        self._corpus, self._language = corpus, language
        self._kept: dict[int, WordSampler] = {}
        self._words = 0

    def sampler(self, number: int) -> WordSampler:
        """Return a sampler of the words of a document's title and text."""
        if number not in self._kept:
            found = WordSampler(document_words(self._corpus[number]), self._language)
            self._words += len(found.words)
            if self._words > MAX_CACHED_WORDS:
                self._kept.clear()
                self._words = len(found.words)
            self._kept[number] = found
        return self._kept[number]


class LinkGraph(NamedTuple):
    """Word statistics, the documents that each anchor text links to, and the pages' words."""

    language: UnigramModel
    anchor_targets: dict[str, dict[str, None]]
    pages: PageSamplers
    table: IdentifierTable


class AnchorOptions(StrictModel):
    """Number of words drawn for each anchor text: normal with `mean` and `deviation`."""

    mean: float = Field(default=3.0, ge=0, le=50)
    deviation: float = Field(default=1.0, gt=0)


class AnchorTask(CorpusTask[LinkGraph]):
    """Base class of tasks over the links of the corpus."""

    Options: ClassVar[type[StrictModel]] = AnchorOptions

    def fit(self, corpus: Sequence[Document], table: IdentifierTable) -> LinkGraph:
        """Count words, and collect the documents that each anchor text links to."""
        meanings: dict[str, dict[str, None]] = {}
        for document in corpus:
            for anchor in anchors(document, table):
                meanings.setdefault(anchor.words.lower(), {})[anchor.target] = None
        language = UnigramModel(corpus)
        return LinkGraph(language, meanings, PageSamplers(corpus, language), table)

    def pairs(self, document: Document, facts: LinkGraph, rng: Random) -> Iterable[tuple[str, str]]:
        """Return the pairs of the document's links."""
        return self.link_pairs(anchors(document, facts.table), facts, rng)

    @abstractmethod
    def link_pairs(
        self, found: Sequence[Anchor], web: LinkGraph, rng: Random
    ) -> Iterable[tuple[str, str]]:
        """Return (source, key of the target) of a document's links."""

    def sample_pair(self, sampler: WordSampler, anchor: str, rng: Random) -> str:
        """Return an anchor text after words drawn by count times information."""
        size = normal(self.options.mean, self.options.deviation, rng)
        return " ".join([*sampler.draw(size, rng), anchor])


class Rqp(AnchorTask):
    """Representative query prediction: words drawn around a link + anchor text -> linked page."""

    name = "rqp"

    def link_pairs(
        self, found: Sequence[Anchor], web: LinkGraph, rng: Random
    ) -> Iterable[tuple[str, str]]:
        """Return one pair for each link."""
        return [(self._query(anchor, web, rng), anchor.target) for anchor in found]

    def _query(self, anchor: Anchor, web: LinkGraph, rng: Random) -> str:
        return self.sample_pair(WordSampler(terms(anchor.context), web.language), anchor.words, rng)


class Qdm(Rqp):
    """Query disambiguation: `rqp` for links whose anchor text leads to several pages."""

    name = "qdm"

    def link_pairs(
        self, found: Sequence[Anchor], web: LinkGraph, rng: Random
    ) -> Iterable[tuple[str, str]]:
        """Return one pair for each ambiguous link."""
        ambiguous = [a for a in found if len(web.anchor_targets[a.words.lower()]) > 1]
        return super().link_pairs(ambiguous, web, rng)


class Rdp(AnchorTask):
    """Representative document prediction: a sentence with several links -> one linked page.

    The page is that of the link with the highest mean word weight.
    """

    name = "rdp"
    Options = StrictModel

    def link_pairs(
        self, found: Sequence[Anchor], web: LinkGraph, rng: Random
    ) -> Iterable[tuple[str, str]]:
        """Return one pair for each sentence; ties go to the first link."""
        return [
            (group[0].part, max(group, key=lambda a: _weight(a.words, web.language)).target)
            for group in _same_sentence_pairs(found)
        ]


class Acm(AnchorTask):
    """Anchor co-occurrence: words of a linked page + its anchor text -> another linked page.

    Both links occur in one sentence.
    """

    name = "acm"

    def link_pairs(
        self, found: Sequence[Anchor], web: LinkGraph, rng: Random
    ) -> Iterable[tuple[str, str]]:
        """Yield a pair for every two links of a sentence, from the earlier to the later one.

        Each link is paired with at most the next `MAX_PAIRS` links.
        """
        for group in _same_sentence_pairs(found):
            for place, one in enumerate(group):
                following = group[place + 1 : place + 1 + MAX_PAIRS]
                others = [other for other in following if one.target != other.target]
                if not others:
                    continue
                sampler = web.pages.sampler(web.table.number(one.target))
                for other in others:
                    yield self.sample_pair(sampler, one.words, rng), other.target


def _same_sentence_pairs(found: Sequence[Anchor]) -> list[list[Anchor]]:
    """Return the links of each sentence with links to more than one document."""
    groups = [list(group) for _, group in groupby(found, key=lambda anchor: anchor.place)]
    return [group for group in groups if len({anchor.target for anchor in group}) > 1]


def _weight(text: str, language: UnigramModel) -> float:
    found = terms(text)
    telling = (language.self_information(word) for word in found if word not in STOP_WORDS)
    return sum(telling) / max(len(found), 1)
