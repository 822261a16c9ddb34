"""Split new test queries off the train queries of a corpus folder."""

from genir.signals import guard

guard(__name__)  # the imports below take time

import random
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from common import Out, Overwrite, run

from genir.corpus.readers import read_corpus, read_qrels, read_queries
from genir.corpus.writer import check_target, write_corpus
from genir.errors import InputError
from genir.types import Document, Qrel

ABOUT = """
{queries:,} queries of the split `fresh` were drawn out of the train queries (seed {seed}); each
of their documents keeps another train query. {lines:,} lines that begin with one of them were taken
out of their documents.
"""


def main(
    source: Annotated[Path, typer.Argument(help="a corpus folder with qrels/train.tsv")],
    out: Out,
    queries: Annotated[int, typer.Option(min=1, help="how many to draw")] = 1000,
    seed: int = 0,
    overwrite: Overwrite = False,
) -> None:
    """Write a corpus folder with splits `train` and `fresh`, without the lines of the latter."""
    check_target(out, overwrite)
    corpus, texts = list(read_corpus(source)), read_queries(source)
    keys = {document.key for document in corpus}
    qrels = read_qrels(source / "qrels/train.tsv", texts, keys)
    fresh = draw(qrels, queries, seed)
    quoted: dict[str, set[str]] = defaultdict(set)
    for qrel in qrels:
        if qrel.query in fresh:
            quoted[qrel.document].add(texts[qrel.query].text.strip())
    cut = [without_lines(document, quoted.get(document.key, ())) for document in corpus]
    lost = sum(count for _, count in cut)
    splits = {
        "train": [qrel for qrel in qrels if qrel.query not in fresh],
        "fresh": [qrel for qrel in qrels if qrel.query in fresh],
    }
    about = ABOUT.format(queries=len(fresh), seed=seed, lines=lost)
    documents = [document for document, _ in cut]
    write_corpus(out, documents, texts.values(), splits, about, overwrite)


def draw(qrels: Sequence[Qrel], count: int, seed: int) -> set[str]:
    """Sample queries of which every document keeps another train query.

    Raises InputError if there are too few.
    """
    documents, asking = defaultdict(list), defaultdict(set)
    for qrel in qrels:
        documents[qrel.query].append(qrel.document)
        asking[qrel.document].add(qrel.query)
    order, drawn = sorted(documents), set[str]()
    left = {document: len(queries) for document, queries in asking.items()}
    random.Random(seed).shuffle(order)
    for query in order:
        if len(drawn) == count:
            break
        if all(left[document] > 1 for document in documents[query]):
            drawn.add(query)
            for document in documents[query]:
                left[document] -= 1
    if len(drawn) < count:
        raise InputError(
            f"only {len(drawn):,} of the train queries can be drawn, since each document keeps "
            f"one; ask for fewer than {count:,}"
        )
    return drawn


def without_lines(document: Document, begins: Collection[str]) -> tuple[Document, int]:
    """Remove the lines that begin with a text, and count them. At least one line is kept."""
    lines = document.text.split("\n")
    kept = [line for line in lines if not any(map(line.startswith, begins))]
    text = "\n".join(kept) or lines[0]
    links = document.links if text == document.text else ()  # their positions would be wrong
    return replace(document, text=text, links=links), len(lines) - len(kept)


if __name__ == "__main__":
    run(main)
