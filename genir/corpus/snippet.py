"""Snippets: the part of a text that best matches a query."""

import unicodedata
from functools import lru_cache

import regex

from genir.corpus.tokens import is_unspaced, terms
from genir.corpus.unicode_scripts import FIRST_UNSPACED

MAX_SNIPPET_CHARS = 20_000
"""Number of characters of a text that are searched, about 3,000 words."""
MAX_SNIPPET_TERMS = 64
"""Maximum number of query terms that are matched, longest first."""
MAX_FORM_CHARS = 100
"""Maximum length of a term that is matched in other Unicode normal forms, too."""
MAX_CACHED_CHARS = 4_000
"""Maximum length of a query whose terms are cached."""
MAX_CHARACTER_CODES = 40
"""Code points before a cut that are read to find the start of its character."""
_CHARACTER = regex.compile(r"\X")
_TO_FULL_WIDTH = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}
_TO_HALF_WIDTH = {ord(unicodedata.normalize("NFKC", chr(c))): c for c in range(0xFF61, 0xFFA0)}


def snippet(text: str, query: str, width: int = 200) -> str:
    """Return the window of at most `width` characters that matches most of the query's terms.

    A term counts by its length, once per window; it also matches a longer word that starts with it.
    Ties go to the first window. Ellipses mark cuts. The time is linear in the text, of which the
    first `MAX_SNIPPET_CHARS` characters are read.
    """
    read = " ".join(text[:MAX_SNIPPET_CHARS].split())
    rest = len(text) > MAX_SNIPPET_CHARS
    if rest and not read:
        return snippet(text.lstrip(), query, width)
    if len(read) <= width and not rest:
        return read
    room = max(1, width - 2)  # for two ellipses
    margin = room // 5  # distance that a cut may move to a word boundary
    start = _best_start(_lower(read), query, room - 2 * margin)
    return _cut(read, max(0, start - margin), room, margin, rest)


def _terms(query: str) -> tuple[tuple[str, bool], ...]:
    """Return the distinct terms of a query, longest first, and whether each is unspaced.

    Cached for short queries, in a few megabytes.
    """
    return _kept_terms(query) if len(query) <= MAX_CACHED_CHARS else _kept_terms.__wrapped__(query)


@lru_cache(maxsize=256)
def _kept_terms(query: str) -> tuple[tuple[str, bool], ...]:
    distinct = sorted(set(terms(query, composed=False)), key=lambda term: (-len(term), term))
    forms = dict.fromkeys(form for term in distinct[:MAX_SNIPPET_TERMS] for form in _forms(term))
    return tuple((form, is_unspaced(form[0])) for form in forms)


def _forms(term: str) -> tuple[str, ...]:
    """Return a term as written, composed, decomposed, in full and in half width.

    Search matches texts in any of these forms.
    """
    if len(term) > MAX_FORM_CHARS:
        return (term,)
    composed = unicodedata.normalize("NFKC", term)
    split = unicodedata.normalize("NFD", composed)
    return (
        term,
        composed,
        split,
        composed.translate(_TO_FULL_WIDTH),
        split.translate(_TO_HALF_WIDTH),
    )


def _lower(text: str) -> str:
    """Lower-case a text without changing its length."""
    lower = text.lower()
    if len(lower) == len(text):
        return lower
    return "".join(small if len(small := c.lower()) == 1 else c for c in text)


def _best_start(text: str, query: str, reach: int) -> int:
    """Return the start of the window of `reach` characters with the highest weight.

    Windows start at matches. Two pointers scan the matches once: `end` is the first match beyond
    the current window.
    """
    found = _matches(text, query)
    possible = sum(map(len, {term for _, term in found}))
    inside: dict[str, int] = {}
    best = most = weight = end = 0
    for place, (start, term) in enumerate(found):
        end = max(end, place)
        while end < len(found) and found[end][0] + len(found[end][1]) <= start + reach:
            other = found[end][1]
            count = inside.get(other, 0)
            weight += 0 if count else len(other)
            inside[other] = count + 1
            end += 1
        if weight > most:
            best, most = start, weight
            if most == possible:
                break
        if end > place:
            inside[term] -= 1
            weight -= 0 if inside[term] else len(term)
    return best


def _matches(text: str, query: str) -> list[tuple[int, str]]:
    """Return (position, term) of all matches, the longest term at each position.

    In scripts with spaces only word starts match. Terms are searched one by one: a regular
    expression of all terms takes twice the time and a compilation for each query.
    """
    found: dict[int, str] = {}
    ascii_text = text.isascii()
    for term, unspaced in _terms(query):
        if ascii_text and not term.isascii():
            continue
        step = 1 if unspaced else len(term)  # no match starts within a word
        place = text.find(term)
        while place >= 0:
            if place not in found and (unspaced or not place or not _continues(text[place - 1])):
                found[place] = term
            place = text.find(term, place + step)
    return sorted(found.items())


def _continues(before: str) -> bool:
    """Return whether a word with this last character continues after it."""
    if not (before.isalnum() or before == "_"):
        return False
    return before < FIRST_UNSPACED or not is_unspaced(before)


def _cut(text: str, start: int, room: int, margin: int, rest: bool) -> str:
    """Cut at a nearby word boundary if there is one; scripts without spaces are cut anywhere.

    rest: the text continues after the part that was read.
    """
    start = max(0, min(start, len(text) - room))
    if start and (space := text.find(" ", start - 1, start + margin)) >= 0:
        start = space + 1
    end = min(len(text), start + room)
    if end < len(text) and (space := text.rfind(" ", end - margin, end + 1)) >= 0:
        end = space
    start, end = _boundary(text, start), _boundary(text, end)
    head, tail = "…" if start else "", "…" if end < len(text) or rest else ""
    return head + text[start:end].strip() + tail


def _boundary(text: str, place: int) -> int:
    """Return the start of the character at a place, with its marks and joined parts before it."""
    if place >= len(text) or text[place] < "\u0300":
        return place
    near = _CHARACTER.finditer(text, max(0, place - MAX_CHARACTER_CODES), place + 1)
    return max((match.start() for match in near), default=place)
