"""Verbs that train models, and prepare their inputs."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column, Table

from genir.cli.options import (
    AsJson,
    JsonFile,
    Overwrite,
    PrecisionOption,
    Settings,
    refuse_place,
    require_corpus,
    require_files,
)
from genir.config import Precision, load_recipe, recipe_names
from genir.console import command, print_json, print_line, print_table
from genir.plurals import counted

verbs = typer.Typer()
corpus_app = typer.Typer(help="Make corpus folders.", no_args_is_help=True)
verbs.add_typer(corpus_app, name="corpus")

BaseUrl = Annotated[str, typer.Option(help="prefix of page URLs: URL = prefix + path")]


@verbs.command()
def train(
    recipe: Annotated[
        str,
        typer.Argument(
            help="a recipe's name, or the path of a .toml file", autocompletion=recipe_names
        ),
    ],
    corpus: Annotated[Path, typer.Option(help="corpus folder, .jsonl, .tsv, or folder of pages")],
    out: Annotated[Path, typer.Option(help="the model folder to write")],
    queries: Annotated[Path | None, typer.Option(help="train queries [the corpus's own]")] = None,
    qrels: Annotated[Path | None, typer.Option(help="their judgements [qrels/train.tsv]")] = None,
    vectors: Annotated[
        Path | None,
        typer.Option(help="vectors of the documents by any model: .safetensors, .parquet, .npy"),
    ] = None,
    query_vectors: Annotated[
        Path | None, typer.Option(help="vectors of the train queries, in the same formats")
    ] = None,
    settings: Settings = None,
    resume: Annotated[bool, typer.Option(help="continue an interrupted training")] = False,
    overwrite: Overwrite = False,
    base_url: BaseUrl = "",
    precision: Annotated[
        Precision | None,
        typer.Option(help="of matrix products; auto: measured; default: the recipe's"),
    ] = None,
) -> None:
    """Train a recipe on a corpus; write a model folder."""
    changes = list(settings or [])
    if precision is not None:
        changes.append(f"training.precision={precision}")
    load_recipe(recipe, changes)
    require_corpus(corpus)
    require_files(queries, qrels, vectors, query_vectors)
    from accelerate import PartialState

    from genir import api

    retriever = api.train(
        corpus, recipe, out=out, queries=queries, qrels=qrels, settings=changes, resume=resume,
        overwrite=overwrite, base_url=base_url, vectors=vectors, query_vectors=query_vectors,
    )  # fmt: skip
    if PartialState().is_main_process:
        print_line(
            (str(out), "bold"),
            f": {counted(retriever.index.live_count, 'document')}. Try:",
            stderr=True,
        )
        print_line(command("genir", "search", out) + ' "your question"')


@verbs.command()
def identifiers(
    corpus: Annotated[Path, typer.Argument(help="a corpus")],
    scheme: Annotated[str, typer.Option(help="for example atomic, residual, url, title")],
    settings: Settings = None,
    encoder: Annotated[str, typer.Option(help="encoder for tokenizer and vectors")] = "minilm",
    plot: Annotated[
        Path | None, typer.Option(help="write a plot to this PNG", callback=refuse_place)
    ] = None,
    json_file: JsonFile = None,
    base_url: BaseUrl = "",
) -> None:
    """Report the quality of a corpus's identifiers, without training."""
    require_corpus(corpus)
    from genir.training.identifier_preview import preview_identifiers

    outputs = plot, json_file
    preview_identifiers(corpus, scheme, settings or [], encoder, outputs, base_url)


