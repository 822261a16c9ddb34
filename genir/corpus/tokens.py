"""Words, index terms and sentences of texts in any script.

*Words* are the unit of lengths (spans, windows, passages): the parts between white space; in
scripts without spaces, characters. *Terms* are the unit of comparison (BM25, word statistics):
lower-case runs of letters and digits; in scripts without spaces, overlapping character bigrams,
because single characters are too frequent, and word segmentation needs a dictionary. A character is
a letter with its combining marks.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise
from typing import Literal

from genir.corpus.unicode_scripts import (
    HANGUL,
    NOT_LATIN,
    STACKERS,
    SYLLABIC,
    combining,
    marks,
    opening,
    unspaced,
)

Span = tuple[int, int]
"""Start and end offsets of a part of a text: [start, end)."""

_NOT_LATIN = re.compile(f"[{NOT_LATIN}]")
_SYLLABLE = re.compile(f"[{SYLLABIC}]")
_WORD = re.compile(r"\w+")
_CORE = re.compile(r"\w(?:.*\w)?", re.DOTALL)
_FULL_WIDTH = re.compile("[\uff01-\uffef]")
_PRESENTATION = re.compile("[\u2f00-\u2fdf\ufb00-\ufb06\ufb50-\ufdff\ufe70-\ufefc]")
"""Radicals, ligatures and Arabic letters by position, as texts extracted from PDF have them."""
_OPTIONAL = re.compile(
    "[\ufe00-\ufe0f\U000e0100-\U000e01ef"  # variation selectors
    "\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7]"  # Hebrew points
)
"""Optional marks: the same word may be written with or without them."""
MAX_COMBINING_MARKS = 30
"""Maximum number of consecutive combining marks, as in Unicode's stream-safe format (UAX 15)."""
_PART = "\u0f0b\u1361"  # Tibetan and Ethiopic marks between words


class GluedWord(str):
    """A word that follows the previous word without a space."""

    __slots__ = ()


def words(text: str) -> list[str]:
    """Split a text into words with their punctuation; only white space is lost.

    `join_words` is the inverse, with single spaces.
    """
    chunks = text.split()
    if _NOT_LATIN.search(text) is None or _splittable().search(text) is None:
        return chunks
    found: list[str] = []
    for chunk in chunks:
        first, *others = _pieces().findall(chunk)
        found.append(first)
        found += map(GluedWord, others)
    return found


def join_words(parts: Sequence[str]) -> str:
    """Join words with single spaces, except before `GluedWord` words."""
    if not any(isinstance(part, GluedWord) for part in parts):
        return " ".join(parts)
    return "".join(part if isinstance(part, GluedWord) else f" {part}" for part in parts).strip()


def word_spans(text: str) -> list[Span]:
    """Return the start and end offsets of each word of `words(text)`."""
    spans, end = list[Span](), 0
    for word in words(text):
        start = text.index(word, end)
        end = start + len(word)
        spans.append((start, end))
    return spans


def count_words(text: str) -> int:
    """Return the number of words of a text."""
    return len(words(text))


def first_words(text: str, count: int) -> str:
    """Return the first `count` words of a text, joined with single spaces."""
    return join_words(words(text)[:count])


@cache
def _splittable() -> re.Pattern[str]:
    return re.compile(f"[{unspaced()}{_PART}]")


@cache
def _pieces() -> re.Pattern[str]:
    """Match a character or word with its marks; an opening bracket belongs to the next word."""
    between, spaced = rf"[^\w{marks()}]", _spaced(unspaced())
    return re.compile(
        rf"{between}*(?:{_character(unspaced())}|{spaced}+(?:[!-/:-@\\-`|~]+{spaced}+)*)"
        rf"[^\w{marks()}{opening()}]*|{between}+"
    )


def _character(letters: str) -> str:
    return f"[{letters}](?:[{STACKERS}][{letters}]|[{marks()}])*"


def _spaced(others: str) -> str:
    return rf"(?:[^\W{others}]|[{marks()}])"


# --- terms -----------------------------------------------------------------------------------


def terms(text: str, composed: bool = True) -> list[str]:
    """Return the terms of a text in order.

    composed: normalise presentation forms and decomposed letters; otherwise terms are substrings of
    the lower-case text.
    """
    return [term for run in _read(text, composed=composed) for term in _bigrams(run)]


def index_terms(text: str) -> list[str]:
    """Return the terms of a text for a lexical index, without words of one letter.

    A letter that is a syllable (`SYLLABIC`) may be a word.

    Korean has spaces, but attaches particles to nouns, so that the same noun is rarely the same
    word: it is indexed by bigrams, too.
    """
    return [term for run in _read(text, HANGUL, shortest=2) for term in _bigrams(run)]


def index_characters(term: str) -> list[str]:
    """Return the characters of an index term that is a bigram or a single character; [] of a word.

    A character is a letter with its marks, so it may have several code points.
    """
    return [] if _NOT_LATIN.search(term) is None else _characters(HANGUL).findall(term)


def characters(text: str) -> list[str]:
    """Return the terms of a text, with single characters instead of bigrams."""
    return [term for run in _read(text) for term in run]


def is_alphabetic(term: str) -> bool:
    """Return whether a term consists of letters and their marks."""
    return term.isalpha() or (term[:1].isalpha() and all(map(is_letter, term)))


def is_letter(character: str, digits: bool = False) -> bool:
    """Return whether a character is a letter, its mark or, if `digits`, a digit."""
    known = character.isalnum() if digits else character.isalpha()
    return known or unicodedata.category(character).startswith("M")


def is_unspaced(character: str) -> bool:
    """Return whether a character is a letter of a script without spaces."""
    return _NOT_LATIN.match(character) is not None and _unspaced().match(character) is not None


