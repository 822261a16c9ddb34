"""Measure `genir sync` on a folder of pages, and compare it with a training from scratch.

A copy of the folder is edited at random: pages are changed, renamed, deleted and added. The model
that was trained on the folder is mirrored; its documents must equal those of a model that is
trained on the edited copy, key by key.
"""

from genir.signals import guard

guard(__name__)  # before the slow imports

import shutil
import time
from pathlib import Path
from random import Random
from typing import Annotated

import typer

from genir.api import train
from genir.cli import guarded
from genir.console import print_json
from genir.corpus.page_folder import page_files
from genir.corpus.serialization import record_json
from genir.corpus.skipped_items import SkippedItems
from genir.errors import InputError
from genir.retriever import Retriever


def live_records(retriever: Retriever) -> dict[str, str]:
    """Return the live documents as JSON, by key."""
    keys = [key for key in retriever.table.keys if retriever.table.is_live(key)]
    return {key: record_json(one) for key, one in retriever.documents.fetch(keys).items()}


def edit(site: Path, count: int, seed: int) -> None:
    """Change, rename, delete and add `count` pages each."""
    rng, pages = Random(seed), page_files(site, SkippedItems(str(site)))
    if len(pages) < 4 * count:
        raise InputError(f"{site}: {len(pages)} pages; give a --count of at most {len(pages) // 4}")
    chosen = rng.sample(pages, 3 * count)
    for number, page in enumerate(chosen):
        if number < count:
            page.write_bytes(page.read_bytes() + b"\n\nOne more line about parking.\n")
        elif number < 2 * count:
            page.rename(page.with_name(f"renamed-{number}{page.suffix}"))
        else:
            page.unlink()
    for number in range(count):
        (site / f"added-{number}.md").write_text(f"# Added page {number}\n\nShips and trains.\n")


def main(
    folder: Annotated[Path, typer.Argument(help="a folder of pages; it is copied")],
    work: Annotated[Path, typer.Argument(help="folder for the copy and the models, made anew")],
    recipe: Annotated[str, typer.Option(help="recipe to train")] = "default",
    count: Annotated[int, typer.Option(help="pages of each kind of change", min=1)] = 5,
    seed: Annotated[int, typer.Option(help="seed of the changes")] = 0,
) -> None:
    """Print the seconds of the sync, the difference and the result of the comparison."""
    work.mkdir(parents=True)
    site = work / "site"
    shutil.copytree(folder, site)
    base = "https://example.org/docs"
    train(site, recipe, out=work / "model", base_url=base)
    retriever, seconds = Retriever.load(work / "model"), {}
    for name in ("unchanged", "changed"):
        began = time.monotonic()
        found = retriever.mirror(site)
        seconds[name] = round(time.monotonic() - began, 2)
        if name == "unchanged":
            assert found.is_empty and retriever.version == 0
            edit(site, count, seed)
    (change,) = retriever.updates.changes()
    scratch = train(site, recipe, out=work / "scratch", base_url=base)
    synced, trained = live_records(Retriever.load(work / "model")), live_records(scratch)
    print_json(
        {
            "documents": len(synced),
            "seconds": seconds,
            "added": len(found.added),
            "changed": len(found.changed),
            "renamed": len(found.renamed),
            "deleted": len(found.deleted),
            "unchanged": found.unchanged,
            "kept parameters": len(found.sources),
            "entries": len(change.entries),
            "equal to a training from scratch": synced == trained,
        }
    )


if __name__ == "__main__":
    guarded(lambda: typer.run(main))
