"""Verbs that evaluate, benchmark and inspect models."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from genir.cli.options import AsJson, JsonFile, Model, PrecisionOption, refuse_place
from genir.config import Precision
from genir.console import print_json, print_table
from genir.serving.cli import load

verbs = typer.Typer()
benchmark_app = typer.Typer(help="Measure speed against other systems.", no_args_is_help=True)
verbs.add_typer(benchmark_app, name="benchmark")


@verbs.command()
def evaluate(
    model: Model,
    queries: Annotated[Path, typer.Option(help="queries.jsonl or .tsv")],
    qrels: Annotated[Path, typer.Option(help="judgements: BEIR or TREC")],
    baselines: Annotated[str, typer.Option(help="baselines to compare with")] = "bm25,dense,rrf",
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
    precision: PrecisionOption = "auto",
) -> None:
    """Evaluate a model and BM25, dense retrieval and their fusion on the same queries."""
    from genir.evaluation.compare import Options
    from genir.evaluation.runner import Outputs, evaluate
    from genir.models.precision import override

    override(precision)
    outputs = Outputs(run, json_file, report)
    options = Options(typos, latency_queries, diagnose=diagnose, previous=previous, beams=beams)
    evaluate(model, queries, qrels, baselines, outputs, options)


@verbs.command()
def inspect(model: Model, as_json: AsJson = False) -> None:
    """Show the content of a model folder and verify every file."""
    from genir.retriever import Retriever

    retriever = Retriever.load(model)
    facts = {k: v for k, v in retriever.manifest.items() if k != "files"}
    facts["live documents"] = len({*retriever.table.documents[retriever.table.live].tolist()})
    facts["parameters"] = retriever.parameters
    facts["bytes"] = sum(file["bytes"] for file in retriever.manifest["files"].values())
    metrics = json.loads(retriever.attachments.get("metrics.json", b"{}"))
    facts["precision"] = metrics.get("precision", {})
    facts["dev"] = {k: v for k, v in metrics.get("dev", {}).items() if k in ("RR@10", "Success@10")}
    if as_json:
        print_json(facts)
        return
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


@benchmark_app.command("latency")
def latency(
    model: Model,
    queries: Annotated[
        Path | None, typer.Option(help="queries.jsonl or .tsv; default: titles of documents")
    ] = None,
    count: Annotated[int, typer.Option(help="number of queries", min=1)] = 200,
    baselines: Annotated[str, typer.Option(help="baselines to compare with")] = "dense,bm25",
    json_file: JsonFile = None,
    precision: PrecisionOption = "auto",
) -> None:
    """Measure single-query latency of the model, a transformers encoder pass, and baselines."""
    from genir.evaluation.runner import benchmark_latency
    from genir.models.precision import override

    override(precision)
    benchmark_latency(model, queries, count, baselines, json_file)


@benchmark_app.command("decode")
def decode(
    quick: Annotated[bool, typer.Option(help="one small setting: half a minute")] = False,
    corpus: Annotated[
        Path | None, typer.Option(help="decode the URLs of this corpus folder instead of codes")
    ] = None,
    sizes: Annotated[
        bool,
        typer.Option(help="only genir, on 10 thousand to 10 million identifiers, 100 on a GPU"),
    ] = False,
    model: Annotated[
        Path | None, typer.Option(help="decode with this trained model: url, title, genre")
    ] = None,
    queries: Annotated[Path | None, typer.Option(help="queries for --model")] = None,
    turns: Annotated[int, typer.Option(help="repetitions of each measurement", min=1)] = 3,
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto: a GPU if available")] = "auto",
    json_file: JsonFile = None,
    plot: Annotated[
        Path | None, typer.Option(help="write a chart here, a PNG", callback=refuse_place)
    ] = None,
    precision: Annotated[
        Precision, typer.Option(help="bf16, fp32, or auto: the faster one")
    ] = "auto",
) -> None:
    """Compare genir's decoder with transformers' `generate` on the same weights and identifiers."""
    from genir.evaluation.decode_speed import DecodeRequest, run_benchmark

    request = DecodeRequest(quick, corpus, sizes, turns, device, model, queries, precision)
    run_benchmark(request, json_file, plot)


benchmark_app.command()(load)
