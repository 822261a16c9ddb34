"""A model that was made of a snapshot of a collection, brought up to what that is now."""

from typing import TYPE_CHECKING

import numpy as np

from genir.living.entries import puts_of, vectors_of

if TYPE_CHECKING:
    from genir.living.collection import Living


def bring_up_to(fresh: "Living", now: "Living") -> None:
    """Change in `fresh` what was changed since its snapshot: it ends with the documents of `now`.

    A document's key and the version that brought it tell which text it has. What is placed anew is
    placed by its text alone: the queries that came with it are not kept.
    """
    wanted, had = _born(now), _born(fresh)
    changed = [key for key, version in wanted.items() if had.get(key) != version]
    documents = list(now.documents.fetch(changed).values())
    made = vectors_of(fresh, documents, {})
    puts = {put.key: put for put in puts_of(fresh, documents, made, {})}
    if puts:
        fresh.place(puts, wanted)
        numbers = [fresh.table.number(key) for key in puts]
        fresh.query_counts[numbers] = now.query_counts[[now.table.number(key) for key in puts]]
        fresh.table.set_live(numbers, True)
    gone = [fresh.table.number(key) for key in had if key not in wanted]
    fresh.table.set_live(gone, False)


def _born(living: "Living") -> dict[str, int]:
    """Return the version that brought each live document, by key."""
    numbers = np.unique(living.table.documents[living.table.live])
    return {living.table.keys[number]: int(living.born[number]) for number in numbers.tolist()}