def without_punctuation(word: str) -> str:
    """Return a word without surrounding punctuation; "" if it has no letter or digit."""
    core = (_CORE if _NOT_LATIN.search(word) is None else _marked_core()).search(word)
    return core[0] if core else ""


def _bigrams(run: list[str]) -> list[str]:
    return [one + other for one, other in pairwise(run)] if len(run) > 1 else run


def _read(
    text: str, also: str = "", shortest: int = 1, composed: bool = True
) -> Iterator[list[str]]:
    """Yield runs of letters and digits: a word of at least `shortest` letters, or the characters of
    an unspaced run. also: further letters that are treated as unspaced.
    """
    lower = text.lower()
    if _NOT_LATIN.search(lower) is None:
        yield from ([word] for word in _WORD.findall(lower) if len(word) >= shortest)
        return
    if composed:
        lower = _PRESENTATION.sub(lambda form: unicodedata.normalize("NFKC", form[0]), lower)
    for match in _runs(also).finditer(lower):
        run = _normal(match[0]) if composed else match[0]
        if match[1] is not None:
            yield _characters(also).findall(run)
        elif len(run) >= shortest or _SYLLABLE.match(run):
            yield [run]


@cache
def _unspaced() -> re.Pattern[str]:
    return re.compile(f"[{unspaced()}]")


@cache
def _runs(also: str) -> re.Pattern[str]:
    letters = unspaced() + also
    return re.compile(rf"([{letters}][{letters}{marks()}]*)|[^\W{letters}]{_spaced(letters)}*")


@cache
def _characters(also: str) -> re.Pattern[str]:
    return re.compile(_character(unspaced() + also))


@cache
def _marked_core() -> re.Pattern[str]:
    return re.compile(rf"\w(?:.*[\w{marks()}])?", re.DOTALL)


def _normal(run: str) -> str:
    if _FULL_WIDTH.search(run):
        return normalize("NFKC", run).lower()
    # A run without marks is not changed: NFC would replace single letters, e.g. the kelvin sign.
    if _NOT_LATIN.search(run) is None:
        return run
    return normalize("NFC", _OPTIONAL.sub("", run))


def normalize(form: Literal["NFC", "NFKC"], text: str) -> str:
    """Normalise a text; only the first 30 marks of a longer sequence of combining marks are kept.

    Python sorts a sequence of marks in quadratic time.
    """
    if len(text) > MAX_COMBINING_MARKS and _NOT_LATIN.search(text) is not None:
        text = _extra_marks().sub(r"\1", text)
    return unicodedata.normalize(form, text)


@cache
def _extra_marks() -> re.Pattern[str]:
    return re.compile(f"([{combining()}]{{{MAX_COMBINING_MARKS}}})[{combining()}]+")


# --- sentences -------------------------------------------------------------------------------

_STOPS = (
    "\u3002\uff01\uff1f\uff61\ufe12\ufe52\ufe56\ufe57"  # Han, kana
    "\u061d-\u061f\u06d4\u0700-\u0702"  # Arabic, Urdu, Syriac
    "\u0589\u037e"  # Armenian, the Greek question mark
    "\u0964\u0965"  # Devanagari and other scripts of India
    "\u0f0d\u0f0e\u104a\u104b\u17d4\u17d5"  # Tibetan, Myanmar, Khmer
    "\u1362\u1367\u1368\u166e\u1803\u1809"  # Ethiopic, Canadian syllabics, Mongolian
    "\u203c\u203d\u2047-\u2049\ua4ff\uaa5d-\uaa5f\uabeb"
)
_CLOSING = (
    r"\"'\])}\u00bb\u2019\u201d\u203a\u3009\u300b\u300d\u300f\u3011\u3015\uff09\uff3d\uff5d\uff63"
)
_PHRASE = "\u0e01-\u0e4e\u0e81-\u0ecd"  # Thai and Lao
_DIGIT = "0-9\uff10-\uff19"
_FULL_STOP = f"(?<![{_DIGIT}])\uff0e|\uff0e(?![{_DIGIT}])"  # is a decimal point between digits
_SENTENCE_END = re.compile(
    rf"(?<=[.!?])\s++(?![a-z])"
    rf"|(?P<stop>(?:[{_STOPS}]+|{_FULL_STOP}|(?<![!?])[!?]+(?=[\u3041-\u9fff]))"
    rf"[{_STOPS}{_CLOSING}]*)\s*"
    rf"|(?<=[{_PHRASE}])\s+(?=[{_PHRASE}])"
)
_LAST_STOP = re.compile(rf"(?:[.!?\uff0e{_STOPS}][{_CLOSING}]*|[{_PHRASE}])\Z")


def sentence_spans(text: str, start: int = 0, end: int | None = None) -> Iterator[Span]:
    """Yield the start and end offsets of the sentences of a line of text, or of text[start:end].

    A sentence ends at . ! or ? before white space and no lower-case letter, at a full stop,
    question mark or exclamation mark of another script or, in Thai and Lao, which have no full
    stop, at a space.
    """
    end = len(text) if end is None else end
    begin = start
    for gap in _SENTENCE_END.finditer(text, start, end):
        yield begin, gap.start() if gap["stop"] is None else gap.end("stop")
        begin = gap.end()
    yield begin, end


def ends_sentence(text: str) -> bool:
    """Return whether a text ends with a sentence end or a full stop."""
    return _LAST_STOP.search(text) is not None


def split_sentences(line: str) -> Iterator[str]:
    """Yield the sentences of a line; "" for a blank line, or after a final full stop."""
    return (line[start:end] for start, end in sentence_spans(line))
