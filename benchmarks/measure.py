"""A trained model beside its baselines on a collection's test queries, spelt right and misspelt."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.corpora import seen_documents
from benchmarks.plan import digest_of
from genir.corpus.folder import read_qrels, read_queries
from genir.corpus.typos import misspell
from genir.evaluation.compare import Comparison, Means, Options, compare
from genir.evaluation.session import BASELINES, GENIR, fit_baselines
from genir.records import Qrel, Searcher
from genir.retriever import Retriever


def measure(model: Path, corpus: Path, timed: int) -> dict[str, Any]:
    """Return a result's figures: by system and kind of query, and the model's own by query.

    ranks, ranks_misspelt: of the first relevant document in the first ten of each query, 0 where
    there is none, in the order of the qrels. unseen: places in it of queries on unseen documents.
    """
    retriever = Retriever.load(model)
    texts = read_queries(corpus / "queries.jsonl")
    qrels = read_qrels(corpus / "qrels" / "test.tsv", texts, retriever.table)
    systems: dict[str, Searcher] = {GENIR: retriever, **fit_baselines(retriever, BASELINES)}
    seen = seen_documents(corpus)
    plain = _compare(systems, list(texts.values()), qrels, (seen, timed))
    wrong = _compare(systems, misspell(plain.queries, 0), qrels, (seen, 0))
    order = [query.key for query in plain.queries]
    return {
        "queries": {kind: means.queries for kind, means in _kinds(plain).items()},
        "asked": digest_of([order, sorted(seen)]),
        "systems": {name: _figures(name, plain, wrong) for name in systems},
        "p_values": plain.p_values["RR@10"],
        "latency_ms": {name: round(own.p50, 2) for name, own in plain.latency.items()},
        "bytes_per_document": {n: round(v) for n, v in plain.bytes_per_document.items()},
        "ranks": _ranks(plain),
        "ranks_misspelt": _ranks(wrong),
        "unseen": [place for place, known in enumerate(_known(order, qrels, seen)) if not known],
    }


def _compare(
    systems: dict[str, Searcher],
    queries: Sequence[Any],
    qrels: list[Qrel],
    how: tuple[set[str], int],
) -> Comparison:
    seen, timed = how
    return compare(systems, queries, qrels, seen=seen, options=Options(typos=False, timed=timed))


def _kinds(comparison: Comparison) -> dict[str, Means]:
    return {"all": comparison.overall, "seen": comparison.seen, "unseen": comparison.unseen}


def _figures(name: str, plain: Comparison, wrong: Comparison) -> dict[str, dict[str, float]]:
    kinds = {**_kinds(plain), "misspelt": wrong.overall}
    return {
        kind: {measure: round(value, 5) for measure, value in means.systems[name].items()}
        for kind, means in kinds.items()
        if means.queries
    }


def _ranks(comparison: Comparison) -> list[int]:
    values = comparison.values[GENIR]["RR@10"]
    return [round(1 / values[q.key]) if values[q.key] else 0 for q in comparison.queries]


def _known(order: Sequence[str], qrels: Sequence[Qrel], seen: set[str]) -> list[bool]:
    known = {qrel.query for qrel in qrels if qrel.grade > 0 and qrel.document in seen}
    return [query in known for query in order]
