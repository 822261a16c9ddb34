"""Replay of the changes since a snapshot on a model that was trained on the snapshot."""

from typing import TYPE_CHECKING

import numpy as np

from genir.updates.planning import embed_documents, plan_upserts

if TYPE_CHECKING:
    from genir.updates.index import MutableIndex


def replay_changes(fresh: "MutableIndex", now: "MutableIndex") -> None:
    """Update `fresh` to the documents of `now`.

    Documents are compared by key and by the version that added them. Inserted documents are
    embedded from their text only; the queries given for them are not stored.
    """
    wanted, had = _added_versions(now), _added_versions(fresh)
    changed = [key for key, version in wanted.items() if had.get(key) != version]
    documents = list(now.documents.fetch(changed).values())
    made = embed_documents(fresh, documents, {})
    puts = {put.key: put for put in plan_upserts(fresh, documents, made, {})}
    if puts:
        fresh.upsert(puts, wanted)
        numbers = [fresh.table.number(key) for key in puts]
        fresh.query_counts[numbers] = now.query_counts[[now.table.number(key) for key in puts]]
        fresh.table.set_live(numbers, True)
    gone = [fresh.table.number(key) for key in had if key not in wanted]
    fresh.table.set_live(gone, False)


def _added_versions(index: "MutableIndex") -> dict[str, int]:
    """Return the version that added each live document, by key."""
    numbers = np.unique(index.table.documents[index.table.live])
    return {
        index.table.keys[number]: int(index.added_in_version[number]) for number in numbers.tolist()
    }
