"""Verbs that evaluate and inspect models."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from genir.cli.options import (
    AsJson,
    JsonFile,
    Model,
    PrecisionOption,
    Rerank,
    load_model,
    refuse_place,
    require_files,
    require_model,
)
from genir.console import print_json, print_table
from genir.errors import InputError

verbs = typer.Typer()


@verbs.command()
def evaluate(
    model: Model,
    queries: Annotated[Path, typer.Option(help="queries.jsonl or .tsv")],
    qrels: Annotated[Path, typer.Option(help="judgements: BEIR or TREC")],
    baselines: Annotated[
        str, typer.Option(help="baselines to compare with")
    ] = "bm25,dense,rrf,convex",
    run: Annotated[
        Path | None, typer.Option(help="write a TREC run file here", callback=refuse_place)
    ] = None,
    json_file: JsonFile = None,
    report: Annotated[
        Path | None, typer.Option(help="write a Markdown report folder here", file_okay=False)
    ] = None,
    typos: Annotated[bool, typer.Option(help="also evaluate misspelt queries")] = True,
    latency_queries: Annotated[
        int, typer.Option(help="number of queries for latency", min=0)
    ] = 200,
    diagnose: Annotated[bool, typer.Option(help="diagnose documents lost by beam search")] = False,
    beams: Annotated[
        int | None,
        typer.Option(help="beam width, at least the number of hits; default: the recipe's", min=1),
    ] = None,
    previous: Annotated[
        Path | None, typer.Option(help="previous model folder or run, to measure forgetting")
    ] = None,
    dev_queries: Annotated[
        Path | None, typer.Option(help="dev queries, to choose the weight of convex; default: 0.5")
    ] = None,
    dev_qrels: Annotated[Path | None, typer.Option(help="their judgements")] = None,
    query_vectors: Annotated[
        Path | None, typer.Option(help="vectors of the queries, for a model of train --vectors")
    ] = None,
    rerank: Rerank = None,
    precision: PrecisionOption = "auto",
) -> None:
    """Evaluate a model and BM25, dense retrieval and their fusions on the same queries."""
    if (dev_queries is None) != (dev_qrels is None):
        raise InputError("--dev-queries and --dev-qrels: give both, or neither")
    if dev_qrels is not None and dev_qrels.resolve() == qrels.resolve():
        raise InputError(f"--dev-qrels {dev_qrels}: is also --qrels; choose the weight on others")
    require_model(model)
    require_files(queries, qrels, previous, dev_queries, dev_qrels, query_vectors)
    from genir.evaluation.compare import Options
    from genir.evaluation.runner import Outputs, evaluate
    from genir.models.precision import override

    override(precision)
    outputs = Outputs(run, json_file, report)
    dev = None if dev_queries is None or dev_qrels is None else (dev_queries, dev_qrels)
    options = Options(
        typos,
        latency_queries,
        diagnose=diagnose,
        previous=previous,
        beams=beams,
        dev=dev,
        rerank=rerank,
        query_vectors=query_vectors,
    )
    evaluate(model, queries, qrels, baselines, outputs, options)


@verbs.command()
def inspect(model: Model, as_json: AsJson = False) -> None:
    """Show the content of a model folder and verify every file."""
    from genir.identifiers.units import units_text

    retriever = load_model(model)
    facts = {k: v for k, v in retriever.index.manifest.items() if k != "files"}
    # The manifest describes the base folder; the journal's changes count, too.
    facts |= {
        "documents": len(retriever.table.keys),
        "live documents": retriever.index.live_count,
        "identifiers": len(retriever.table),
        "version": retriever.version,
        "versions": [asdict(one) for one in retriever.versions()],
    }
    facts["units"] = units_text(retriever.decoder.stage.scheme.options)
    facts["parameters"] = retriever.parameters
    facts["bytes"] = sum(file["bytes"] for file in retriever.index.manifest["files"].values())
    metrics = json.loads(retriever.attachments.get("metrics.json", b"{}"))
    facts["precision"] = metrics.get("precision", {})
    facts["dev"] = {k: v for k, v in metrics.get("dev", {}).items() if k in ("RR@10", "Success@10")}
    if as_json:
        print_json(facts)
        return
    facts["dev"] = {k: "not measured" if v is None else v for k, v in facts["dev"].items()}
    table = Table(show_header=False, box=None)
    for name, value in facts.items():
        for number, item in enumerate(value if isinstance(value, list) else [value]):
            table.add_row("" if number else name, _shown(item))
    print_table(table)


def _shown(value: Any) -> str:
    """Format a value of the manifest; empty parts of a section are left out."""
    if isinstance(value, dict):
        parts = {name: _shown(part) for name, part in value.items()}
        return ", ".join(f"{name} {part}" for name, part in parts.items() if part) or "none"
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return f"{value:,}"
    return "" if value is None else str(value)
