"""Words, index terms and sentences of texts in any script. Knows no corpus.

Two units are in use. *Words* are what lengths are counted in (spans, windows, passages): the parts
between white space; in scripts written without spaces, characters. *Terms* are what texts are
compared by (BM25, word statistics): runs of letters and digits in lower case; in scripts written
without spaces, overlapping pairs of characters (bigrams), since single characters are too common,
and words could be found only with a dictionary of the language. A character is a letter with its
combining marks.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise
from typing import Literal

from genir.corpus.scripts import HANGUL, NOT_LATIN, STACKERS, combining, marks, opening, unspaced

Span = tuple[int, int]
"""Where a part of a text starts and ends: [start, end)."""

_NOT_LATIN = re.compile(f"[{NOT_LATIN}]")
_WORD = re.compile(r"\w+")
_CORE = re.compile(r"\w(?:.*\w)?", re.DOTALL)
_FULL_WIDTH = re.compile("[\uff01-\uffef]")
_OPTIONAL = re.compile(
    "[\ufe00-\ufe0f\U000e0100-\U000e01ef"  # select a form of a letter
    "\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7]"  # Hebrew points
)
"""Marks that the same word may be written with or without."""
MOST_MARKS = 30
"""Combining marks in a row that are normalised, as in Unicode's stream-safe format (UAX 15)."""
_PART = "\u0f0b\u1361"  # Tibetan and Ethiopic marks between words


class Glued(str):
    """A word that follows the one before without a space."""

    __slots__ = ()


def words(text: str) -> list[str]:
    """Return the words of a text, with the punctuation around them; only white space is lost.

    `join_words` puts them together again.
    """
    chunks = text.split()
    if _NOT_LATIN.search(text) is None or _splittable().search(text) is None:
        return chunks
    found: list[str] = []
    for chunk in chunks:
        first, *others = _pieces().findall(chunk)
        found.append(first)
        found += map(Glued, others)
    return found


def join_words(parts: Sequence[str]) -> str:
    """Return words as a text: a single space before each that had white space before it."""
    if not any(isinstance(part, Glued) for part in parts):
        return " ".join(parts)
    return "".join(part if isinstance(part, Glued) else f" {part}" for part in parts).strip()


def count_words(text: str) -> int:
    """Return the number of words of a text."""
    return len(words(text))


def first_words(text: str, count: int) -> str:
    """Return the first words of a text, with single spaces."""
    return join_words(words(text)[:count])


@cache
def _splittable() -> re.Pattern[str]:
    return re.compile(f"[{unspaced()}{_PART}]")


@cache
def _pieces() -> re.Pattern[str]:
    """Match a character or word with the marks around it; an opening bracket goes with the next."""
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
    """Return the terms of a text in their order.

    composed: full-width forms become the usual ones, and decomposed letters composed ones; else
    terms stand in the text in lower case.
    """
    return [term for run in _read(text, composed=composed) for term in _bigrams(run)]


def index_terms(text: str) -> list[str]:
    """Return the terms that a lexical index holds of a text; words of one letter are left out.

    Korean has spaces, but particles are written together with the nouns, so that the same noun is
    seldom the same word: here it is read in bigrams too.
    """
    return [term for run in _read(text, HANGUL, shortest=2) for term in _bigrams(run)]


def characters(text: str) -> list[str]:
    """Return the terms of a text, with single characters in the place of bigrams."""
    return [term for run in _read(text) for term in run]


def is_alphabetic(term: str) -> bool:
    """Return whether a term consists of letters and their marks."""
    return term.isalpha() or (term[:1].isalpha() and all(map(is_letter, term)))


def is_letter(character: str, digits: bool = False) -> bool:
    """Return whether a character is a letter or its mark or, if asked, a digit."""
    known = character.isalnum() if digits else character.isalpha()
    return known or unicodedata.category(character).startswith("M")


def is_unspaced(character: str) -> bool:
    """Return whether a character is a letter of a script that is written without spaces."""
    return _NOT_LATIN.match(character) is not None and _unspaced().match(character) is not None


def without_punctuation(word: str) -> str:
    """Return a word without the signs around it; "" if it has no letter and no digit."""
    core = (_CORE if _NOT_LATIN.search(word) is None else _marked_core()).search(word)
    return core[0] if core else ""


def _bigrams(run: list[str]) -> list[str]:
    return [one + other for one, other in pairwise(run)] if len(run) > 1 else run


def _read(
    text: str, also: str = "", shortest: int = 1, composed: bool = True
) -> Iterator[list[str]]:
    """Yield runs of letters and digits: a word of `shortest` letters or more, or the characters of
    an unspaced run. also: letters that are read as unspaced ones are.
    """
    lower = text.lower()
    if _NOT_LATIN.search(lower) is None:
        yield from ([word] for word in _WORD.findall(lower) if len(word) >= shortest)
        return
    for match in _runs(also).finditer(lower):
        run = _normal(match[0]) if composed else match[0]
        if match[1] is not None:
            yield _characters(also).findall(run)
        elif len(run) >= shortest:
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
    return run if run.isascii() else _composed(run)


def _composed(run: str) -> str:
    # Without marks a run stays as it is: NFC would replace single letters, such as the kelvin sign.
    if _NOT_LATIN.search(run) is None:
        return run
    return normalize("NFC", _OPTIONAL.sub("", run))


def normalize(form: Literal["NFC", "NFKC"], text: str) -> str:
    """Return a text in a normal form; of a longer row of combining marks, the first 30 are kept.

    Python sorts the marks of a row in quadratic time.
    """
    if len(text) > MOST_MARKS and _NOT_LATIN.search(text) is not None:
        text = _surplus().sub(r"\1", text)
    return unicodedata.normalize(form, text)


@cache
def _surplus() -> re.Pattern[str]:
    return re.compile(f"([{combining()}]{{{MOST_MARKS}}})[{combining()}]+")


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
    """Yield where the sentences of a line of text, or of text[start:end], start and end.

    A sentence ends at . ! or ? before white space that no small letter follows, at a full stop,
    question or exclamation mark of another script or, in Thai and Lao, which have no full stop, at
    a space.
    """
    end = len(text) if end is None else end
    begin = start
    for gap in _SENTENCE_END.finditer(text, start, end):
        yield begin, gap.start() if gap["stop"] is None else gap.end("stop")
        begin = gap.end()
    yield begin, end


def ends_sentence(text: str) -> bool:
    """Return whether a text ends where a sentence does, or behind a full stop."""
    return _LAST_STOP.search(text) is not None


def split_sentences(line: str) -> Iterator[str]:
    """Yield the sentences of a line; "" for a blank one, or behind a last full stop."""
    return (line[start:end] for start, end in sentence_spans(line))
