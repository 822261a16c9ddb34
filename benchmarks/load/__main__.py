"""Load-test a server on a copy of the model: throughput, latency, status codes, memory."""

from genir.signals import guard

guard(__name__)  # before the slow imports

import json
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.load.run import Load, few_searches_warning, run_load
from genir.cli import guarded
from genir.cli.options import JsonFile, Model
from genir.console import print_line
from genir.outputs import check_distinct, write_text


def main(
    model: Model,
    queries: Annotated[
        Path | None, typer.Option(help="queries.jsonl or .tsv; default: passages of documents")
    ] = None,
    clients: Annotated[int, typer.Option(help="number of concurrent clients", min=1)] = 64,
    minutes: Annotated[float, typer.Option(help="duration in minutes", min=0.01)] = 5.0,
    batching: Annotated[bool, typer.Option(help="batch the queries of several clients")] = True,
    changes: Annotated[bool, typer.Option(help="add and delete documents meanwhile")] = True,
    json_file: JsonFile = None,
) -> None:
    """Load-test a server on a copy of the model: throughput, latency, status codes, memory."""
    check_distinct({"--json": json_file}, {"MODEL": model, "--queries": queries})
    figures = run_load(model, queries, Load(clients, minutes * 60, batching, changes))
    if json_file is not None:
        write_text(json_file, json.dumps(figures, indent=2) + "\n")
    for name, value in figures.items():
        print_line(f"{name}: {value}")
    if note := few_searches_warning(figures["searches"]):
        print_line(note, stderr=True)


if __name__ == "__main__":
    guarded(lambda: typer.run(main))
