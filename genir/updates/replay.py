"""Replay of the changes since a snapshot on a model that was trained on the snapshot."""

from dataclasses import replace

from genir.updates.index import Index
from genir.updates.loaded_model import LoadedModel
from genir.updates.planning import embed_documents, plan_upserts


def replay_changes(fresh: LoadedModel, now: Index) -> LoadedModel:
    """Return `fresh` with the documents of `now`.

    Documents are compared by key and by the version that added them. Inserted documents are
    embedded from their text only; the queries given for them are not stored.
    """
    wanted, had = _added_versions(now), _added_versions(fresh.index)
    changed = [key for key, version in wanted.items() if had.get(key) != version]
    documents = list(now.documents.fetch(changed).values())
    made = embed_documents(fresh, documents, {})
    puts = {put.key: put for put in plan_upserts(fresh, documents, made, {})}
    if puts:
        fresh = fresh.upsert(puts, wanted)
    table, counts = fresh.table, fresh.index.query_counts.copy()
    numbers = [table.number(key) for key in puts]
    counts[numbers] = now.query_counts[[now.table.number(key) for key in puts]]
    table = table.with_live(numbers, True)
    table = table.with_live([table.number(key) for key in had if key not in wanted], False)
    return fresh.with_index(replace(fresh.index, table=table, query_counts=counts))


def _added_versions(index: Index) -> dict[str, int]:
    """Return the version that added each live document, by key."""
    numbers = index.alive.nonzero()[0].tolist()
    return {index.table.keys[number]: int(index.added_in_version[number]) for number in numbers}
