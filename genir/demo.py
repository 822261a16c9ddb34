"""The whole story on the embedded corpus: make it, train, evaluate, answer, say what comes next."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from genir.corpus.python_docs import make_python_docs
from genir.evaluation.report import write_report
from genir.evaluation.session import BASELINES, compare_model, print_wide
from genir.evaluation.sheets import to_terminal
from genir.retriever import Retriever
from genir.training.job import Job, train

QUESTIONS = (
    "copy a whole directory tree",
    "wait until all threads have finished",
    "how do I parse a date from a string",
    "compress a file with gzip",
    "run a command in a subprocess and get its output",
)

QUICK = ("training.max_steps=40", "training.batch_size=64", "training.dev_queries=100")
"""The short form: proves that everything works, trains too little to be good."""


def run_demo(folder: Path, quick: bool, serve: bool) -> None:
    """Make corpus and model below `folder`, evaluate against the baselines, answer questions.

    A corpus or model that stands there from an earlier run is made anew.
    """
    console = Console()
    corpus, model = folder / "python-docs", folder / "model"
    _title(console, 1, "the corpus: what this Python's standard library says of itself")
    made, modules = make_python_docs(corpus, overwrite=True)
    console.print(
        f"{len(made.documents):,} entries of {len(modules.imported)} modules. "
        f"{len(made.queries):,} sentences were cut out of their texts to serve as queries: the "
        "documentation wrote them, not people.",
        highlight=False,
    )
    _title(console, 2, "training: every entry becomes an identifier that the model emits")
    settings = QUICK if quick else ()
    retriever = train(Job("default", corpus, model, settings=settings, overwrite=True))
    _title(console, 3, "evaluation: beside BM25, a dense retriever and the fusion of both")
    _evaluate(console, retriever, corpus, folder / "report", quick)
    _title(console, 4, "answers: five questions that the corpus did not write")
    _answer(console, retriever, QUESTIONS)
    _title(console, 5, "next")
    _next_steps(console, folder)
    if serve:
        from genir.serving.server import serve as serve_model

        serve_model(model, open_browser=True, examples=QUESTIONS)


def _title(console: Console, number: int, text: str) -> None:
    console.rule(f"[bold]{number}. {text}", align="left")


def _evaluate(
    console: Console, retriever: Retriever, corpus: Path, report: Path, quick: bool
) -> None:
    qrels = corpus / "qrels" / "test.tsv"
    comparison = compare_model(retriever, corpus / "queries.jsonl", qrels, BASELINES)
    print_wide(to_terminal(comparison))
    path = write_report(comparison, report, "genir demo: Python's documentation")
    console.print(f"the same with a chart: {path}", highlight=False)
    if quick:
        console.print("(--quick trains for a minute only: these figures are no measure of genir)")


def _answer(console: Console, retriever: Retriever, questions: Sequence[str]) -> None:
    for question, hits in zip(questions, retriever.search(list(questions), k=3), strict=True):
        table = Table(title=question, title_justify="left", box=None, show_header=False)
        for hit in hits:
            key, text = escape(hit.key), escape(hit.snippet[:90])
            table.add_row(str(hit.rank), f"[bold]{key}[/]", f"[dim]{text}[/]")
        console.print(table)


def _next_steps(console: Console, folder: Path) -> None:
    for command, what in (
        (". .venv/bin/activate", "if `make demo` set it up"),
        (f'genir search {folder}/model "your question"', "ask it something"),
        (f"python serve.py {folder}/model", "a search page and an HTTP API"),
        (f"genir identifiers {folder}/python-docs --scheme residual", "other identifiers"),
        ("python train.py default --corpus YOUR_FOLDER --out my-model", "your own documents"),
    ):
        console.print(f"  {command}   [dim]# {what}[/]", highlight=False, soft_wrap=True)
