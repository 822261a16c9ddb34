"""The part of a text that shows why it answers a query."""

import re
from collections.abc import Iterable
from itertools import islice, takewhile

_IDEOGRAPHS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"  # written without spaces: one word each
_WORD = re.compile(rf"[{_IDEOGRAPHS}]|[^\W{_IDEOGRAPHS}]+")


def snippet(text: str, query: str, width: int = 200) -> str:
    """Return the window of at most `width` characters that holds most of the query's words.

    A word counts by its length, once in a window; a text's word counts too if it only begins with
    the query's. Of equal windows the first wins. An ellipsis marks a cut.
    """
    text = " ".join(text.split())
    if len(text) <= width:
        return text
    room = max(1, width - 2)  # for two ellipses
    margin = room // 5  # what the cuts may move to find a word's end
    start = _best_start(text, set(_WORD.findall(query.lower())), room - 2 * margin)
    return _cut(text, max(0, start - margin), room, margin)


def _best_start(text: str, words: set[str], reach: int) -> int:
    """Return where the window of `reach` characters that weighs most begins."""
    if not words:
        return 0
    longest_first = sorted(words, key=lambda word: (-len(word), word))
    pattern = "|".join(map(_begins, longest_first))
    found = [(m.start(), m[0].lower()) for m in re.finditer(pattern, text, re.IGNORECASE)]
    best, most = 0, 0
    for i, (start, _) in enumerate(found):
        weight = _weight(islice(found, i, None), start + reach)
        if weight > most:
            best, most = start, weight
    return best


def _weight(matches: Iterable[tuple[int, str]], end: int) -> int:
    inside = takewhile(lambda match: match[0] + len(match[1]) <= end, matches)
    return sum(map(len, {word for _, word in inside}))


def _begins(word: str) -> str:
    return word if re.match(f"[{_IDEOGRAPHS}]", word) else rf"\b{re.escape(word)}"


def _cut(text: str, start: int, room: int, margin: int) -> str:
    """Cut at word ends where there is one near; a script without spaces is cut anywhere."""
    start = max(0, min(start, len(text) - room))
    if start and (space := text.find(" ", start - 1, start + margin)) >= 0:
        start = space + 1
    end = min(len(text), start + room)
    if end < len(text) and (space := text.rfind(" ", end - margin, end + 1)) >= 0:
        end = space
    head, tail = "…" if start else "", "…" if end < len(text) else ""
    return head + text[start:end].strip() + tail
