"""Verbs that change what a model finds."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from genir.cli.options import AsJson, Model, Settings
from genir.console import print_json, print_line, print_table
from genir.errors import InputError

if TYPE_CHECKING:
    from genir.records import Document
    from genir.retriever import Retriever

verbs = typer.Typer()

Queries = Annotated[Path | None, typer.Option(help="queries of documents: queries.jsonl or .tsv")]
Qrels = Annotated[Path | None, typer.Option(help="what they ask for: BEIR or TREC")]
Pseudo = Annotated[
    Path | None, typer.Option(help="made-up queries, as generate-queries writes them")
]


@verbs.command()
def add(
    model: Model,
    file: Annotated[
        Path, typer.Argument(help="documents: .jsonl, .tsv, a corpus folder or a folder of pages")
    ],
    replace: Annotated[bool, typer.Option(help="replace those that are there already")] = False,
    queries: Queries = None,
    qrels: Qrels = None,
    pseudo: Pseudo = None,
    base_url: Annotated[
        str | None, typer.Option(help="of a folder of pages: URL = this + path [as in training]")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Add documents, all or none of them; they are found from the next query on."""
    from genir.corpus.folder import holds_pages, read_corpus
    from genir.retriever import Retriever

    pages = holds_pages(file)
    retriever = Retriever.load(model)
    if base_url is None:
        base_url = retriever.base_url if pages else ""
    documents = list(read_corpus(file, base_url))
    if queries is None:
        _note_train_files(file)
    asked = _queries(retriever, documents, (queries, qrels), pseudo)
    began = time.monotonic()
    change = retriever.put if replace else retriever.add
    keys = change(documents, asked)
    seconds = time.monotonic() - began
    each = f"{1000 * seconds / len(keys):.0f} ms each"
    told = {"documents": len(keys), "version": retriever.version, "seconds": round(seconds, 3)}
    _tell(f"{len(keys):,} documents added in {seconds:.1f} s, {each}", told, as_json)


@verbs.command()
def delete(
    model: Model,
    keys: Annotated[list[str] | None, typer.Argument(help="keys of documents")] = None,
    file: Annotated[Path | None, typer.Option(help="further keys, one a line")] = None,
    as_json: AsJson = False,
) -> None:
    """Delete documents, all or none of them; they are not found from the next query on."""
    from genir.retriever import Retriever
    from genir.text_files import read_lines

    wanted = list(keys or [])
    if file is not None:
        wanted += [line for _, line in read_lines(file) if line.strip()]
    if not wanted:
        raise InputError("no key given; name some, or --file with one a line")
    retriever = Retriever.load(model)
    gone = retriever.delete(wanted)
    told = {"documents": len(gone), "version": retriever.version}
    _tell(f"{len(gone):,} documents deleted", told, as_json)


@verbs.command()
def versions(model: Model, as_json: AsJson = False) -> None:
    """List the versions of a model's collection; rollback goes back to those that are kept."""
    from genir.retriever import Retriever

    told = Retriever.load(model).versions()
    if as_json:
        print_json([asdict(one) for one in told])
        return
    table = Table("version", "change", "documents changed", "made (UTC)", "kept", box=None)
    for one in told:
        change = one.kind if one.target is None else f"{one.kind} to {one.target}"
        kept = "yes" if one.kept else ""
        table.add_row(str(one.version), change, f"{one.documents:,}", one.made, kept)
    print_table(table)


@verbs.command()
def rollback(
    model: Model,
    version: Annotated[int, typer.Argument(help="as `genir versions` lists it", min=0)],
    as_json: AsJson = False,
) -> None:
    """Go back to a former version; that is a version itself, so it can be undone."""
    from genir.retriever import Retriever

    retriever = Retriever.load(model)
    retriever.rollback(version)
    told = {"documents": _live(retriever), "version": retriever.version, "target": version}
    _tell(f"{told['documents']:,} documents, as at version {version}", told, as_json)


@verbs.command()
def compact(model: Model, as_json: AsJson = False) -> None:
    """Write the folder anew without what was deleted; ends the ways back to earlier versions."""
    from genir.retriever import Retriever

    before = _bytes(model)
    retriever = Retriever.load(model)
    retriever.compact()
    after = _bytes(model)
    told = {"documents": _live(retriever), "version": retriever.version, "bytes": after}
    size = f"{before / 1e6:,.1f} MB before, {after / 1e6:,.1f} MB now"
    _tell(f"{told['documents']:,} documents; {size}", told, as_json)


