"""Verbs that ask a model, serve it, and show it off."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from genir.cli.options import AsJson, Conditions, Model, PrecisionOption, read_conditions
from genir.errors import InputError
from genir.serving.verb import serve

verbs = typer.Typer()


@verbs.command()
def search(
    model: Model,
    query: Annotated[str, typer.Argument(help="a question", show_default=False)],
    k: Annotated[int, typer.Option("-k", help="hits to return")] = 10,
    where: Conditions = None,
    beams: Annotated[
        int | None, typer.Option(help="beam width; default: the recipe's", min=1)
    ] = None,
    exact: Annotated[
        bool | None, typer.Option(help="prove that no better hits exist; default: the recipe's")
    ] = None,
    as_json: AsJson = False,
    precision: PrecisionOption = "auto",
) -> None:
    """Ask a model one question."""
    from genir.models.precision import override
    from genir.retriever import Retriever

    override(precision)
    if not query.strip():
        raise InputError("the query is empty; ask a question")
    retriever = Retriever.from_pretrained(str(model))
    hits = retriever.search([query], k, read_conditions(where), beams, exact)[0]
    if as_json:
        told: dict[str, Any] = {"hits": [asdict(hit) for hit in hits]}
        if hits.proven is not None:
            told["proven"] = hits.proven
        typer.echo(json.dumps(told, ensure_ascii=False))
        return
    console = Console()
    for hit in hits:
        key, url = escape(hit.key), escape(hit.url)
        console.print(f"{hit.rank:>3}  [bold]{key}[/]  [dim]{hit.score:.3f}  {url}[/]")
        console.print(f"     {hit.snippet}", markup=False, highlight=False)
    if not hits:
        console.print("no document matches the filter")
    if hits.proven is not None:
        proof = "proven" if hits.proven else "not proven: the [decoding] budget ran out"
        console.print(proof, style="dim", markup=False)


@verbs.command()
def explain(
    model: Model,
    query: Annotated[str, typer.Argument(help="a question", show_default=False)],
    key: Annotated[str, typer.Argument(help="a document's key", show_default=False)],
    where: Conditions = None,
    beams: Annotated[
        int | None, typer.Option(help="beam width; default: the recipe's", min=1)
    ] = None,
    as_json: AsJson = False,
    precision: PrecisionOption = "auto",
) -> None:
    """Show where a document was won or lost, level by level."""
    from genir.evaluation.explain import explain, to_table
    from genir.models.precision import override
    from genir.retriever import Retriever

    override(precision)
    retriever = Retriever.from_pretrained(str(model))
    found = explain(retriever, query, key, beams, read_conditions(where))
    if as_json:
        typer.echo(json.dumps(asdict(found), ensure_ascii=False))
        return
    console = Console()
    if found.levels:
        console.print(to_table(found))
    console.print(found.text, markup=False, highlight=False)


verbs.command()(serve)


@verbs.command()
def mcp(model: Model) -> None:
    """Offer a model to language models: the tools search and fetch, over MCP on stdio."""
    from genir.serving.mcp import serve_tools

    serve_tools(model)


@verbs.command()
def demo(
    quick: Annotated[bool, typer.Option(help="a short form: a minute of training")] = False,
    serve: Annotated[bool, typer.Option(help="open the search page at the end")] = False,
    out: Annotated[Path, typer.Option(help="where corpus and model go")] = Path("demo"),
) -> None:
    """Tell the whole story on the embedded corpus: make it, train, evaluate, answer."""
    from genir.demo import run_demo

    run_demo(out, quick, serve)
