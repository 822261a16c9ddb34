"""The command line: the verbs of genir. `train.py` and `serve.py` are thin doors into it.

Exit codes: 0 fine, 2 bad input (one clear message, no traceback), 1 a bug, 130 interrupted.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from genir.errors import InputError
from genir.serving.verb import load, serve, token_app

app = typer.Typer(
    name="genir",
    help="Generative retrieval: a sequence-to-sequence model that is the search engine.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
corpus_app = typer.Typer(help="Make corpus folders.", no_args_is_help=True)
benchmark_app = typer.Typer(help="Measure speed against peers.", no_args_is_help=True)
app.add_typer(corpus_app, name="corpus")
app.add_typer(benchmark_app, name="benchmark")
app.add_typer(token_app, name="token")


def _refuse_place(path: Path | None) -> Path | None:
    """Refuse a file that could not be written, before the work whose result goes there."""
    if path is not None and not path.parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.parent}; make it, or name another file")
    if path is not None and path.is_dir():
        raise InputError(f"{path}: is a folder; name a file")
    return path


Model = Annotated[Path, typer.Argument(help="a model folder", metavar="MODEL", show_default=False)]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="change a recipe key: training.epochs=1")
]
Conditions = Annotated[
    list[str] | None, typer.Option("--where", help="metadata a hit must have: lang=en")
]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]
JsonFile = Annotated[
    Path | None, typer.Option("--json", help="write JSON here", callback=_refuse_place)
]
Overwrite = Annotated[bool, typer.Option(help="replace what stands at the output")]


def guarded(run: Callable[[], Any]) -> None:
    """Run a command; turn the user's mistakes into one message and exit code 2."""
    from genir.training.signals import Stopped

    errors = Console(stderr=True, soft_wrap=True)
    try:
        run()
    except InputError as error:
        errors.print(f"error: {error}", style="red", markup=False, highlight=False)
        sys.exit(2)
    except Stopped:
        errors.print("stopped; a checkpoint is saved: the same with --resume goes on from it")
        sys.exit(130)


def main() -> None:
    """Run `genir`."""
    guarded(app)


def run_train() -> None:
    """Run `train.py`."""
    guarded(lambda: typer.run(train))


def run_serve() -> None:
    """Run `serve.py`."""
    guarded(lambda: typer.run(serve))


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="a recipe's name, or the path of a .toml file")],
    corpus: Annotated[Path, typer.Option(help="corpus folder, .jsonl, .tsv, or folder of pages")],
    out: Annotated[Path, typer.Option(help="the model folder to write")],
    queries: Annotated[Path | None, typer.Option(help="train queries [the corpus's own]")] = None,
    qrels: Annotated[Path | None, typer.Option(help="their judgements [qrels/train.tsv]")] = None,
    settings: Settings = None,
    resume: Annotated[bool, typer.Option(help="go on with an interrupted training")] = False,
    overwrite: Overwrite = False,
    base_url: Annotated[str, typer.Option(help="of a folder of pages: URL = this + path")] = "",
) -> None:
    """Train a recipe on a corpus; write a model folder."""
    from accelerate import PartialState

    from genir.training.job import Job, train

    job = Job(recipe, corpus, out, queries, qrels, settings or [], resume, overwrite, base_url)
    retriever = train(job)
    if PartialState().is_main_process:
        name = escape(str(out))
        Console(stderr=True).print(f"[bold]{name}[/]: {len(retriever.documents):,} documents. Try:")
        typer.echo(f'genir search {out} "your question"')


app.command()(serve)


@app.command()
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
) -> None:
    """Ask a model one question."""
    from genir.retriever import Retriever

    if not query.strip():
        raise InputError("the query is empty; ask a question")
    retriever = Retriever.from_pretrained(str(model))
    hits = retriever.search([query], k, _conditions(where), beams, exact)[0]
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


