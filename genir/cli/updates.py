"""Verbs that update the documents of a model."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from genir.cli.options import AsJson, Model, Settings, load_model, require_files, require_model
from genir.console import print_json, print_line, print_table
from genir.errors import InputError
from genir.plurals import counted

if TYPE_CHECKING:
    from genir.retriever import Retriever
    from genir.types import Document

verbs = typer.Typer()

Queries = Annotated[Path | None, typer.Option(help="queries of documents: queries.jsonl or .tsv")]
Qrels = Annotated[Path | None, typer.Option(help="relevance judgements: BEIR or TREC format")]
Pseudo = Annotated[Path | None, typer.Option(help="generated queries, written by generate-queries")]


@verbs.command()
def add(
    model: Model,
    file: Annotated[
        Path,
        typer.Argument(
            help="documents: .jsonl, .tsv, a corpus folder, a folder of pages, or one page"
        ),
    ],
    replace: Annotated[bool, typer.Option(help="replace documents with the same keys")] = False,
    queries: Queries = None,
    qrels: Qrels = None,
    pseudo: Pseudo = None,
    vectors: Annotated[
        Path | None, typer.Option(help="vectors of the documents, for a model of train --vectors")
    ] = None,
    base_url: Annotated[
        str | None, typer.Option(help="prefix of page URLs: URL = prefix + path [as in training]")
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(help="folder of pages that the key of a single page is relative to"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Add documents, all or none; they are searchable immediately."""
    from genir.corpus.readers import holds_pages, read_corpus
    from genir.corpus.vectors import read_vectors

    _require_pair(queries, qrels)
    require_files(queries, qrels, pseudo, vectors)
    require_model(model)
    pages = holds_pages(file)
    retriever = load_model(model)
    if base_url is None:
        base_url = retriever.base_url if pages else ""
    documents = list(read_corpus(file, base_url, root))
    if queries is None:
        _note_train_files(file)
    asked = _queries(retriever, documents, (queries, qrels), pseudo)
    given = None
    if vectors is not None:
        names = [document.key for document in documents]
        given = dict(zip(names, read_vectors(vectors, names), strict=True))
    began = time.monotonic()
    change = retriever.put if replace else retriever.add
    keys = change(documents, asked, vectors=given)
    seconds = time.monotonic() - began
    values = {"documents": len(keys), "version": retriever.version, "seconds": round(seconds, 3)}
    _report(f"{counted(len(keys), 'document')} added in {seconds:.1f} s", values, as_json)


@verbs.command()
def delete(
    model: Model,
    keys: Annotated[list[str] | None, typer.Argument(help="keys of documents")] = None,
    file: Annotated[Path | None, typer.Option(help="file of further keys, one per line")] = None,
    as_json: AsJson = False,
) -> None:
    """Delete documents, all or none; they are no longer found."""
    from genir.text_files import read_lines

    wanted = list(keys or [])
    if file is not None:
        wanted += [line for _, line in read_lines(file) if line.strip()]
    if not wanted:
        raise InputError("no key given; name keys, or a --file with one per line")
    retriever = load_model(model)
    gone = retriever.delete(wanted)
    values = {"documents": len(gone), "version": retriever.version}
    _report(f"{counted(len(gone), 'document')} deleted", values, as_json)


@verbs.command()
def versions(model: Model, as_json: AsJson = False) -> None:
    """List the versions of a model's documents; rollback can restore the kept ones."""

    listed = load_model(model).versions()
    if as_json:
        print_json([asdict(one) for one in listed])
        return
    table = Table("version", "change", "documents changed", "made (UTC)", "kept", box=None)
    for one in listed:
        change = one.kind if one.target is None else f"{one.kind} to {one.target}"
        kept = "yes" if one.kept else ""
        table.add_row(str(one.version), change, f"{one.documents:,}", one.made, kept)
    print_table(table)


@verbs.command()
def rollback(
    model: Model,
    version: Annotated[int, typer.Argument(help="version listed by `genir versions`", min=0)],
    as_json: AsJson = False,
) -> None:
    """Restore the documents of an earlier version, as a new version."""

    retriever = load_model(model)
    retriever.rollback(version)
    values = {
        "documents": retriever.index.live_count,
        "version": retriever.version,
        "target": version,
    }
    _report(
        f"{counted(retriever.index.live_count, 'document')}, as at version {version}",
        values,
        as_json,
    )


@verbs.command()
def compact(model: Model, as_json: AsJson = False) -> None:
    """Rewrite the folder without deleted documents; earlier versions can no longer be restored."""
    require_model(model)
    before = _bytes(model)
    retriever = load_model(model)
    retriever.compact()
    after = _bytes(model)
    values = {"documents": retriever.index.live_count, "version": retriever.version, "bytes": after}
    size = f"{before / 1e6:,.1f} MB before, {after / 1e6:,.1f} MB now"
    _report(f"{counted(retriever.index.live_count, 'document')}; {size}", values, as_json)


