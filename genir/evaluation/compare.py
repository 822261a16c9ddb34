"""Comparison of systems on the same queries, measures and typing errors."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from genir.arguments import as_keys
from genir.corpus.json_lines import shorten
from genir.corpus.typos import misspell
from genir.errors import InputError
from genir.evaluation.latency import Latency, latencies
from genir.evaluation.measures import MEASURES, Values, evaluate, judgements, means
from genir.evaluation.significance import holm, p_greater
from genir.plurals import counted
from genir.progress import tracked
from genir.types import Hit, Qrel, Query, Searcher

RUN_DEPTH = 100
"""Minimum number of hits per query, needed for R@100."""
QUERIES_PER_BATCH = 128
"""Number of queries between two updates of the progress bar."""

Answers = dict[str, list[Hit]]
"""Query key -> hits, best first."""


@dataclass(frozen=True, slots=True)
class Options:
    """Options of a comparison.

    Attributes:
        typos: Also search with misspelled queries.
        latency_queries: Number of queries whose latency is measured, 0 for none.
        diagnose: Track gold documents through the beam, and compare with exact search (models
            only).
        ignore_identical: Drop a query's own document from its hits (ArguAna, Quora).
        previous: Previous model folder, or a run file of it, to measure forgetting.
        beams: Beam width instead of the recipe's; at least the number of hits (100, or 10 in a
            diagnosis).
        dev: Files of dev queries and of their judgements, which the weight of `convex` is chosen
            on; without them it is 0.5.
        rerank: Re-ranker instead of the recipe's; "" for none.
        query_vectors: File of the vectors of all these queries.
    """

    typos: bool = True
    latency_queries: int = 200
    seed: int = 0
    ignore_identical: bool = False
    diagnose: bool = False
    previous: Path | None = None
    beams: int | None = None
    dev: tuple[Path, Path] | None = None
    rerank: str | None = None
    query_vectors: Path | None = None


@dataclass(frozen=True, slots=True)
class Means:
    """Each system's means over a number of queries; no systems if there are no queries."""

    queries: int = 0
    systems: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ExactComparison:
    """Gold documents among the first k hits of beam search and of exact search.

    beam, exact: number found by each. missed: found by exact search only. proven: share of queries
    within the node budget. beam_ms, exact_ms: mean time per query, batched.
    """

    k: int
    beam: int
    exact: int
    missed: int
    proven: float
    beam_ms: float
    exact_ms: float


@dataclass(frozen=True, slots=True)
class Decoding:
    """Effect of beam search on gold documents (pairs of query and document); see `diagnosis`.

    pruned: share of them pruned at each level.
    """

    gold: int
    beams: int
    pruned: Sequence[float]
    beam_against_exact: ExactComparison


@dataclass(frozen=True, slots=True)
class UpdateReport:
    """Figures of a corpus with added or deleted documents; see `evaluation.incremental`.

    Attributes:
        old: Means over queries without a relevant added document.
        added: Means over queries with a relevant added document.
        deleted: Number of deleted documents.
        orphans: Number of queries whose relevant documents are all deleted; no mean includes them.
        leaks: Number of hits that are deleted documents; not 0 is a bug.
        short: Number of answers with fewer hits than possible; not 0 is a bug.
        forgotten: Measure -> previous minus current mean on the old queries; {} without a previous
            model. Measures deeper than the hits of a previous run are left out.
        compared: Number of old queries that the previous model or run has answered.
    """

    old: Means
    added: Means
    deleted: int
    orphans: int
    leaks: int
    short: int
    forgotten: Mapping[str, float]
    compared: int = 0


@dataclass(frozen=True, slots=True)
class Comparison:
    """All results of a comparison; the first system is tested against the others.

    queries: the judged ones, in qrels order. answers, values, latency: by system. timed: number of
    queries behind the latency. p_values: measure -> `first>other` -> Holm-corrected p. seen,
    unseen: queries with and without a relevant document that had training queries; empty if
    unknown.
    bytes_per_document: of systems that report it. decoding: of the first system, if diagnosed.
    life: if documents were added or deleted. notes: warnings about queries, judgements and skipped
    baselines.
    """

    queries: Sequence[Query]
    answers: Mapping[str, Answers]
    values: Mapping[str, Values]
    p_values: Mapping[str, Mapping[str, float]]
    overall: Means
    seen: Means
    unseen: Means
    typos: Means
    timed: int
    latency: Mapping[str, Latency]
    bytes_per_document: Mapping[str, float]
    decoding: Decoding | None = None
    life: UpdateReport | None = None
    notes: Sequence[str] = ()

    @property
    def systems(self) -> list[str]:
        """Return the systems' names, the tested one first."""
        return list(self.answers)

    @property
    def kinds(self) -> dict[str, Means]:
        """Return the means by query type, without types that have no queries."""
        kinds = {"all": self.overall, "seen": self.seen, "unseen": self.unseen, "typos": self.typos}
        return {kind: own for kind, own in kinds.items() if own.queries}


