"""Typing errors: one letter of a text swapped, dropped, inserted or replaced."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from random import Random

from genir.types import Query


def misspell(queries: Sequence[Query], seed: int) -> list[Query]:
    """Return the queries with one random edit each, determined by seed and query key."""
    letters = letters_of(query.text for query in queries)
    return [
        replace(query, text=misspelt(query.text, letters, Random(f"{seed} {query.key}")))
        for query in queries
    ]


def letters_of(texts: Iterable[str]) -> list[str]:
    """Return the sorted letters that texts use, from which inserted letters are drawn."""
    return sorted({c for text in texts for c in text.lower() if c.isalpha()})


def misspelt(text: str, letters: Sequence[str], rng: Random) -> str:
    """Edit at a random letter; a text without letters is unchanged."""
    places = [place for place, character in enumerate(text) if character.isalpha()]
    if not places:
        return text
    place = rng.choice(places)
    before, letter, after = text[:place], text[place], text[place + 1 :]
    edits = [
        before + after,
        before + rng.choice(letters) + letter + after,
        before + rng.choice(letters) + after,
        before + after[:1] + letter + after[1:] if after[:1].isalpha() else text,
    ]
    return rng.choice([edit for edit in edits if edit.strip() and edit != text])
