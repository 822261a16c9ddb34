"""The links of documents that lead to other documents of the corpus, in their surroundings."""

from bisect import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from genir.identifiers.table import IdentifierTable
from genir.records import Document
from genir.tasks.passages import clean, sentence_places

Places = Sequence[tuple[int, int]]
"""Where parts of a text start and end, in reading order."""
MAX_CONTEXT_CHARS = 2_000
"""Characters of a link's words, and of a context on each side of the link. Sentences are shorter; a
list of links without a full stop is not, and would be read once for each of its links. Links may
span a whole text, and each other."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """A link: its first words, the part of the text where it begins, the key that it leads to.

    context: that part without the link's words, of a long part the characters around them. place:
    the number of that part, from 0.
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
    cleaned: dict[int, str] = {}
    parts = sentence_places(text) if places is None else places
    for link in sorted(document.links, key=lambda link: (link.start, link.end)):
        place = _holding(parts, link.start)
        if place is None or link.target == document.key or link.target not in table:
            continue
        start, end = parts[place]
        low = max(start, link.start - MAX_CONTEXT_CHARS)
        high = min(max(link.end, end), link.end + MAX_CONTEXT_CHARS)
        around = f"{text[low : link.start]} {text[link.end : high]}"
        words = clean(text[link.start : min(link.end, link.start + MAX_CONTEXT_CHARS)])
        if place not in cleaned:
            cleaned[place] = clean(text[start:end])
        if words:
            found.append(Anchor(words, link.target, place, cleaned[place], clean(around)))
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
