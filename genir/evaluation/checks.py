"""Consistency checks of judgements, runs and models.

A check raises InputError if a figure would be meaningless, and returns notes if it covers fewer or
other queries than a reader would assume.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from ir_measures import parse_measure

from genir.corpus.query_digests import known_among
from genir.corpus.trec_runs import tag_with_digest
from genir.errors import InputError
from genir.evaluation.measures import MEASURES, judgements
from genir.plurals import counted
from genir.retriever import Retriever
from genir.types import Hit, Qrel, Query
from genir.updates.model_folder import TRAIN_QUERIES

MIN_JUDGED_SHARE = 0.5
"""Minimum share of a run's queries and documents that the compared data must have, too."""

Warnings = list[str]


def _some(count: int, judged: int) -> str:
    return f"{count:,} of {counted(judged, 'judged query', 'judged queries')}"


def require_live_judgements(
    qrels: Sequence[Qrel], judged: Sequence[Qrel], orphans: int, where: Path
) -> None:
    """Raise InputError unless a live document is relevant.

    Args:
        judged: The judgements of live documents.
        orphans: Number of queries whose relevant documents are all deleted.
    """
    if not qrels:
        raise InputError(f"{where}: has no judgement; an evaluation needs at least one")
    relevant = {qrel.document for qrel in qrels if qrel.grade > 0}
    if not relevant:
        raise InputError(
            f"{where}: no judgement has a grade above 0, so every measure would be 0; give qrels "
            "that name relevant documents"
        )
    if not any(qrel.grade > 0 for qrel in judged):
        gone = counted(len(relevant), "relevant document is", "relevant documents are all")
        raise InputError(
            f"{where}: the {gone} deleted, so {counted(orphans, 'query has', 'queries have')} "
            "no answer; genir rollback restores documents, or judge live ones"
        )


def require_query_vectors(retriever: Retriever, option: str) -> None:
    """Raise InputError if a model without an encoder is evaluated without vectors of queries.

    option: the argument that names their file.
    """
    if retriever.model.tokenizer is None:
        raise InputError(
            f"{option}: this model has no encoder of its own; give the vectors of the queries, "
            "made by the encoder of its documents' vectors"
        )


def check_depth(documents: int) -> Warnings:
    """Return a note on measures that are 1 for any system that ranks all of `documents`."""
    known = [parse_measure(name) for name in MEASURES]
    full = [
        str(one) for one in known if one.NAME in ("R", "Success") and one["cutoff"] >= documents
    ]
    if not full:
        return []
    verb = "is" if len(full) == 1 else "are"
    size = f"all of the {counted(documents, 'document')}" if documents > 1 else "the one document"
    return [
        f"{' and '.join(full)} {verb} 1 by construction for every system that returns {size}; a "
        "larger collection is needed to compare systems by it"
    ]


def check_judgements(
    retriever: Retriever, texts: Mapping[str, Query], qrels: Sequence[Qrel], where: Path
) -> Warnings:
    """Return notes on the qrels of a set of queries; some grade is above 0."""
    judged = judgements(qrels)
    answered = {qrel.query for qrel in qrels if qrel.grade > 0}
    notes = []
    if idle := len(judged) - len(answered):
        notes.append(
            f"{where}: {_some(idle, len(judged))} {'has' if idle == 1 else 'have'} no document "
            "with a grade above 0; they count as not found"
        )
    asked = [texts[key].text for key in judged]
    counts = Counter(" ".join(text.lower().split()) for text in asked)
    if twice := sum(count for count in counts.values() if count > 1):
        notes.append(
            f"{where}: {_some(twice, len(judged))} share their text with another one; each counts"
        )
    return notes + _trained_on(retriever, asked, where)


def _trained_on(retriever: Retriever, asked: Sequence[str], where: Path) -> Warnings:
    notes, index = [], retriever.index
    if added := int(((index.query_counts > 0) & index.untrained).sum()):  # texts are not stored
        notes.append(
            f"{where}: {counted(added, 'document was', 'documents were')} added with queries "
            "(genir add --queries, "
            "--pseudo), which their rows were fitted to; if these are among the judged ones, "
            "figures on them do not say how well the model answers new queries"
        )
    seen = known_among(asked, retriever.attachments.get(TRAIN_QUERIES, b""))
    if count := sum(text in seen for text in asked):
        notes.append(
            f"{where}: {_some(count, len(asked))} "
            f"{'was a train query' if count == 1 else 'were train queries'} of this model; "
            "figures on them do not say how well it answers new queries"
        )
    return notes


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
    asked = f"{where}: has {_some(found, len(queries))}"
    named = (
        f"{where}: {shared:,} of {counted(len(documents), 'document')} in it "
        f"{'is' if shared == 1 else 'are'} known to this model"
    )
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
        return [
            f"{where}: {counted(missing, 'query is', 'queries are')} not among the queries given; "
            f"{alone}"
        ]
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
    changed = f"{where}: {other:,} of {counted(len(keys), 'relevant document')} had another text"
    if other > MIN_JUDGED_SHARE * len(keys):
        raise InputError(f"{changed}, so it is a model of another collection; {fix}")
    return [changed] if other else []