@verbs.command()
def refresh(
    model: Model,
    queries: Queries = None,
    qrels: Qrels = None,
    pseudo: Pseudo = None,
    replay: Annotated[float, typer.Option(help="examples of old documents a new one", min=0)] = 2.0,
    adapters: Annotated[int, typer.Option(help="train LoRA adapters of this rank", min=0)] = 0,
    tolerance: Annotated[float, typer.Option(help="RR@10 that old documents may lose")] = 0.01,
    settings: Settings = None,
    resume: Annotated[bool, typer.Option(help="go on with an interrupted refresh")] = False,
    overwrite: Annotated[bool, typer.Option(help="start an interrupted refresh over")] = False,
    as_json: AsJson = False,
) -> None:
    """Train the model on what was added; it is replaced if old documents are found as well."""
    from genir.training.refresh import Refresh, refresh

    request = Refresh(model, queries, qrels, pseudo, settings or [], replay, adapters, tolerance,
                      resume, overwrite)  # fmt: skip
    found = refresh(request)
    text = (
        f"{found.documents:,} documents learned in {found.steps:,} steps, {found.seconds:.0f} s; "
        f"dev RR@10 of old documents {found.old.before:.3f} -> {found.old.after:.3f}, "
        f"of new ones {found.new.before:.3f} -> {found.new.after:.3f}"
    )
    _tell(text, asdict(found) | {"old": found.old._asdict(), "new": found.new._asdict()}, as_json)


@verbs.command()
def backup(
    model: Model,
    out: Annotated[Path, typer.Argument(help="the copy, a new folder", show_default=False)],
    overwrite: Annotated[bool, typer.Option(help="replace a copy that is there already")] = False,
    as_json: AsJson = False,
) -> None:
    """Copy a model folder with its changes, while it is served and changed; the copy is checked."""
    from genir.living.backup import back_up

    version = back_up(model, out, overwrite)
    told = {"folder": str(out), "version": version, "bytes": _bytes(out)}
    _tell(f"copied to {out}, {_bytes(out) / 1e6:,.1f} MB", told, as_json)


@verbs.command()
def recover(model: Model, as_json: AsJson = False) -> None:
    """Keep the intact changes of a model folder whose journal is damaged; stop its server first."""
    from genir.living.backup import recover

    found = recover(model)
    told = {"version": found.version, "recorded": found.recorded, "moved": str(found.moved or "")}
    if found.moved is None:
        text = "the journal is intact, nothing was changed"
    else:
        known = "unknown" if found.recorded is None else str(found.recorded)
        text = f"last acknowledged version: {known}; the damaged journal is in {found.moved}"
    _tell(text, told, as_json)


def _queries(
    retriever: "Retriever",
    documents: "Sequence[Document]",
    files: tuple[Path | None, Path | None],
    pseudo: Path | None,
) -> dict[str, list[str]]:
    """Return the queries that the files know of the documents, by key; note those of others."""
    from genir.corpus.folder import read_train_queries
    from genir.corpus.notes import Notes
    from genir.corpus.pseudo import read_pseudo_queries

    new = {document.key for document in documents}
    known, found = new | set(retriever.table.keys), dict[str, list[str]]()
    queries, qrels = files
    if (queries is None) != (qrels is None):
        raise InputError("--queries and --qrels go together: give both, or neither")
    if queries is not None and qrels is not None:
        found = read_train_queries(queries, qrels, known)
    for key, texts in (read_pseudo_queries(pseudo, known) if pseudo else {}).items():
        found.setdefault(key, []).extend(texts)
    notes = Notes(" and ".join(str(file) for file in (queries, pseudo) if file))
    for key in found.keys() - new:
        notes.add("queries of other documents than those added are not read", key)
    notes.report()
    return {key: texts for key, texts in found.items() if key in new}


def _note_train_files(corpus: Path) -> None:
    """Say that train queries beside added documents are not read, as training would."""
    from genir.corpus.layout import QUERIES, TRAIN_QRELS, find_file
    from genir.corpus.notes import Notes

    found = [find_file(corpus, names) for names in (QUERIES, TRAIN_QRELS) if corpus.is_dir()]
    if found and all(found):
        notes = Notes(str(corpus))
        notes.add("its train queries are not read; give them by --queries and --qrels")
        notes.report()


def _live(retriever: "Retriever") -> int:
    return len({*retriever.table.documents[retriever.table.live].tolist()})


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _tell(text: str, told: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(told)
    else:
        print_line(f"{text}; version {told['version']}")
