"""Parts of a document's text: lead, sentences, spans, windows.

All tasks share these rules. Each run of white space becomes one space; nothing else changes. The
lead is the first non-blank line if the text has several, else the first sentence, cut at a number
of words. `corpus/tokens.py` defines words and sentence ends; a line break also ends a sentence. A
paragraph is a non-blank line.
"""

import re
from collections.abc import Sequence
from itertools import islice
from random import Random

from genir.corpus.tokens import (
    GluedWord,
    Span,
    count_words,
    first_words,
    join_words,
    sentence_spans,
    split_sentences,
)
from genir.types import Document

_COLON = re.compile(": |\uff1a(?=.)")
_BLANK_LINE = re.compile(r"\n[^\S\n]*\n")


def clean(text: str) -> str:
    """Collapse white space."""
    return " ".join(text.split())


def is_bare(document: Document) -> bool:
    """Return whether title and text of a document have no word."""
    return not (document.title + document.text).strip()


def lead(text: str, words: int) -> str:
    """Return the first of several lines, else the first sentence, cut at `words` words."""
    lines = [line for line in text.splitlines() if line.strip()]
    first = lines[0] if lines else ""
    if len(lines) == 1:
        first = next(split_sentences(first.strip()))
    return first_words(first, words)


def paragraph_places(text: str) -> list[tuple[int, int]]:
    """Return the start and end offsets of each paragraph."""
    places, start = [], 0
    for line in text.splitlines(keepends=True):
        if line.strip():
            places.append((start, start + len(line)))
        start += len(line)
    return places


def sentence_places(text: str) -> list[tuple[int, int]]:
    """Return the start and end offsets of each sentence."""
    places: list[Span] = []
    for start, end in paragraph_places(text):
        places += sentence_spans(text, start, end)
    return [(begin, end) for begin, end in places if text[begin:end].strip()]


def sentences(text: str) -> list[str]:
    """Return the normalised sentences; `join_words` restores the original spacing between them."""
    found: list[str] = []
    before = None
    for start, end in sentence_places(text):
        sentence = clean(text[start:end])
        found.append(GluedWord(sentence) if start == before else sentence)
        before = end
    return found


def first_section(text: str) -> str:
    """Return the text up to its first blank line, or its first line if there is no blank line."""
    whole = text.strip()
    first = _BLANK_LINE.split(whole, maxsplit=1)[0]
    return first if first != whole else whole.partition("\n")[0]


def fill(parts: Sequence[str], words: int) -> list[list[str]]:
    """Group consecutive parts so that each group but the last has at least `words` words."""
    groups: list[list[str]] = []
    count = words
    for part in parts:
        if count >= words:
            groups.append([])
            count = 0
        groups[-1].append(part)
        count += count_words(part)
    return groups


def pieces(text: str, most: int, words: int) -> list[str]:
    """Return the first `most` sentences of a text, line by line, each cut at `words`."""
    sentences = (one for line in text.splitlines() for one in split_sentences(line.strip()))
    cut = (first_words(sentence, words) for sentence in sentences)
    return list(islice((piece for piece in cut if piece), most))


def clauses(text: str, most: int, words: int) -> list[str]:
    """Return the first `most` sentences of a text, each up to its first colon.

    The text before a colon names what follows: the step that a command performs, a term.
    """
    return [
        _COLON.split(piece)[0].rstrip(":\uff1a") or piece for piece in pieces(text, most, words)
    ]


def span(words: list[str], shortest: int, longest: int, rng: Random) -> str:
    """Sample a span with uniform length in [shortest, longest] and uniform start."""
    length = rng.randint(min(shortest, len(words)), min(longest, len(words)))
    start = rng.randint(0, len(words) - length)
    return join_words(words[start : start + length])


def windows(words: list[str], size: int, overlap: int) -> list[str]:
    """Split words into windows that share `overlap` words; only the last may be shorter."""
    starts = range(0, max(len(words) - overlap, 1), size - overlap)
    return [join_words(words[start : start + size]) for start in starts] if words else []
