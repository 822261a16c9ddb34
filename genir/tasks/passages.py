"""Parts of a document's text: its lead, random spans, windows. Knows no identifiers.

The cleaning rule, the same for every task: runs of white space become one blank, and nothing else
changes. The lead is the first line that is not blank if the text has several such lines, else the
first sentence; either is cut at a number of words. A sentence ends at . ! or ? before white space
that no small letter follows, or at an ideographic full stop, ! or ?.
"""

import re
from itertools import islice
from random import Random

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?![a-z])|(?<=[。\uff01\uff1f])")


def clean(text: str) -> str:
    """Collapse white space."""
    return " ".join(text.split())


def lead(text: str, words: int) -> str:
    """Return the first line of a text that has lines, else its first sentence, cut at `words`."""
    lines = [line for line in text.splitlines() if line.strip()]
    first = lines[0] if lines else ""
    if len(lines) == 1:
        first = _SENTENCE_END.split(first.strip(), maxsplit=1)[0]
    return " ".join(first.split()[:words])


def pieces(text: str, most: int, words: int) -> list[str]:
    """Return the first `most` sentences of a text, line by line, each cut at `words`."""
    sentences = (one for line in text.splitlines() for one in _SENTENCE_END.split(line.strip()))
    cut = (" ".join(sentence.split()[:words]) for sentence in sentences)
    return list(islice((piece for piece in cut if piece), most))


def span(words: list[str], shortest: int, longest: int, rng: Random) -> str:
    """Draw an even length in [shortest, longest], then an even place; a short text comes whole."""
    length = rng.randint(min(shortest, len(words)), min(longest, len(words)))
    start = rng.randint(0, len(words) - length)
    return " ".join(words[start : start + length])


def windows(words: list[str], size: int, overlap: int) -> list[str]:
    """Cut words into windows that share `overlap`; only the last may be shorter than `size`."""
    starts = range(0, max(len(words) - overlap, 1), size - overlap)
    return [" ".join(words[start : start + size]) for start in starts] if words else []
