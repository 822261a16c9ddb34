"""The measures of every comparison, by ir_measures, one value a query. Knows no searcher.

Every judged query counts: one without an answer has the value 0. Ranks alone decide; scores are
not looked at, so that the order of equal scores is the searcher's and not the measure's.
"""

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

import ir_measures
from ir_measures import RR, R, Success, nDCG

from genir.corpus.runs import refuse_duplicates
from genir.errors import InputError
from genir.records import MAX_GRADE, Hit, Qrel

_COMPUTED = (Success @ 1, Success @ 10, RR @ 10, nDCG @ 10, R @ 100)
MEASURES = tuple(str(measure) for measure in _COMPUTED)

Values = dict[str, dict[str, float]]
"""Measure (`RR@10`) -> key of the query -> value, the queries in the order of the qrels."""


def evaluate(
    answers: Mapping[str, Sequence[Hit]],
    qrels: Iterable[Qrel],
    ignore_identical: bool = False,
    measures: Sequence[Any] = _COMPUTED,
) -> Values:
    """Measure answers (key of the query -> hits, best first) against the qrels.

    measures: of ir_measures, by default those of `MEASURES`.

    `ignore_identical` drops the hit whose key is the query's own, as BEIR does for ArguAna and
    Quora. Raises InputError for a document that stands twice in an answer, for two grades of one
    document and query, and for empty qrels.
    """
    grades = judgements(qrels)
    run: dict[str, dict[str, float]] = {}
    for query, hits in answers.items():
        refuse_duplicates(query, hits)
        keys = [hit.key for hit in hits if not (ignore_identical and hit.key == query)]
        run[query] = {key: -float(rank) for rank, key in enumerate(keys)}
    values: Values = {str(measure): dict.fromkeys(grades, 0.0) for measure in measures}
    for metric in ir_measures.evaluator(measures, grades).iter_calc(run):
        values[str(metric.measure)][metric.query_id] = float(metric.value)
    return values


def means(values: Values, queries: Iterable[str] | None = None) -> dict[str, float]:
    """Return each measure's mean over the named queries, or over all; {} over no query."""
    if queries is None:
        return {measure: fmean(by_query.values()) for measure, by_query in values.items()}
    chosen = list(queries)
    if not chosen:
        return {}
    return {measure: fmean(by[query] for query in chosen) for measure, by in values.items()}


def judgements(qrels: Iterable[Qrel]) -> dict[str, dict[str, int]]:
    """Return query -> document -> grade.

    Raises:
        InputError: the qrels are empty or contradict each other, or a grade is beyond `MAX_GRADE`.
    """
    grades: dict[str, dict[str, int]] = {}
    for qrel in qrels:
        if abs(qrel.grade) > MAX_GRADE:
            raise InputError(
                f"qrels: query {qrel.query!r} grades document {qrel.document!r} {qrel.grade}; "
                f"grades go from {-MAX_GRADE:,} to {MAX_GRADE:,}"
            )
        own = grades.setdefault(qrel.query, {})
        if own.setdefault(qrel.document, qrel.grade) != qrel.grade:
            raise InputError(
                f"qrels: query {qrel.query!r} grades document {qrel.document!r} both "
                f"{own[qrel.document]} and {qrel.grade}; keep one of the two lines"
            )
    if not grades:
        raise InputError("the qrels are empty; an evaluation needs at least one judged query")
    return grades