def compare(
    systems: Mapping[str, Searcher],
    queries: Sequence[Query],
    qrels: Sequence[Qrel],
    k: int = RUN_DEPTH,
    seen: Collection[str] | None = None,
    options: Options | None = None,
) -> Comparison:
    """Compare systems on all judged queries; the first one is tested against each other one.

    Args:
        k: Number of hits per query, at least 100.
        seen: Keys of the documents that had training queries, if known.

    Raises:
        InputError: A judged query without text, empty qrels, k < 100, no system, or a system that
            returns a document twice.
    """
    if not systems:
        raise InputError("no system to evaluate; name at least one")
    if k < RUN_DEPTH:
        raise InputError(f"k = {k}: R@100 needs at least {RUN_DEPTH} hits a query")
    options = options or Options()
    judged = _judged(queries, qrels)
    answers = {name: _answers(name, systems[name], judged, k, options) for name in systems}
    values = _values(answers, qrels, options)
    known, unknown = _split(qrels, seen)
    timed = _sample(judged, options)
    wrong, notes = _misspelt(judged, options)
    return Comparison(
        queries=judged,
        answers=answers,
        values=values,
        p_values=_p_values(values),
        overall=means_of(values, [query.key for query in judged]),
        seen=means_of(values, known),
        unseen=means_of(values, unknown),
        typos=_typos(systems, wrong, qrels, k, options),
        timed=len(timed),
        latency=latencies(systems, timed),
        bytes_per_document=_sizes(systems),
        notes=notes,
    )


def measure_searcher(
    searcher: Searcher,
    queries: Sequence[Query],
    qrels: Sequence[Qrel],
    measures: Sequence[Any],
    k: int,
) -> Values:
    """Search for each judged query and return the values of ir_measures' measures.

    Raises InputError for queries and qrels like `compare`.
    """
    answers = _answers("searching", searcher, _judged(queries, qrels), k, Options())
    return evaluate(answers, qrels, measures=measures)


def _judged(queries: Sequence[Any], qrels: Sequence[Qrel]) -> list[Query]:
    for query in queries:
        if not isinstance(query, Query):
            kind = type(query).__name__
            raise InputError(f"queries: got {query!r:.60} ({kind}); give Query(key, text) records")
    texts = {query.key: query for query in queries}
    judged = judgements(qrels)
    absent = [key for key in judged if key not in texts]
    if absent:
        raise InputError(
            f"the qrels judge {counted(len(absent), 'query', 'queries')} without a text, for "
            f"example {absent[0]!r}; give the queries file that belongs to these qrels"
        )
    return [texts[key] for key in judged]


def _answers(
    name: str, searcher: Searcher, queries: Sequence[Query], k: int, options: Options
) -> Answers:
    depth = k + options.ignore_identical  # one hit may be dropped
    chunks = [
        queries[start : start + QUERIES_PER_BATCH]
        for start in range(0, len(queries), QUERIES_PER_BATCH)
    ]
    if not callable(getattr(searcher, "search", None)):
        raise InputError(f"{name}: {shorten(searcher)} has no method search; give a Retriever")
    answers: Answers = {}
    for chunk in tracked(chunks, name):
        found = searcher.search([query.text for query in chunk], depth)
        if not isinstance(found, Sequence) or len(found) != len(chunk):
            raise InputError(
                f"{name}: search returned {shorten(found)} for "
                f"{counted(len(chunk), 'query', 'queries')}; return a list of hits for each query"
            )
        for query, hits in zip(chunk, found, strict=True):
            if not isinstance(hits, Iterable):
                raise InputError(f"{name}: {shorten(hits)} is no answer; return a list of hits")
            answers[query.key] = hits
    return answers


def _values(
    answers: Mapping[str, Answers], qrels: Sequence[Qrel], options: Options
) -> dict[str, Values]:
    return {name: evaluate(own, qrels, options.ignore_identical) for name, own in answers.items()}


def means_of(values: Mapping[str, Values], queries: Collection[str]) -> Means:
    """Return each system's means over some queries."""
    if not queries:
        return Means()
    return Means(len(queries), {name: means(own, queries) for name, own in values.items()})


def _split(qrels: Sequence[Qrel], seen: Collection[str] | None) -> tuple[list[str], list[str]]:
    """Return the queries with a relevant document in `seen`, and the other queries."""
    if seen is None:
        return [], []
    keys = frozenset(as_keys(seen, "seen"))
    known = {qrel.query for qrel in qrels if qrel.grade > 0 and qrel.document in keys}
    judged = judgements(qrels)
    return [q for q in judged if q in known], [q for q in judged if q not in known]


def _p_values(values: Mapping[str, Values]) -> dict[str, dict[str, float]]:
    first, *others = values
    table = {}
    for measure in MEASURES:
        samples = {name: list(own[measure].values()) for name, own in values.items()}
        raw = [p_greater(samples[first], samples[other]) for other in others]
        names = [f"{first}>{other}" for other in others]
        table[measure] = dict(zip(names, holm(raw), strict=True))
    return table


def _misspelt(judged: Sequence[Query], options: Options) -> tuple[list[Query], list[str]]:
    """Return the misspelled queries, and a note on queries without a letter, which have none."""
    if not options.typos:
        return [], []
    pairs = zip(judged, misspell(judged, options.seed), strict=True)
    wrong = [new for old, new in pairs if new.text != old.text]
    if not (same := len(judged) - len(wrong)):
        return wrong, []
    left = counted(same, "query has", "queries have")
    return wrong, [
        f"typos: {left} no letter to misspell and {'is' if same == 1 else 'are'} left out"
    ]


def _typos(
    systems: Mapping[str, Searcher],
    wrong: Sequence[Query],
    qrels: Sequence[Qrel],
    k: int,
    options: Options,
) -> Means:
    if not wrong:
        return Means()
    answers = {
        name: _answers(f"{name}, typos", systems[name], wrong, k, options) for name in systems
    }
    return means_of(_values(answers, qrels, options), [query.key for query in wrong])


def _sample(judged: Sequence[Query], options: Options) -> list[str]:
    count = min(options.latency_queries, len(judged))
    return [query.text for query in Random(options.seed).sample(list(judged), count)]


def _sizes(systems: Mapping[str, Searcher]) -> dict[str, float]:
    sizes = {name: getattr(system, "bytes_per_document", None) for name, system in systems.items()}
    return {name: float(size) for name, size in sizes.items() if size is not None}
