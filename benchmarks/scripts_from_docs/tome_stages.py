"""Compare both stages of a model of the recipe `tome-taught` with each stage alone.

Usage: python -m benchmarks.scripts_from_docs.tome_stages CORPUS MODEL
"""

import sys
from pathlib import Path
from statistics import fmean
from typing import Any

from scipy.stats import binomtest, ttest_rel

from benchmarks.scripts_from_docs.trec import reciprocal_rank
from genir.corpus.readers import read_train_queries
from genir.retriever import Retriever


def main(corpus: Path, folder: Path) -> None:
    """Print Success@1, Success@10 and RR@10 of three searches, and paired tests between them."""
    model = Retriever.load(folder)
    files = corpus / "queries.jsonl", corpus / "qrels" / "test.tsv"
    queries = read_train_queries(*files, set(model.table.keys))
    pairs = [(text, key) for key, texts in queries.items() for text in texts]
    decoding = model.recipe.decoding
    both = _ranks(model, pairs)
    passages = _ranks(model, pairs, decoding=decoding.model_copy(update={"query_weight": 0.0}))
    model.passage_stage = None
    alone = _ranks(model, pairs, first=None)
    for name, ranks in (("both", both), ("passages", passages), ("alone", alone)):
        first = fmean(rank == 1 for rank in ranks)
        found = fmean(rank > 0 for rank in ranks)
        sys.stdout.write(f"{name}: {first:.3f} {found:.3f} {fmean(ranks):.3f}\n")
    for own, other in ((both, alone), (alone, passages)):
        won, lost = _only(own, other), _only(other, own)
        p_found = binomtest(won, won + lost).pvalue
        p_rank = ttest_rel(own, other).pvalue
        sys.stdout.write(f"won {won}, lost {lost}: p = {p_found:.2g}; RR@10 p = {p_rank:.2g}\n")


def _ranks(model: Retriever, pairs: list[tuple[str, str]], **changes: Any) -> list[float]:
    """Return the reciprocal rank of each (query, key) pair, with changed keys of the recipe."""
    model.recipe = model.recipe.model_copy(update=changes)
    answers = model.search([text for text, _ in pairs], 10)
    keys = [[hit.key for hit in hits] for hits in answers]
    return [reciprocal_rank(own, key) for own, (_, key) in zip(keys, pairs, strict=True)]


def _only(own: list[float], other: list[float]) -> int:
    """Return the number of queries that only the first search answers."""
    return sum(a > b == 0 for a, b in zip(own, other, strict=True))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
