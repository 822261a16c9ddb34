"""Consistency checks of judgements, runs and models.

A check raises InputError if a figure would be meaningless, and returns notes if it covers fewer or
other queries than a reader would assume.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from genir.corpus.query_digests import known_among
from genir.corpus.trec_runs import tag_with_digest
from genir.errors import InputError
from genir.evaluation.measures import judgements
from genir.retriever import TRAIN_QUERIES, Retriever
from genir.types import Hit, Qrel, Query

MIN_JUDGED_SHARE = 0.5
"""Minimum share of a run's queries and documents that the compared data must have, too."""

Warnings = list[str]


def check_judgements(
    retriever: Retriever, texts: Mapping[str, Query], qrels: Sequence[Qrel], where: Path
) -> Warnings:
    """Check the qrels of a set of queries. Raises InputError if no grade is above 0."""
    judged = judgements(qrels)
    answered = {qrel.query for qrel in qrels if qrel.grade > 0}
    if not answered:
        raise InputError(
            f"{where}: no judgement has a grade above 0, so every measure would be 0; give qrels "
            "that name relevant documents"
        )
    notes = []
    if idle := len(judged) - len(answered):
        notes.append(
            f"{where}: {idle:,} of {len(judged):,} judged queries have no document with a grade "
            "above 0; they count as not found"
        )
    asked = [texts[key].text for key in judged]
    counts = Counter(" ".join(text.lower().split()) for text in asked)
    if twice := sum(count for count in counts.values() if count > 1):
        notes.append(
            f"{where}: {twice:,} of {len(judged):,} judged queries share their text with another "
            "one; each counts"
        )
    return notes + _trained_on(retriever, asked, where)


def _trained_on(retriever: Retriever, asked: Sequence[str], where: Path) -> Warnings:
    digests = retriever.attachments.get(TRAIN_QUERIES, b"")
    seen = known_among(asked, digests)
    count = sum(text in seen for text in asked)
    notes = _added_with(retriever, where)
    if not count:
        return notes
    return [
        *notes,
        f"{where}: {count:,} of {len(asked):,} judged queries were train queries of this model; "
        "figures on them do not say how well it answers new queries",
    ]


def _added_with(retriever: Retriever, where: Path) -> Warnings:
    """Return a note if documents were added with queries, whose texts are not stored."""
    count = int(((retriever.query_counts > 0) & retriever.untrained).sum())
    if not count:
        return []
    return [
        f"{where}: {count:,} documents were added with queries (genir add --queries, "
        "--pseudo), which their rows were fitted to; if these are among the judged ones, "
        "figures on them do not say how well the model answers new queries"
    ]


def check_run(
    run: Mapping[str, Sequence[Hit]], queries: Sequence[str], known: set[str], where: str
) -> Warnings:
    """Check a run against the judged queries and the documents of the model.

    Raises InputError if it shares fewer than half of its documents, or of the queries.
    """
    if not queries:
        raise InputError(
            f"{where}: no judged query has an older relevant document, so nothing can "
            "have been forgotten; leave the option out, or judge older documents"
        )
    found = sum(key in run for key in queries)
    documents = {hit.key for hits in run.values() for hit in hits}
    shared = len(documents & known)
    asked = f"{where}: has {found:,} of {len(queries):,} judged queries"
    named = f"{where}: {shared:,} of {len(documents):,} documents in it are known to this model"
    if found < MIN_JUDGED_SHARE * len(queries):
        raise InputError(f"{asked}; give the run of these queries")
    if shared < MIN_JUDGED_SHARE * len(documents):
        raise InputError(f"{named}; give a run on this collection")
    notes = []
    if found < len(queries):
        notes.append(f"{asked}; forgetting is measured on these only")
    return [*notes, named] if shared < len(documents) else notes


def check_texts(
    run: Sequence[str], digest: str, texts: Mapping[str, Query], where: str
) -> Warnings:
    """Check that the texts of a run's queries have not changed.

    digest: digest of the run file. Raises InputError if it differs; returns a note if it cannot be
    compared.
    """
    alone = "queries are matched by key only; make sure that their texts are the same"
    if not digest:
        return [
            f"{where}: holds no digest of its queries (genir evaluate --run writes one); {alone}"
        ]
    missing = sum(key not in texts for key in run)
    if missing:
        return [f"{where}: {missing:,} of its queries are not among the queries given; {alone}"]
    if tag_with_digest("", [texts[key] for key in run]) != f"-q{digest}":
        raise InputError(
            f"{where}: is a run of other queries with the same keys; give the run of "
            "these queries, or the previous model folder"
        )
    return []


def check_previous(
    previous: Retriever, now: Retriever, keys: Sequence[str], where: str
) -> Warnings:
    """Check that relevant documents have the same text in a previous model.

    keys: relevant documents that both models have. Raises InputError if there are none or if most
    texts differ, since the model is then of another collection.
    """
    fix = "give the model that this one was changed from"
    if not keys:
        raise InputError(
            f"{where}: has no relevant document, so it is a model of another collection; {fix}"
        )
    before, after = previous.documents.fetch(keys), now.documents.fetch(keys)
    other = sum(before[key].text != after[key].text for key in keys)
    changed = f"{where}: {other:,} of {len(keys):,} relevant documents had another text"
    if other > MIN_JUDGED_SHARE * len(keys):
        raise InputError(f"{changed}, so it is a model of another collection; {fix}")
    return [changed] if other else []
