"""Replay of the changes since a snapshot on a model that was trained on the snapshot."""

from typing import TYPE_CHECKING

import numpy as np

from genir.living.entries import puts_of, vectors_of

if TYPE_CHECKING:
    from genir.living.collection import Living


def bring_up_to(fresh: "Living", now: "Living") -> None:
    """Update `fresh` to the documents of `now`.

    Documents are compared by key and by the version that added them. Inserted documents are
    embedded from their text only; the queries given for them are not stored.
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
    """Return the version that added each live document, by key."""
    numbers = np.unique(living.table.documents[living.table.live])
    return {living.table.keys[number]: int(living.born[number]) for number in numbers.tolist()}