@verbs.command()
def recipes(
    papers: Annotated[bool, typer.Option("--papers", help="list the paper profiles")] = False,
    as_json: AsJson = False,
) -> None:
    """List the recipes that come with genir, by use; figures are estimates."""
    from genir.recipe_facts import GROUPS, read_facts

    if papers:
        _list_profiles()
        return
    facts = read_facts()
    if as_json:
        values = {name: one.model_dump() for name, one in facts.items()}
        about = {name: load_recipe(name) for name in facts}
        print_json(
            [
                {"recipe": name, "description": about[name].description,
                 "paper": about[name].paper, **own}
                for name, own in values.items()
            ]
        )  # fmt: skip
        return
    for number, (use, text) in enumerate(GROUPS.items()):
        if number:
            print_line()
        print_line((text, "bold"))
        # Names are not truncated: they are arguments of `genir train`.
        table = Table(Column("recipe", no_wrap=True), Column("description", ratio=1),
                      "train queries", Column("minutes", justify="right"),
                      Column("bytes", justify="right"), box=None)  # fmt: skip
        for name in (name for name, one in facts.items() if one.use == use):
            own = facts[name]
            table.add_row(name, load_recipe(name).description,
                          "needed" if own.needs_train_queries else "optional",
                          _figure(own.minutes), _figure(own.bytes_per_document))  # fmt: skip
        print_table(table)
    print_line()
    print_line(
        ("minutes: on two cores for 10,000 documents; bytes: of a document's identifier and "
         "parameters; -: not measured. The papers: genir recipes --json.", "dim"),
    )  # fmt: skip


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _list_profiles() -> None:
    """Print the names, descriptions and papers of the paper profiles."""
    from genir.config import profile_names

    names = profile_names()
    table = Table(Column("recipe", no_wrap=True, min_width=max(map(len, names))),
                  "description", "paper", box=None)  # fmt: skip
    for name in names:
        recipe = load_recipe(name)
        table.add_row(name, recipe.description, recipe.paper)
    print_table(table)


@verbs.command("generate-queries")
def generate_queries(
    corpus: Annotated[Path, typer.Argument(help="a corpus", show_default=False)],
    out: Annotated[Path, typer.Option(help="the .jsonl file to write", callback=refuse_place)],
    model: Annotated[
        str, typer.Option(help="a recipe to train, its model folder, or a transformers model")
    ] = "query-generator",
    queries: Annotated[Path | None, typer.Option(help="train queries [the corpus's own]")] = None,
    qrels: Annotated[Path | None, typer.Option(help="their judgements [qrels/train.tsv]")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="change a [pseudo_queries] key: count=10, noise=0.1"),
    ] = None,
    resume: Annotated[bool, typer.Option(help="continue an interrupted run")] = False,
    overwrite: Overwrite = False,
    precision: PrecisionOption = "auto",
) -> None:
    """Generate queries for every document: one {"document", "text"} per line."""
    require_corpus(corpus)
    require_files(queries, qrels)
    from genir.models.precision import override
    from genir.training.query_generation import GenerationRequest, generate_queries

    override(precision)
    generate_queries(
        GenerationRequest(corpus, out, model, queries, qrels, settings or [], resume, overwrite)
    )


@verbs.command("import")
def import_(
    out: Annotated[Path, typer.Argument(help="the model folder to write", show_default=False)],
    model: Annotated[Path, typer.Option(help="folder of a transformers encoder-decoder")],
    identifiers: Annotated[
        Path,
        typer.Option(help="identifiers of all documents, texts or token ids: .jsonl or .tsv"),
    ],
    corpus: Annotated[Path, typer.Option(help="corpus folder, .jsonl, .tsv, or folder of pages")],
    settings: Settings = None,
    overwrite: Overwrite = False,
    base_url: BaseUrl = "",
) -> None:
    """Make a model folder from an encoder-decoder that was trained elsewhere."""
    from genir.training.import_model import ImportRequest, import_model

    retriever = import_model(
        ImportRequest(model, identifiers, corpus, out, settings or [], overwrite, base_url)
    )
    print_line(
        (str(out), "bold"),
        f": {counted(retriever.index.live_count, 'document')}. Try:",
        stderr=True,
    )
    print_line(command("genir", "search", out) + ' "your question"')


@corpus_app.command("python-docs")
def python_docs(
    out: Annotated[Path, typer.Argument(help="the corpus folder to write")],
    packages: Annotated[list[str] | None, typer.Option(help="further packages to read")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Make a corpus from the docstrings of the Python standard library."""
    from genir.corpus.python_docs import make_python_docs

    made, modules = make_python_docs(out, packages or [], overwrite)
    print_line(
        f"{out}: {counted(len(made.documents), 'entry', 'entries')} of "
        f"{counted(len(modules.imported), 'module')} ({len(modules.skipped)} could not be "
        f"imported), {counted(len(made.queries), 'query', 'queries')}."
    )
    print_line("The queries are sentences removed from the documentation.")
