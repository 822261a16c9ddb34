"""Compare a trained model with its baselines on the test queries, as written and misspelt."""

from pathlib import Path
from typing import Any

from benchmarks.recipes.corpora import seen_documents
from benchmarks.recipes.plan import digest_of
from genir.corpus.readers import read_qrels, read_queries
from genir.corpus.typos import misspell
from genir.evaluation.compare import Comparison, Means, Options, compare
from genir.evaluation.latency import latencies
from genir.evaluation.measures import judgements
from genir.evaluation.runner import BASELINES, GENIR, build_baselines
from genir.retriever import Retriever
from genir.types import Searcher

TIMED_QUERIES = 30


def measure(model: Path, corpus: Path) -> dict[str, Any]:
    """Return the figures of a result.

    `ranks` and `ranks_misspelt` are ranks of the first relevant document among the first ten, 0
    without one, in the order of the qrels; `unseen` are positions in them of queries on unseen
    documents.
    """
    retriever = Retriever.load(model)
    texts = read_queries(corpus / "queries.jsonl")
    qrels = read_qrels(corpus / "qrels" / "test.tsv", texts, retriever.table)
    queries = [texts[key] for key in judgements(qrels)]
    systems: dict[str, Searcher] = {GENIR: retriever, **build_baselines(retriever, BASELINES)}
    seen, options = seen_documents(corpus), Options(typos=False, latency_queries=0)
    plain = compare(systems, queries, qrels, seen=seen, options=options)
    misspelt = compare(systems, misspell(queries, 0), qrels, seen=seen, options=options)
    order = [query.key for query in plain.queries]
    on_seen = {qrel.query for qrel in qrels if qrel.grade > 0 and qrel.document in seen}
    timed = latencies({GENIR: retriever}, [query.text for query in queries[:TIMED_QUERIES]])
    kinds = {"all": plain.overall, "seen": plain.seen, "unseen": plain.unseen}
    return {
        "queries": {kind: means.queries for kind, means in kinds.items()},
        "asked": digest_of([order, sorted(seen)]),
        "systems": {
            name: _figures(name, {**kinds, "misspelt": misspelt.overall}) for name in systems
        },
        "p_values": plain.p_values["RR@10"],
        "latency_ms": {name: round(own.p50, 2) for name, own in timed.items()},
        "bytes_per_document": {n: round(v) for n, v in plain.bytes_per_document.items()},
        "ranks": _ranks(plain),
        "ranks_misspelt": _ranks(misspelt),
        "unseen": [position for position, query in enumerate(order) if query not in on_seen],
    }


def _figures(system: str, kinds: dict[str, Means]) -> dict[str, dict[str, float]]:
    return {
        kind: {measure: round(value, 5) for measure, value in means.systems[system].items()}
        for kind, means in kinds.items()
        if means.queries
    }


def _ranks(comparison: Comparison) -> list[int]:
    values = comparison.values[GENIR]["RR@10"]
    return [round(1 / values[q.key]) if values[q.key] else 0 for q in comparison.queries]