@app.command()
def explain(
    model: Model,
    query: Annotated[str, typer.Argument(help="a question", show_default=False)],
    key: Annotated[str, typer.Argument(help="a document's key", show_default=False)],
    where: Conditions = None,
    beams: Annotated[
        int | None, typer.Option(help="beam width; default: the recipe's", min=1)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show where a document was won or lost, level by level."""
    from genir.evaluation.explain import explain, to_table
    from genir.retriever import Retriever

    retriever = Retriever.from_pretrained(str(model))
    found = explain(retriever, query, key, beams, _conditions(where))
    if as_json:
        typer.echo(json.dumps(asdict(found), ensure_ascii=False))
        return
    console = Console()
    if found.levels:
        console.print(to_table(found))
    console.print(found.text, markup=False, highlight=False)


def _conditions(where: list[str] | None) -> dict[str, Any]:
    conditions: dict[str, Any] = {}
    for item in where or []:
        field, equals, value = item.partition("=")
        if not equals or not field:
            raise InputError(f"--where {item!r}: write it as field=value, such as lang=en")
        conditions.setdefault(field, []).extend(_readings(value))
    return conditions


def _readings(value: str) -> list[Any]:
    """Return what a value may mean: a number or truth value as JSON writes it, and the text."""
    try:
        read = json.loads(value, parse_constant=str)
    except ValueError:
        return [value]
    return [read, value] if isinstance(read, int | float) else [value]


@app.command()
def evaluate(
    model: Model,
    queries: Annotated[Path, typer.Option(help="queries.jsonl or .tsv")],
    qrels: Annotated[Path, typer.Option(help="judgements: BEIR or TREC")],
    baselines: Annotated[str, typer.Option(help="to measure beside it")] = "bm25,dense,rrf",
    run: Annotated[
        Path | None, typer.Option(help="write a TREC run file here", callback=_refuse_place)
    ] = None,
    json_file: JsonFile = None,
    report: Annotated[
        Path | None, typer.Option(help="write a Markdown report folder here", file_okay=False)
    ] = None,
    typos: Annotated[bool, typer.Option(help="ask misspelt queries too")] = True,
    timed: Annotated[int, typer.Option(help="queries to time, one at a time", min=0)] = 200,
    diagnose: Annotated[bool, typer.Option(help="find out what beam search loses")] = False,
) -> None:
    """Measure a model beside BM25, the dense retriever and their fusion, on the same queries."""
    from genir.evaluation.compare import Options
    from genir.evaluation.session import Outputs, evaluate

    outputs = Outputs(run, json_file, report)
    options = Options(typos, timed, diagnose=diagnose)
    evaluate(model, queries, qrels, baselines, outputs, options)


@app.command()
def identifiers(
    corpus: Annotated[Path, typer.Argument(help="a corpus")],
    scheme: Annotated[str, typer.Option(help="such as atomic, residual, url, title")],
    settings: Settings = None,
    encoder: Annotated[str, typer.Option(help="whose tokenizer and vectors are used")] = "minilm",
    plot: Annotated[
        Path | None, typer.Option(help="draw it into this PNG", callback=_refuse_place)
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Report the quality of a corpus's identifiers, before any training."""
    from genir.training.preview import preview_identifiers

    preview_identifiers(corpus, scheme, settings or [], encoder, (plot, json_file))


@app.command()
def inspect(model: Model, as_json: AsJson = False) -> None:
    """Show what is in a model folder, checking every file."""
    from genir.retriever import Retriever

    retriever = Retriever.load(model)
    facts = {k: v for k, v in retriever.manifest.items() if k != "files"}
    facts["live documents"] = len({*retriever.table.documents[retriever.table.live].tolist()})
    facts["parameters"] = retriever.parameters
    facts["bytes"] = sum(file["bytes"] for file in retriever.manifest["files"].values())
    metrics = json.loads(retriever.attachments.get("metrics.json", b"{}"))
    facts["dev"] = {k: v for k, v in metrics.get("dev", {}).items() if k in ("RR@10", "Success@10")}
    if as_json:
        typer.echo(json.dumps(facts))
        return
    table = Table(show_header=False, box=None)
    for name, value in facts.items():
        table.add_row(name, f"{value:,}" if isinstance(value, int) else str(value))
    Console().print(table)


@app.command()
def recipes() -> None:
    """List the recipes that come with genir."""
    from genir.config import load_recipe, recipe_names

    table = Table("recipe", "what it is", "paper", box=None)
    for name in recipe_names():
        recipe = load_recipe(name)
        table.add_row(name, recipe.description, recipe.paper)
    Console().print(table)


@app.command("generate-queries")
def generate_queries(
    corpus: Annotated[Path, typer.Argument(help="a corpus", show_default=False)],
    out: Annotated[Path, typer.Option(help="the .jsonl file to write", callback=_refuse_place)],
    model: Annotated[
        str, typer.Option(help="a recipe to train, its model folder, or a transformers model")
    ] = "query-generator",
    queries: Annotated[Path | None, typer.Option(help="train queries [the corpus's own]")] = None,
    qrels: Annotated[Path | None, typer.Option(help="their judgements [qrels/train.tsv]")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="change a [pseudo] key: count=10, noise=0.1")
    ] = None,
    resume: Annotated[bool, typer.Option(help="go on with an interrupted run")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Make up queries for every document: one {"document", "text"} a line."""
    from genir.training.generate import Request, generate_queries

    generate_queries(Request(corpus, out, model, queries, qrels, settings or [], resume, overwrite))


@corpus_app.command("python-docs")
def python_docs(
    out: Annotated[Path, typer.Argument(help="the corpus folder to write")],
    packages: Annotated[list[str] | None, typer.Option(help="further packages to read")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Make a corpus from the docstrings of this Python's standard library."""
    from genir.corpus.python_docs import make_python_docs

    made, modules = make_python_docs(out, packages or [], overwrite)
    Console().print(
        f"{out}: {len(made.documents):,} entries of {len(modules.imported):,} modules "
        f"({len(modules.skipped)} could not be imported), {len(made.queries):,} queries.\n"
        "The queries are sentences cut out of the documentation itself.",
        highlight=False,
    )


@benchmark_app.command("latency")
def latency(
    model: Model,
    queries: Annotated[Path, typer.Option(help="queries.jsonl or .tsv")],
    count: Annotated[int, typer.Option(help="queries to time", min=1)] = 200,
    json_file: JsonFile = None,
) -> None:
    """Time one query at a time: the model, the dense retriever and BM25, alternating."""
    from genir.evaluation.session import benchmark_latency

    benchmark_latency(model, queries, count, json_file)


@benchmark_app.command("decode")
def decode(
    quick: Annotated[bool, typer.Option(help="one small cell: half a minute")] = False,
    corpus: Annotated[
        Path | None, typer.Option(help="decode the URLs of this corpus folder, not codes")
    ] = None,
    sizes: Annotated[
        bool, typer.Option(help="genir alone on 10 thousand, 1 million and 10 million identifiers")
    ] = False,
    turns: Annotated[int, typer.Option(help="how often each is timed", min=1)] = 3,
    json_file: JsonFile = None,
    plot: Annotated[
        Path | None, typer.Option(help="write a chart here, a PNG", callback=_refuse_place)
    ] = None,
) -> None:
    """Time genir's decoder and transformers' `generate` on the same weights and identifiers."""
    from genir.evaluation.decode_speed import Request, run_benchmark

    run_benchmark(Request(quick, corpus, sizes, turns), json_file, plot)


benchmark_app.command()(load)


@app.command()
def demo(
    quick: Annotated[bool, typer.Option(help="a short form: a minute of training")] = False,
    serve: Annotated[bool, typer.Option(help="open the search page at the end")] = False,
    out: Annotated[Path, typer.Option(help="where corpus and model go")] = Path("demo"),
) -> None:
    """Tell the whole story on the embedded corpus: make it, train, evaluate, answer."""
    from genir.demo import run_demo

    run_demo(out, quick, serve)
