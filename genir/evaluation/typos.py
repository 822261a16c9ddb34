"""Queries with one typing error each: a letter swapped, dropped, inserted or replaced."""

from collections.abc import Sequence
from dataclasses import replace
from random import Random

from genir.records import Query


def misspell(queries: Sequence[Query], seed: int) -> list[Query]:
    """Return the queries with one random edit each, the same for the same seed and query.

    New letters are drawn from those that the queries use, so that any script gets its own.
    """
    letters = sorted({c for query in queries for c in query.text.lower() if c.isalpha()})
    return [
        replace(query, text=_edit(query.text, letters, Random(f"{seed} {query.key}")))
        for query in queries
    ]


def _edit(text: str, letters: Sequence[str], rng: Random) -> str:
    """Edit at a random letter; a text without letters stays as it is."""
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
