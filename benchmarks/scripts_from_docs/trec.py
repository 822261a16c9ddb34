"""Readers of judgements and runs that the analyses share."""

from collections import defaultdict
from pathlib import Path


def read_gold(qrels: Path) -> dict[str, str]:
    """Return query -> relevant document of a BEIR qrels file with one document per query."""
    lines = qrels.read_text(encoding="utf-8").splitlines()[1:]
    return {query: document for query, document, _ in (line.split("\t") for line in lines)}


def read_hits(run: Path) -> dict[str, list[str]]:
    """Return query -> documents, best first, of a TREC run."""
    hits = defaultdict(list)
    for line in run.read_text(encoding="utf-8").splitlines():
        query, _, document, *_ = line.split()
        hits[query].append(document)
    return hits


def reciprocal_rank(hits: list[str], document: str, cutoff: int = 10) -> float:
    """Return 1 / rank of a document among the first hits, 0 if it is not there."""
    top = hits[:cutoff]
    return 1 / (1 + top.index(document)) if document in top else 0.0
