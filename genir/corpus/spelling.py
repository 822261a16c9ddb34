"""Spelling correction of queries with the words of the corpus."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Self
from unicodedata import normalize

from rapidfuzz import process
from rapidfuzz.distance import OSA

from genir.cancellation import raise_if_cancelled
from genir.corpus.tokens import is_unspaced
from genir.corpus.unicode_scripts import marks
from genir.errors import InputError
from genir.manifest import read_json

NAME = "spelling.json"
MAX_WORDS = 50_000
"""Maximum number of words, the most frequent ones: a comparison with all takes about 2 ms."""
MIN_LETTERS, MAX_LETTERS = 4, 40
"""Lengths of words that are corrected; most short words have several neighbours."""
MAX_CORRECTIONS = 4
"""Maximum number of unknown words of a query that are compared with the known words."""


class SpellingCorrector:
    """Adds the nearest known word after each unknown word of a query.

    Nearest is the most frequent word at one edit (insertion, deletion, replacement, or swap of
    neighbours). The unknown word stays, since it may be the name of a document added later.

    Attributes:
        words: Known words in lower case and composed form (NFC), most frequent first.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.words = list(words)
        self._ranks = {word: rank for rank, word in enumerate(self.words)}
        self._by_length = defaultdict[int, list[str]](list)
        for word in self.words:
            self._by_length[len(word)].append(word)

    @classmethod
    def fit(cls, texts: Iterable[str]) -> Self:
        """Return a corrector with the most frequent words of a corpus."""
        counts = Counter[str]()
        for text in texts:
            found = _words().findall(_known_form(text))
            counts.update(word for word in found if not is_unspaced(word[0]))
        ordered = sorted(counts, key=lambda word: (-counts[word], word))
        return cls(ordered[:MAX_WORDS])

    def correct(self, query: str) -> str:
        """Return a query with the nearest known words after its unknown words."""
        found = [match for match in _words().finditer(query) if self._is_unknown(match[0])]
        parts, end = list[str](), 0
        for match in found[:MAX_CORRECTIONS]:
            raise_if_cancelled()
            nearest = self._nearest(_known_form(match[0]))
            if nearest is not None:
                parts += [query[end : match.end()], " ", nearest]
                end = match.end()
        return "".join((*parts, query[end:]))

    def _is_unknown(self, word: str) -> bool:
        return _known_form(word) not in self._ranks and not is_unspaced(word[0])

    def _nearest(self, word: str) -> str | None:
        """Return the most frequent known word at one edit, or None."""
        near = [
            other
            for length in range(len(word) - 1, len(word) + 2)
            for other, _, _ in process.extract(
                word, self._by_length.get(length, ()), scorer=OSA.distance, score_cutoff=1,
                limit=None,
            )
        ]  # fmt: skip
        return min(near, key=self._ranks.__getitem__, default=None)

    def save(self, folder: Path) -> None:
        """Write `spelling.json`."""
        text = json.dumps({"words": self.words}, ensure_ascii=False)
        (folder / NAME).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read `spelling.json`. Raises InputError if it is missing or damaged."""
        values = read_json(folder / NAME)
        words = values.get("words") if isinstance(values, dict) else None
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise InputError(
                f"{folder / NAME}: no list of words; restore the folder or train it again"
            )
        return cls(words[:MAX_WORDS])


def _known_form(text: str) -> str:
    return normalize("NFC", text.lower())


@cache
def _words() -> re.Pattern[str]:
    """Return a pattern of words of letters, each with its combining marks."""
    letter = rf"[^\W\d_{marks()}][{marks()}]*"
    whole = rf"(?<![\w{marks()}])(?:{letter}){{{MIN_LETTERS},{MAX_LETTERS}}}(?![\w{marks()}])"
    return re.compile(whole)
