"""Verbs that query a model, serve it, and run the demo."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from genir.arguments import is_blank
from genir.cli.options import (
    AsJson,
    Conditions,
    Model,
    PrecisionOption,
    Rerank,
    load_searcher,
    read_conditions,
    require_model,
)
from genir.console import print_json, print_line, print_table
from genir.errors import InputError
from genir.serving.cli import serve
from genir.types import Hit

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
    rerank: Rerank = None,
    as_json: AsJson = False,
    precision: PrecisionOption = "auto",
) -> None:
    """Search with one query."""
    if is_blank(query):
        raise InputError("the query is empty; give some text")
    retriever = load_searcher(model, precision, rerank)
    hits = retriever.search([query], k, read_conditions(where, retriever.documents), beams, exact)[
        0
    ]
    if as_json:
        values: dict[str, Any] = {"hits": [_fields(hit) for hit in hits]}
        if hits.proven is not None:
            values["proven"] = hits.proven
        print_json(values)
        return
    for hit in hits:
        facts = "  ".join(filter(None, (f"{hit.score:.3f}", hit.url)))
        title = ("  " + hit.title, "bold") if hit.title else ""
        print_line(f"{hit.rank:>3}  ", (hit.key, "bold"), (f"  {facts}", "dim"), title)
        if hit.unit is not None and hit.unit.heading:
            print_line("     ", (hit.unit.heading, "bold"))
        print_line(f"     {hit.snippet}")
    if not hits:
        print_line("no document matches the filter")
    if hits.proven is not None:
        proof = "proven" if hits.proven else "not proven: the [decoding] max_nodes ran out"
        print_line((proof, "dim"))
    if retriever.reranker is not None:
        cost = retriever.reranker.cost(retriever.recipe.rerank.top_n)
        print_line((f"re-ranked: {cost}", "dim"))


def _fields(hit: Hit) -> dict[str, Any]:
    """Return the fields of a hit; without `unit` if the model has no units."""
    return {name: value for name, value in asdict(hit).items() if value is not None}


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
    """Show at each level how a document was ranked, and where beam search dropped it."""
    if is_blank(query):
        raise InputError("the query is empty; give some text")
    retriever = load_searcher(model, precision)
    from genir.evaluation.explain import explain, to_table

    found = explain(retriever, query, key, beams, read_conditions(where, retriever.documents))
    if as_json:
        print_json(asdict(found))
        return
    if found.levels:
        print_table(to_table(found))
    print_line(found.text)


verbs.command()(serve)


@verbs.command()
def mcp(model: Model) -> None:
    """Serve the tools search and fetch to language models, over MCP on stdio."""
    require_model(model)
    from genir.integrations.mcp import serve_tools

    serve_tools(model)


@verbs.command()
def demo(
    quick: Annotated[bool, typer.Option(help="short version: one minute of training")] = False,
    serve: Annotated[bool, typer.Option(help="open the search page at the end")] = False,
    out: Annotated[Path, typer.Option(help="folder for corpus and model")] = Path("demo"),
) -> None:
    """Run everything on the embedded corpus: extract it, train, evaluate and search."""
    from genir.demo import run_demo

    run_demo(out, quick, serve)
