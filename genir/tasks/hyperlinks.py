"""Links of documents to other documents of the corpus, with their surrounding text."""

from bisect import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from genir.identifiers.table import IdentifierTable
from genir.tasks.chunking import clean, sentence_places
from genir.types import Document

Places = Sequence[tuple[int, int]]
"""Start and end offsets of the parts of a text, in reading order."""
MAX_CONTEXT_CHARS = 2_000
"""Maximum number of characters of an anchor text, and of its context on each side. Sentences are
shorter, but a list of links without a full stop may span a whole text and would be read once for
each of its links."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """A link to another document.

    Attributes:
        words: Anchor text, whitespace-normalised.
        target: Key of the linked document.
        place: Index of the part (sentence or paragraph) where the link starts.
        part: Text of that part.
        context: Text of the part around the link, without the anchor text.
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

    Args:
        places: Parts of the text to search; sentences by default. Links outside are skipped.
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
    """Return the index of the part that contains an offset, or None."""
    place = bisect(parts, offset, key=lambda part: part[0]) - 1
    return place if place >= 0 and offset < parts[place][1] else None


def linked_from(corpus: Iterable[Document], table: IdentifierTable) -> dict[str, list[str]]:
    """Return target key -> distinct keys of the documents that link to it, in corpus order."""
    sources: dict[str, dict[str, None]] = {}
    for document in corpus:
        for link in document.links:
            if link.target != document.key and link.target in table:
                sources.setdefault(link.target, {})[document.key] = None
    return {target: list(keys) for target, keys in sources.items()}
