"""Measures of every comparison, computed per query by ir_measures.

Every judged query counts: a query without an answer has the value 0. Hits are ranked by their
order, not by their scores, so the searcher decides the order of equal scores.
"""

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

import ir_measures
from ir_measures import RR, R, Success, nDCG

from genir.arguments import as_count, as_text
from genir.corpus.trec_runs import refuse_duplicates
from genir.errors import InputError
from genir.types import MAX_GRADE, Hit, Qrel

_COMPUTED = (Success @ 1, Success @ 10, RR @ 10, nDCG @ 10, R @ 100)
MEASURES = tuple(str(measure) for measure in _COMPUTED)

Values = dict[str, dict[str, float]]
"""Measure (`RR@10`) -> query key -> value, queries in qrels order."""


def evaluate(
    answers: Mapping[str, Sequence[Hit]],
    qrels: Iterable[Qrel],
    ignore_identical: bool = False,
    measures: Sequence[Any] = _COMPUTED,
) -> Values:
    """Measure answers (query key -> hits, best first) against the qrels.

    Args:
        ignore_identical: Drop the hit with the query's own key, as BEIR does for ArguAna and Quora.
        measures: Of ir_measures; `MEASURES` by default.

    Raises:
        InputError: A document occurs twice in an answer, two grades of one pair, empty qrels, or a
            key that is not a valid string.
    """
    grades = judgements(qrels)
    run: dict[str, dict[str, float]] = {}
    for query, hits in answers.items():
        _as_key(query, "answers: query")
        for hit in hits:
            _as_key(getattr(hit, "key", None), f"query {query!r}: document key of a hit")
        refuse_duplicates(query, hits)
        keys = [hit.key for hit in hits if not (ignore_identical and hit.key == query)]
        run[query] = {key: -float(rank) for rank, key in enumerate(keys)}
    values: Values = {str(measure): dict.fromkeys(grades, 0.0) for measure in measures}
    for metric in ir_measures.evaluator(measures, grades).iter_calc(run):
        values[str(metric.measure)][metric.query_id] = float(metric.value)
    return values


def _as_key(value: Any, name: str) -> str:
    """Return a key that pytrec_eval can hold: a surrogate ends the process, a NUL ends the key."""
    if "\0" in (key := as_text(value, name)):
        raise InputError(f"{name}: {key!r:.60} holds a NUL; give it another key")
    return key


def means(values: Values, queries: Iterable[str] | None = None) -> dict[str, float]:
    """Return each measure's mean over the given queries, or over all; {} if there are none."""
    if queries is None:
        return {measure: fmean(by_query.values()) for measure, by_query in values.items()}
    chosen = list(queries)
    if not chosen:
        return {}
    return {measure: fmean(by[query] for query in chosen) for measure, by in values.items()}


def judgements(qrels: Iterable[Qrel]) -> dict[str, dict[str, int]]:
    """Return query -> document -> grade.

    Raises:
        InputError: The qrels are empty or contradictory, a key is not a valid string, or a grade is
            not a whole number or beyond `MAX_GRADE`.
    """
    grades: dict[str, dict[str, int]] = {}
    for qrel in qrels:
        query = _as_key(qrel.query, "qrels: query")
        document = _as_key(qrel.document, f"qrels: query {query!r}: document")
        grade = as_count(qrel.grade, f"qrels: query {query!r}: grade", minimum=-(2**63))
        if abs(grade) > MAX_GRADE:
            raise InputError(
                f"qrels: query {query!r} grades document {document!r} {grade}; "
                f"grades must be from {-MAX_GRADE:,} to {MAX_GRADE:,}"
            )
        own = grades.setdefault(query, {})
        if own.setdefault(document, grade) != grade:
            raise InputError(
                f"qrels: query {query!r} grades document {document!r} both "
                f"{own[document]} and {grade}; keep one of the two lines"
            )
    if not grades:
        raise InputError("the qrels are empty; an evaluation needs at least one judged query")
    return grades
