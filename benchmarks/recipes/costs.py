"""Estimate what each recipe costs, from the results on tldr-unseen, for `genir/recipe_facts.toml`.

Minutes of a training of 10,000 documents with one train query each on two cores: seconds per step
of the row on a CPU, times the steps of the recipe's own epochs, plus preparation and finishing in
proportion to the documents. Prerequisites (generators, first stages) are included with their own
epochs. The rows were measured on machines that did other work, so the fastest row of a recipe
counts. Bytes are those of the row.

    python -m benchmarks.recipes.costs CORPUS

CORPUS is tldr; examples per document are counted on its first 1,000 documents.
"""

import json
import math
from collections import defaultdict
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.provenance import TOP
from genir.config import Recipe, load_recipe, recipe_names
from genir.console import print_line
from genir.corpus.readers import read_corpus
from genir.identifiers.table import IdentifierTable
from genir.tasks.registry import build_mixture
from genir.types import Document

RESULTS = TOP / "docs" / "results" / "recipes"
DOCUMENTS, SAMPLE = 10_000, 1_000
TLDR_DOCUMENTS = 6_825

Part = dict[str, Any]
"""One training of a row: recipe, steps, seconds."""


def costs(corpus: Path) -> dict[str, tuple[float | None, int | None]]:
    """Return the minutes and the bytes per document of each recipe; None if not measured."""
    documents = list(islice(read_corpus(corpus), SAMPLE))
    rows = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("tldr-unseen-*.json"))]
    rows = [row for row in rows if "2 cores" in row["processor"]]
    speed: dict[str, float] = defaultdict(lambda: math.inf)
    fixed: dict[str, float] = defaultdict(lambda: math.inf)
    for part in (part for row in rows for part in row["trained"]):
        name, seconds = part["recipe"], part["seconds"]
        speed[name] = min(speed[name], seconds["training"] / max(1, part["steps"]))
        fixed[name] = min(fixed[name], seconds["preparing"] + seconds["finishing"])
    found: dict[str, tuple[float | None, int | None]] = {}
    for name in recipe_names():
        own = [row for row in rows if row["row"] == name]
        if not own:
            found[name] = None, None
            continue
        names = [part["recipe"] for part in own[0]["trained"]]
        known = all(one in recipe_names() for one in names)
        seconds = sum(
            speed[one] * _steps(load_recipe(one), documents)
            + fixed[one] * DOCUMENTS / TLDR_DOCUMENTS
            for one in names
            if one in recipe_names()
        )
        found[name] = (seconds / 60 if known else None), own[0]["bytes_per_document"]["genir"]
    return found


def _steps(recipe: Recipe, documents: list[Document]) -> int:
    """Return the steps of a recipe's epochs over `DOCUMENTS` documents with a query each."""
    count = len(documents)
    generated = recipe.pseudo_queries.count if recipe.pseudo_queries.source else 0
    queries = {
        document.key: [f"{document.title} {n}" for n in range(1 + generated)]
        for document in documents
    }
    symbols = np.arange(count)[:, None]
    table = IdentifierTable(symbols, np.arange(count), [document.key for document in documents])
    examples = build_mixture(recipe.tasks, 0).epoch(0, documents, table, queries)
    each = len(examples) / count
    training = recipe.training
    return math.ceil(DOCUMENTS * each * training.epochs / training.batch_size)


def main(corpus: Annotated[Path, typer.Argument(help="the corpus tldr")]) -> None:
    """Print minutes and bytes of each recipe as TOML."""
    for name, (minutes, size) in costs(corpus).items():
        print_line(f"[{name}]")
        if minutes is not None:
            print_line(f"minutes = {minutes:.0f}")
        if size is not None:
            print_line(f"bytes_per_document = {size}")


if __name__ == "__main__":
    typer.run(main)
