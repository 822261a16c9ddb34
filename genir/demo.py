"""Demo on the embedded corpus: extract it, train, evaluate, search, and suggest next steps."""

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from genir.console import command, one_line, print_line, print_table, styled
from genir.corpus.python_docs import make_python_docs
from genir.evaluation.report import check_report, write_report
from genir.evaluation.runner import BASELINES, compare_model
from genir.evaluation.tables import to_terminal
from genir.retriever import Retriever
from genir.training.job import TrainingJob
from genir.training.pipeline import train

QUESTIONS = (
    "copy a whole directory tree",
    "wait until all threads have finished",
    "how do I parse a date from a string",
    "compress a file with gzip",
    "run a command in a subprocess and get its output",
)

QUICK = ("training.max_steps=40", "training.batch_size=64", "training.dev_queries=100")
"""Settings of the short version: too little training for good results."""


def run_demo(folder: Path, quick: bool, serve: bool) -> None:
    """Make corpus and model below `folder`, evaluate against the baselines, and search.

    Corpus and model of an earlier run are replaced.
    """
    corpus, model = folder / "python-docs", folder / "model"
    check_report(folder / "report")
    _title(1, "the corpus: docstrings of the Python standard library")
    made, modules = make_python_docs(corpus, overwrite=True)
    print_line(
        f"{len(made.documents):,} entries of {len(modules.imported)} modules. "
        f"{len(made.queries):,} sentences were removed from their texts to serve as queries: they "
        "come from the documentation, not from users."
    )
    _title(2, "training: the model learns to generate the identifier of each entry")
    settings = QUICK if quick else ()
    retriever = train(TrainingJob("default", corpus, model, settings=settings, overwrite=True))
    _title(3, "evaluation: against BM25, a dense retriever and their fusions")
    _evaluate(retriever, corpus, folder / "report", quick)
    _title(4, "search: five questions that are not from the corpus")
    _answer(retriever, QUESTIONS)
    _title(5, "next")
    _next_steps(folder)
    if serve:
        from genir.serving.server import serve as serve_model

        serve_model(model, open_browser=True, examples=QUESTIONS)


def _title(number: int, text: str) -> None:
    print_line()
    print_line((f"{number}. {text}", "bold"))


def _evaluate(retriever: Retriever, corpus: Path, report: Path, quick: bool) -> None:
    qrels = corpus / "qrels" / "test.tsv"
    comparison = compare_model(retriever, corpus / "queries.jsonl", qrels, BASELINES)
    print_table(to_terminal(comparison))
    path = write_report(comparison, report, "genir demo: Python's documentation")
    print_line(f"the same with a chart: {path}")
    if quick:
        print_line("(--quick trains for one minute only: these figures are not representative)")


def _answer(retriever: Retriever, questions: Sequence[str]) -> None:
    for question, hits in zip(questions, retriever.search(list(questions), k=3), strict=True):
        table = Table(title=question, title_justify="left", box=None, show_header=False)
        for hit in hits:
            text = one_line(hit.snippet)[:90]
            table.add_row(str(hit.rank), styled((hit.key, "bold")), styled((text, "dim")))
        print_table(table)


def _next_steps(folder: Path) -> None:
    model, corpus = folder / "model", folder / "python-docs"
    for line, purpose in (
        (". .venv/bin/activate", "if `make demo` set it up"),
        (command("genir", "search", model) + ' "your question"', "search"),
        (command("python", "serve.py", model), "a search page and an HTTP API"),
        (command("genir", "identifiers", corpus, "--scheme", "residual"), "other identifiers"),
        ("python train.py default --corpus YOUR_FOLDER --out my-model", "your own documents"),
    ):
        print_line(f"  {line}   ", (f"# {purpose}", "dim"))