@verbs.command()
def refresh(
    model: Model,
    queries: Queries = None,
    qrels: Qrels = None,
    pseudo: Pseudo = None,
    replay: Annotated[
        float, typer.Option(help="examples of old documents per new one", min=0)
    ] = 2.0,
    adapters: Annotated[
        int, typer.Option(help="rank of LoRA adapters; 0: train all weights", min=0)
    ] = 0,
    tolerance: Annotated[float, typer.Option(help="maximum RR@10 loss of old documents")] = 0.01,
    settings: Settings = None,
    resume: Annotated[bool, typer.Option(help="continue an interrupted refresh")] = False,
    overwrite: Annotated[bool, typer.Option(help="restart an interrupted refresh")] = False,
    as_json: AsJson = False,
) -> None:
    """Train the model on added documents; replace it unless old documents rank worse."""
    _require_pair(queries, qrels)
    require_files(queries, qrels, pseudo)
    require_model(model)
    from genir.training.dev_eval import shown
    from genir.training.incremental import RefreshRequest, refresh

    request = RefreshRequest(
        model,
        queries,
        qrels,
        pseudo,
        settings or [],
        replay,
        adapters,
        tolerance,
        resume,
        overwrite,
    )
    found = refresh(request)
    text = (
        f"{counted(found.documents, 'document')} trained in "
        f"{counted(found.steps, 'step')}, {found.seconds:.0f} s; "
        f"dev RR@10 of old documents {shown(found.old.before)} -> {shown(found.old.after)}, "
        f"of new ones {shown(found.new.before)} -> {shown(found.new.after)}"
    )
    _report(text, asdict(found) | {"old": found.old._asdict(), "new": found.new._asdict()}, as_json)


@verbs.command()
def backup(
    model: Model,
    out: Annotated[Path, typer.Argument(help="new folder for the copy", show_default=False)],
    overwrite: Annotated[bool, typer.Option(help="replace an existing copy")] = False,
    as_json: AsJson = False,
) -> None:
    """Copy and verify a model folder, also while it is served and updated."""
    from genir.updates.backup import back_up

    version = back_up(model, out, overwrite)
    values = {"folder": str(out), "version": version, "bytes": _bytes(out)}
    _report(f"copied to {out}, {_bytes(out) / 1e6:,.1f} MB", values, as_json)


@verbs.command()
def recover(model: Model, as_json: AsJson = False) -> None:
    """Keep the intact changes of a model folder with a damaged journal; stop its server first."""
    from genir.updates.backup import recover

    found = recover(model)
    values = {
        "version": found.version,
        "recorded": found.committed,
        "moved": str(found.set_aside or ""),
    }
    if found.set_aside is None:
        text = "the journal is intact; nothing was changed"
    else:
        known = "unknown" if found.committed is None else str(found.committed)
        text = f"last acknowledged version: {known}; the damaged journal is in {found.set_aside}"
    _report(text, values, as_json)


def _require_pair(queries: Path | None, qrels: Path | None) -> None:
    if (queries is None) != (qrels is None):
        raise InputError("--queries and --qrels: give both, or neither")


def _queries(
    retriever: "Retriever",
    documents: "Sequence[Document]",
    files: tuple[Path | None, Path | None],
    pseudo: Path | None,
) -> dict[str, list[str]]:
    """Return the documents' queries from the files, by key; note unused ones."""
    from genir.corpus.pseudo_queries import read_pseudo_queries
    from genir.corpus.readers import read_train_queries
    from genir.corpus.skipped_items import SkippedItems

    new = {document.key for document in documents}
    known, found = new | set(retriever.table.keys), dict[str, list[str]]()
    queries, qrels = files
    if queries is not None and qrels is not None:
        found = read_train_queries(queries, qrels, known)
    for key, texts in (read_pseudo_queries(pseudo, known) if pseudo else {}).items():
        found.setdefault(key, []).extend(texts)
    notes = SkippedItems(" and ".join(str(file) for file in (queries, pseudo) if file))
    for key in found.keys() - new:
        notes.add("ignored queries of other documents", key)
    notes.report()
    return {key: texts for key, texts in found.items() if key in new}


def _note_train_files(corpus: Path) -> None:
    """Note that the train queries in a corpus folder are ignored, unlike in training."""
    from genir.corpus.layout import QUERY_FILES, TRAIN_QRELS, find_file
    from genir.corpus.skipped_items import SkippedItems

    found = [find_file(corpus, names) for names in (QUERY_FILES, TRAIN_QRELS) if corpus.is_dir()]
    if found and all(found):
        notes = SkippedItems(str(corpus))
        notes.add("its train queries are ignored; give them as --queries and --qrels")
        notes.report()


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _report(text: str, values: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(values)
    else:
        print_line(f"{text}; version {values['version']}")
