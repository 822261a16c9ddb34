"""Saving, compaction, snapshots, and the replacement of a model by a newly trained one."""

from collections.abc import Callable
from copy import copy
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from genir.arguments import as_path
from genir.atomic_dirs import new_folder, remove_leftovers, require_absent
from genir.corpus.page_urls import check_base_url, move_url
from genir.corpus.store import DocumentStore
from genir.errors import InputError
from genir.manifest import check_manifest, refuse_other_files, rewritten_folder
from genir.types import Document
from genir.updates.changes import Change
from genir.updates.loaded_model import LoadedModel
from genir.updates.model_folder import write_folder
from genir.updates.replay import replay_changes
from genir.updates.snapshot import compacted_snapshot, full_snapshot
from genir.updates.updates import Updates


def save(updates: Updates, folder: Path | str, overwrite: bool = False) -> None:
    """Write the model folder atomically, and continue with it.

    Saving to its own folder includes the changes of other processes and locks them out; hidden
    files, README.md and LICENSE are kept.

    Raises:
        InputError: The folder exists and not `overwrite`, holds files that are not a model's, or
            cannot be written.
    """
    target = as_path(folder, "folder")
    own = updates.folder is not None and target.resolve() == updates.folder.resolve()
    require_absent(target, overwrite)
    if own:
        with updates.transaction() as writing:
            changes = writing.changes(updates.base.version)
            with rewritten_folder(target) as partial:
                write_folder(partial, updates.loaded, full_snapshot(updates.loaded, changes))
        updates.reload()  # another process may have changed or compacted the folder since
        return
    refuse_other_files(target)
    updates.sync()  # the store may belong to a folder replaced since
    with new_folder(target, overwrite) as partial:
        contents = full_snapshot(updates.loaded, updates.changes())
        write_folder(partial, updates.loaded, contents)
    index = replace(
        updates.loaded.index,
        manifest=check_manifest(target),
        documents=DocumentStore(target / "documents.sqlite"),
    )
    updates.attach(target, replace(updates.loaded, index=index))


def compact(updates: Updates) -> None:
    """Rewrite the folder without deleted and replaced documents, with an empty journal.

    Atomic; writers wait, readers continue. The version history is kept, but versions before this
    one can no longer be restored. Does nothing if there is nothing to remove.

    Raises:
        InputError: the folder cannot be written; see `save`.
    """
    with updates.transaction() as writing:
        loaded, base = updates.loaded, updates.base
        if loaded.index.version > base.version or not loaded.table.live.all():
            remove_leftovers(base.folder)
            changes = writing.changes(base.version)
            with rewritten_folder(base.folder) as partial:
                write_folder(partial, loaded, compacted_snapshot(loaded, changes))
    if updates.is_replaced():
        updates.reload()


def set_base_url(updates: Updates, base_url: str) -> None:
    """Set the prefix of page URLs, and replace it in the URLs of the documents.

    The folder, if there is one, is rewritten as a new version with an empty journal. Atomic;
    writers wait, readers continue.

    Raises:
        InputError: Not a URL, the identifiers are made of URLs, or the folder cannot be written.
    """
    check_base_url(base_url)
    if updates.folder is None:
        updates.loaded = updates.loaded.with_base_url(base_url)
        return
    with updates.transaction() as writing:
        loaded, base = updates.loaded, updates.base
        if base_url == loaded.index.base_url:
            return
        move = partial(_moved, old=loaded.index.base_url, new=base_url)
        _refuse_url_identifiers(loaded, move)
        remove_leftovers(base.folder)
        made, version = datetime.now(UTC).isoformat(timespec="seconds"), loaded.index.version + 1
        changes = [*writing.changes(base.version), Change(version, "set", made)]
        contents = replace(
            full_snapshot(loaded, changes),
            write_documents=lambda path: DocumentStore.create(
                path, map(move, loaded.index.documents)
            ).close(),
        )
        with rewritten_folder(base.folder) as folder:
            write_folder(folder, loaded.with_base_url(base_url).at_version(version), contents)
    updates.reload()


def _moved(document: Document, old: str, new: str) -> Document:
    return replace(document, url=move_url(document.url, old, new))


def _refuse_url_identifiers(loaded: LoadedModel, move: Callable[[Document], Document]) -> None:
    """Raise InputError if the text identifiers of documents change with their URLs."""
    if not loaded.scheme.needs_tokenizer or loaded.scheme.needs_vectors:
        return
    moved = ((one, move(one)) for one in loaded.index.documents)
    pair = next((pair for pair in moved if pair[0].url != pair[1].url), None)
    if pair is None:
        return
    encoded = [copy(loaded.scheme).encode([one]) for one in pair]
    if encoded[0] != encoded[1]:
        raise InputError(
            f"base-url: the identifiers of scheme {loaded.scheme.name!r} are made of the URLs; "
            "train the model again with --base-url, or show other URLs with genir serve --base-url"
        )


def write_snapshot(updates: Updates, folder: Path) -> None:
    """Write the live documents and the model to a new folder, without switching to it."""
    updates.sync()
    with new_folder(folder) as partial:
        contents = compacted_snapshot(updates.loaded, updates.changes())
        write_folder(partial, updates.loaded, contents)


def replace_model(updates: Updates, fresh: LoadedModel, trained_version: int) -> None:
    """Replace a model by one trained on a snapshot of it, as a new version.

    Changes since the snapshot are replayed on it. Atomic; writers wait, readers continue.

    Args:
        updates: The model to replace.
        fresh: The new model.
        trained_version: Version of the snapshot.
    """
    with updates.transaction() as writing:
        now, base = updates.loaded, updates.base
        remove_leftovers(base.folder)
        fresh = replay_changes(fresh, now.index)
        version = now.index.version + 1
        made = datetime.now(UTC).isoformat(timespec="seconds")
        changes = [*writing.changes(base.version), Change(version, "refresh", made)]
        manifest = {**now.index.manifest, "learned": trained_version}
        index = replace(fresh.index, manifest=manifest, version=version)
        fresh = replace(fresh, recipe=now.recipe, index=index)
        with rewritten_folder(base.folder) as partial:
            write_folder(partial, fresh, compacted_snapshot(fresh, changes))
    updates.reload()
