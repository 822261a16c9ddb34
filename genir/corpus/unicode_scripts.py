"""Character classes by script, for use inside [...] of a regular expression."""

import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache

UNSPACED_BLOCKS = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x1950, 0x19DF),  # Tai Le, New Tai Lue
    (0x1A20, 0x1AAF),  # Tai Tham
    (0x3005, 0x3007),  # ideographic iteration marks, zero and numerals
    (0x3021, 0x303C),
    (0x3041, 0x312F),  # hiragana, katakana, bopomofo
    (0x31A0, 0x31FF),
    (0x3400, 0x4DBF),  # Han
    (0x4E00, 0x9FFF),
    (0xA9E0, 0xA9FF),  # Myanmar
    (0xAA60, 0xAADF),  # Myanmar, Tai Viet
    (0xF900, 0xFAFF),  # Han
    (0xFF66, 0xFF9D),  # half-width katakana
    (0x11700, 0x1174F),  # Ahom
    (0x17000, 0x18DFF),  # Tangut, Khitan
    (0x1AFF0, 0x1B2FF),  # kana, Nüshu
)
"""Scripts that are ideographic or South-East Asian in Unicode's line breaking (UAX 14)."""
FIRST_UNSPACED = "\u0e00"
HAN_PLANES = "\U00020000-\U0003fffd"
HANGUL = "\u1100-\u11ff\u3131-\u318e\ua960-\ua97c\uac00-\ud7a3\ud7b0-\ud7fb\uffa0-\uffdc"
MARK_BLOCKS = (
    (0x300, 0x64A),
    # Arabic vowel signs are left out, so they separate words: few words have one. Deleting them
    # from words instead changes RR@10 of BM25 on XQuAD from 0.874 to 0.871.
    (0x653, 0x66F),
    (0x671, 0x30FF),
    (0xA600, 0xABFF),
    (0xFB1E, 0xFE2F),
    (0x101FD, 0x1E94A),
)
EXTENDERS = "\u200d\U000e0100-\U000e01ef\u0e33\u0eb3\uff9e\uff9f"
"""Extend the previous letter without being marks: joiner, variation selectors, Thai and Lao AM,
half-width voice marks."""
SYLLABIC = "\u0f40-\u0fbc\u1200-\u137f\u1400-\u167f\ua000-\ua48c\ua500-\ua61f"
"""Letters that are syllables, in scripts with marks or spaces between words: Tibetan, Ethiopic,
Canadian, Yi, Vai."""
STACKERS = "\u1039\u17d2\u1a60"
"""Stack the next letter below the previous one."""
NOT_LATIN = "\u0300-\u036f\u0483-\u0489\u0590-\u1dff\u20d0-\u20ff\u2cef-\U0010ffff"
"""All characters except Latin, Greek, Cyrillic and Armenian letters and common signs. Texts without
them do not need the classes of this module, which take time to build."""


@cache
def unspaced() -> str:
    """Return the letters of scripts without spaces; no digits."""
    return _ranges(_of_category(UNSPACED_BLOCKS, ("Lo", "Lm", "Nl"))) + HAN_PLANES


@cache
def marks() -> str:
    """Return the characters that belong to the previous letter."""
    return _ranges(_of_category(MARK_BLOCKS, ("Mn", "Mc", "Me"))) + EXTENDERS


@cache
def opening() -> str:
    """Return the brackets and quotation marks that belong to the next word."""
    return _ranges(_of_category([(0x21, 0x2FFF), (0x3000, 0xFF63)], ("Ps", "Pi")))


@cache
def combining() -> str:
    """Return the characters with a combining class, which normalisation reorders."""
    codes = (code for code in range(0x300, 0x20000) if unicodedata.combining(chr(code)))
    return _ranges(codes) + "\uff9e\uff9f"


def _of_category(blocks: Iterable[tuple[int, int]], wanted: tuple[str, ...]) -> Iterator[int]:
    codes = (code for low, high in blocks for code in range(low, high + 1))
    return (code for code in codes if unicodedata.category(chr(code)) in wanted)


def _ranges(codes: Iterable[int]) -> str:
    ranges: list[list[int]] = []
    for code in codes:
        if ranges and code == ranges[-1][1] + 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(f"{_quoted(low)}-{_quoted(high)}" for low, high in ranges)


def _quoted(code: int) -> str:
    return f"\\{chr(code)}" if chr(code) in "[]\\^-" else chr(code)
