"""A trained model beside its baselines on a collection's test queries, spelt right and misspelt."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.contents import digest_of
from benchmarks.corpora import seen_documents
from benchmarks.origin import commit
from benchmarks.searchers import Bare, Remembered, remembered
from genir.corpus.folder import read_qrels, read_queries
from genir.corpus.typos import misspell
from genir.evaluation.compare import Comparison, Means, Options, compare
from genir.evaluation.latency import latencies
from genir.evaluation.measures import judgements
from genir.evaluation.session import BASELINES, GENIR, fit_baselines
from genir.manifest import sha256
from genir.models.digests import weights_digest
from genir.models.encoder import MINILM
from genir.records import Qrel, Searcher
from genir.retriever import Retriever


@dataclass(frozen=True)
class Asking:
    """What is asked: a corpus folder's test queries, of which so many are timed one by one.

    work: where the baselines' answers are kept for other rows.
    """

    corpus: Path
    work: Path
    timed: int


def measure(model: Path, asking: Asking) -> dict[str, Any]:
    """Return a result's figures: by system and kind of query, and the model's own by query.

    ranks, ranks_misspelt: of the first relevant document in the first ten of each query, 0 where
    there is none, in the order of the qrels. unseen: places in it of queries on unseen documents.
    """
    retriever, corpus = Retriever.load(model), asking.corpus
    texts = read_queries(corpus / "queries.jsonl")
    qrels = read_qrels(corpus / "qrels" / "test.tsv", texts, retriever.table)
    right = [texts[key] for key in judgements(qrels)]
    wrong = misspell(right, 0)
    known = _baselines(retriever, asking, [query.text for query in (*right, *wrong)])
    systems: dict[str, Searcher] = {GENIR: Bare(retriever), **known}
    seen, options = seen_documents(corpus), Options(typos=False, timed=0)
    plain = compare(systems, right, qrels, seen=seen, options=options)
    misspelt = compare(systems, wrong, qrels, seen=seen, options=options)
    order = [query.key for query in plain.queries]
    timed = latencies({GENIR: retriever}, [query.text for query in right[: asking.timed]])
    return {
        "queries": {kind: means.queries for kind, means in _kinds(plain).items()},
        "asked": digest_of([order, sorted(seen)]),
        "systems": {name: _figures(name, plain, misspelt) for name in systems},
        "p_values": plain.p_values["RR@10"],
        "latency_ms": {name: round(own.p50, 2) for name, own in timed.items()},
        "bytes_per_document": {n: round(v) for n, v in plain.bytes_per_document.items()},
        "ranks": _ranks(plain),
        "ranks_misspelt": _ranks(misspelt),
        "unseen": [place for place, known in enumerate(_known(order, qrels, seen)) if not known],
    }


def _baselines(retriever: Retriever, asking: Asking, texts: Sequence[str]) -> dict[str, Remembered]:
    """Return the baselines' answers: of these documents and texts, by this code and encoder."""
    encoder = weights_digest(str(retriever.recipe.model.options.get("encoder", MINILM)))
    facts = [sha256(asking.corpus / "corpus.jsonl"), list(texts), encoder, commit()]
    name = f"{asking.corpus.name}-{digest_of(facts)}"
    return remembered(asking.work, name, texts, lambda: fit_baselines(retriever, BASELINES))


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
