"""Verbs that keep a model in step with a folder of pages, and change the settings of a model."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genir.cli.options import AsJson, Model
from genir.console import print_json, print_line
from genir.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from genir.updates.difference import Difference

verbs = typer.Typer()

MAX_LISTED = 10
"""Maximum number of keys printed for each kind of change; --dry-run and --json list all."""
SETTINGS = ("base-url",)
"""Settings of a model folder that `genir set` changes."""


@verbs.command()
def sync(
    model: Model,
    folder: Annotated[
        Path,
        typer.Argument(help="all documents: a folder of pages, corpus folder, .jsonl or .tsv"),
    ],
    dry_run: Annotated[
        bool, typer.Option(help="only print what would be added, changed, renamed and deleted")
    ] = False,
    watch: Annotated[bool, typer.Option(help="follow the folder until Ctrl-C")] = False,
    max_deleted: Annotated[
        float, typer.Option(help="largest share of the documents to delete", min=0, max=1)
    ] = 0.5,
    as_json: AsJson = False,
) -> None:
    """Make a model's documents equal to a folder's, as one version."""
    from genir.corpus.readers import holds_pages
    from genir.retriever import Retriever

    if dry_run and watch:
        raise InputError("--dry-run and --watch: give one of them")
    holds_pages(folder)  # refuse a wrong path before the model is loaded
    retriever = Retriever.load(model)

    def once() -> None:
        began = time.monotonic()
        found = retriever.mirror(folder, max_deleted, dry_run)
        if not watch or not found.is_empty:
            _report(found, retriever.version, time.monotonic() - began, (dry_run, as_json))

    if not watch:
        once()
        return
    from genir.corpus.folder_watch import watch_changes

    for group, _ in enumerate(watch_changes(folder, [model])):
        try:
            once()
        except InputError as error:  # for example a page that is being written
            print_line((f"error: {error}; waiting for the next change", "red"), stderr=True)
        if group == 0:
            print_line(f"following {folder} (Ctrl-C stops it)", stderr=True)


@verbs.command("set")
def set_(
    model: Model,
    settings: Annotated[
        list[str], typer.Argument(help="base-url=https://example.org/docs", show_default=False)
    ],
    as_json: AsJson = False,
) -> None:
    """Change a setting of a model folder: base-url, the prefix of page URLs."""
    from genir.retriever import Retriever

    values = dict(map(_setting, settings))
    retriever = Retriever.load(model)
    retriever.set_base_url(values["base-url"])
    if as_json:
        print_json({"base-url": retriever.base_url, "version": retriever.version})
        return
    shown = retriever.base_url or "none, URLs are relative"
    print_line(f"base URL: {shown}; version {retriever.version}")


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or name not in SETTINGS:
        raise InputError(
            f"setting {text!r:.80}{did_you_mean(name, SETTINGS)}: write "
            "base-url=https://example.org/docs, or base-url= for relative URLs"
        )
    return name, value


def _report(found: "Difference", version: int, seconds: float, options: tuple[bool, bool]) -> None:
    """Print a difference. options: --dry-run, --json."""
    dry_run, as_json = options
    if as_json:
        values = asdict(found) | {"version": version, "seconds": round(seconds, 3)}
        del values["sources"]
        print_json(values)
        return
    renamed = [f"{old} -> {new}" for old, new in found.renamed.items()]
    kinds = {
        "added": found.added,
        "changed": found.changed,
        "renamed": renamed,
        "deleted": found.deleted,
    }
    for kind, keys in kinds.items():
        shown = keys if dry_run else keys[:MAX_LISTED]
        for key in shown:
            print_line(f"{kind:>8}  {key}")
        if len(keys) > len(shown):
            print_line(f"{kind:>8}  and {len(keys) - len(shown):,} more")
    counts = ", ".join(f"{len(keys):,} {kind}" for kind, keys in kinds.items())
    summary = f"{counts}, {found.unchanged:,} unchanged"
    if dry_run:
        print_line(f"{summary}; nothing was changed (--dry-run)")
    else:
        print_line(f"{summary} in {seconds:.1f} s; version {version}")
