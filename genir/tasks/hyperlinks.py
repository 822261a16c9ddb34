"""The links of documents that lead to other documents of the corpus, in their surroundings."""

from bisect import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from genir.identifiers.table import IdentifierTable
from genir.records import Document
from genir.tasks.passages import clean, sentence_places

Places = Sequence[tuple[int, int]]
"""Where parts of a text start and end, in reading order."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """A link: its words, the part of the text where it begins, the key that it leads to.

    context: that part without the link's words. place: the number of that part, from 0.
    """

    words: str
    target: str
    place: int
    part: str
    context: str


def anchors(
    document: Document, table: IdentifierTable, places: Places | None = None
) -> list[Anchor]:
    """Return a document's links to other documents in the table, in reading order.

    places: the parts to find them in, sentences if not given; links outside of them are left out.
    """
    if not document.links:
        return []
    text, found = document.text, []
    parts = sentence_places(text) if places is None else places
    for link in sorted(document.links, key=lambda link: (link.start, link.end)):
        place = _holding(parts, link.start)
        if place is None or link.target == document.key or link.target not in table:
            continue
        start, end = parts[place]
        around = f"{text[start : link.start]} {text[link.end : max(link.end, end)]}"
        words = clean(text[link.start : link.end])
        if words:
            found.append(Anchor(words, link.target, place, clean(text[start:end]), clean(around)))
    return found


def _holding(parts: Places, offset: int) -> int | None:
    """Return the number of the part that an offset lies in."""
    place = bisect(parts, offset, key=lambda part: part[0]) - 1
    return place if place >= 0 and offset < parts[place][1] else None


def linked_from(corpus: Iterable[Document], table: IdentifierTable) -> dict[str, list[str]]:
    """Return the keys of the documents that link to each document, once each, in corpus order."""
    sources: dict[str, dict[str, None]] = {}
    for document in corpus:
        for link in document.links:
            if link.target != document.key and link.target in table:
                sources.setdefault(link.target, {})[document.key] = None
    return {target: list(keys) for target, keys in sources.items()}
