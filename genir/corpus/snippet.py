"""The part of a text that shows why it answers a query."""

import unicodedata
from functools import lru_cache

from genir.corpus.scripts import FIRST_UNSPACED
from genir.corpus.tokens import is_unspaced, terms

MAX_SNIPPET_CHARS = 20_000
"""Characters of a text that are read, from its first word on: some 3,000 words."""
MAX_SNIPPET_TERMS = 64
"""Terms of a query that are looked for, the longest."""
MAX_FORM_CHARS = 100
"""Characters of a term up to which it is looked for in other normal forms."""
MAX_KEPT_CHARS = 4_000
"""Characters of a query up to which its terms are kept."""
_WIDE = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}
_HALF = {ord(unicodedata.normalize("NFKC", chr(c))): c for c in range(0xFF61, 0xFFA0)}


def snippet(text: str, query: str, width: int = 200) -> str:
    """Return the window of at most `width` characters that holds most of the query's terms.

    A term counts by its length, once in a window; a word of the text counts too if it only begins
    with the query's. Of equal windows the first wins. An ellipsis marks a cut. The time is linear
    in the text, of which the first `MAX_SNIPPET_CHARS` characters are read.
    """
    read = " ".join(text[:MAX_SNIPPET_CHARS].split())
    rest = len(text) > MAX_SNIPPET_CHARS
    if rest and not read:
        return snippet(text.lstrip(), query, width)
    if len(read) <= width and not rest:
        return read
    room = max(1, width - 2)  # for two ellipses
    margin = room // 5  # by which the cuts may move to find a word's end
    start = _best_start(_lower(read), query, room - 2 * margin)
    return _cut(read, max(0, start - margin), room, margin, rest)


def _terms(query: str) -> tuple[tuple[str, bool], ...]:
    """Return the distinct terms of a query, the longest first, and whether each is unspaced.

    Of short queries they are kept for the next text: a few megabytes.
    """
    return _kept_terms(query) if len(query) <= MAX_KEPT_CHARS else _kept_terms.__wrapped__(query)


@lru_cache(maxsize=256)
def _kept_terms(query: str) -> tuple[tuple[str, bool], ...]:
    distinct = sorted(set(terms(query, composed=False)), key=lambda term: (-len(term), term))
    forms = dict.fromkeys(form for term in distinct[:MAX_SNIPPET_TERMS] for form in _forms(term))
    return tuple((form, is_unspaced(form[0])) for form in forms)


def _forms(term: str) -> tuple[str, ...]:
    """Return a term as it is written, composed, decomposed, in full and in half width.

    The search finds a text in any of these forms.
    """
    if len(term) > MAX_FORM_CHARS:
        return (term,)
    composed = unicodedata.normalize("NFKC", term)
    split = unicodedata.normalize("NFD", composed)
    return (term, composed, split, composed.translate(_WIDE), split.translate(_HALF))


def _lower(text: str) -> str:
    """Return a text in lower case and of the same length."""
    lower = text.lower()
    if len(lower) == len(text):
        return lower
    return "".join(small if len(small := c.lower()) == 1 else c for c in text)


def _best_start(text: str, query: str, reach: int) -> int:
    """Return where the window of `reach` characters that weighs most begins.

    A window begins at a match. Two pointers pass the matches once: `end` is the first that does
    not fit into the window of the current one.
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
    """Return (place, term) where a term of the query stands, at each place the longest.

    In scripts with spaces only the beginnings of words count. Each term is looked for on its own:
    a regular expression of all terms takes twice the time, and must be compiled for each query.
    """
    found: dict[int, str] = {}
    ascii_text = text.isascii()
    for term, unspaced in _terms(query):
        if ascii_text and not term.isascii():
            continue
        step = 1 if unspaced else len(term)  # no word begins within a word
        place = text.find(term)
        while place >= 0:
            if place not in found and (unspaced or not place or not _continues(text[place - 1])):
                found[place] = term
            place = text.find(term, place + step)
    return sorted(found.items())


def _continues(before: str) -> bool:
    """Return whether a word that this character belongs to goes on behind it."""
    if not (before.isalnum() or before == "_"):
        return False
    return before < FIRST_UNSPACED or not is_unspaced(before)


def _cut(text: str, start: int, room: int, margin: int, rest: bool) -> str:
    """Cut at word ends where there is one near; a script without spaces is cut anywhere.

    rest: the text goes on behind what was read.
    """
    start = max(0, min(start, len(text) - room))
    if start and (space := text.find(" ", start - 1, start + margin)) >= 0:
        start = space + 1
    end = min(len(text), start + room)
    if end < len(text) and (space := text.rfind(" ", end - margin, end + 1)) >= 0:
        end = space
    head, tail = "…" if start else "", "…" if end < len(text) or rest else ""
    return head + text[start:end].strip() + tail
