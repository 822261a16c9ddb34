"""Evaluation after changes of the corpus: old and added documents, deletions, forgetting."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Self

from genir.corpus.trec_runs import read_digest, read_run
from genir.evaluation.checks import check_previous, check_run, check_texts
from genir.evaluation.compare import RUN_DEPTH, Answers, Comparison, UpdateReport, means_of
from genir.evaluation.measures import MEASURES, evaluate, means
from genir.plurals import counted
from genir.retriever import Retriever
from genir.types import Qrel, Query


class QuerySplits(NamedTuple):
    """Judgements of a changed corpus, by query type.

    judged: judgements of live documents, without orphans. old, added: queries without and with a
    relevant added document. orphans: queries whose relevant documents (grade > 0) are all deleted.
    deleted: keys of deleted documents.
    """

    judged: list[Qrel]
    old: list[str]
    added: list[str]
    orphans: list[str]
    deleted: frozenset[str]

    @classmethod
    def split(cls, retriever: Retriever, qrels: Sequence[Qrel], former: Retriever | None) -> Self:
        """Split judgements by document: old, added, deleted.

        Added documents are newer than the last version of `former`, or than the training.
        """
        table, live = retriever.table, set(_live(retriever))
        deleted = frozenset(set(table.keys) - live)
        if former is None:
            new = {
                key
                for key, born in zip(table.keys, retriever.index.added_in_version, strict=True)
                if born
            }
        else:
            new = live - set(_live(former))
        answered = dict.fromkeys(one.query for one in qrels if one.grade > 0)
        found = {one.query for one in qrels if one.grade > 0 and one.document in live}
        orphans = {query: None for query in answered if query not in found}
        judged = [one for one in qrels if one.document in live and one.query not in orphans]
        asked = dict.fromkeys(one.query for one in judged)
        added = {one.query for one in judged if one.grade > 0 and one.document in new & live}
        old = [query for query in asked if query not in added]
        return cls(judged, old, [q for q in asked if q in added], list(orphans), deleted)

    @property
    def has_changes(self) -> bool:
        """Whether there are queries of added documents or deletions."""
        return bool(self.added or self.deleted)


class PreviousModel:
    """A previous version of the model: its folder, or a run file of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.retriever = Retriever.load(path) if path.is_dir() else None
        if self.retriever is not None:
            self.retriever.set_rerank("")
        self._run = {} if path.is_dir() else read_run(path)
        self._digest = "" if path.is_dir() else read_digest(path)

    def check(self, now: Retriever, parts: QuerySplits, texts: Mapping[str, Query]) -> list[str]:
        """Return notes. Raises InputError for a model or run of other queries or documents."""
        where = f"--previous {self.path}"
        if self.retriever is None:
            notes = check_run(self._run, parts.old, set(now.table.keys), where)
            notes += check_texts([*self._run], self._digest, texts, where)
            deep = self.run_depth(now, parts.old)
            missing = [one for one in MEASURES if int(one.partition("@")[2]) > deep]
            if missing:
                known = [len(self._run[query]) for query in parts.old if query in self._run]
                problem = (
                    f"{where}: has {counted(deep, 'hit')} of {known.count(deep):,} of "
                    f"{counted(len(known), 'query', 'queries')}"
                )
                notes.append(f"{problem}; {', '.join(missing)} cannot be compared")
            return notes
        old = frozenset(parts.old)
        wanted = [one.document for one in parts.judged if one.grade > 0 and one.query in old]
        both = [key for key in dict.fromkeys(wanted) if key in self.retriever.table]
        return check_previous(self.retriever, now, both, where)

    def run_depth(self, now: Retriever, queries: Iterable[str]) -> int:
        """Return the rank down to which the answers to all queries are known.

        All documents of a small collection are enough. A run may have fewer hits of some queries,
        e.g. after a score threshold; a deeper measure would count the missing ones as forgotten.
        """
        if self.retriever is not None:
            return RUN_DEPTH
        fewest = min((len(self._run[one]) for one in queries if one in self._run), default=0)
        return RUN_DEPTH if fewest >= min(RUN_DEPTH, len(_live(now))) else fewest

    def answers(self, queries: Sequence[Query]) -> Answers:
        """Return its answers; a run has none for queries that it lacks."""
        if self.retriever is None:
            return {one.key: self._run[one.key] for one in queries if one.key in self._run}
        found = self.retriever.search([query.text for query in queries], RUN_DEPTH)
        return {query.key: list(hits) for query, hits in zip(queries, found, strict=True)}


def update_report(
    comparison: Comparison,
    retriever: Retriever,
    texts: Mapping[str, Query],
    parts: QuerySplits,
    former: PreviousModel | None,
) -> UpdateReport:
    """Return the figures of a comparison's first system on the parts of the queries."""
    name = comparison.systems[0]
    asked = [texts[key].text for key in parts.orphans]
    answers = [*comparison.answers[name].values(), *retriever.search(asked, RUN_DEPTH)]
    leaks = sum(hit.key in parts.deleted for hits in answers for hit in hits)
    wanted = min(RUN_DEPTH, len(_live(retriever)))
    short = sum(len(hits) < wanted for hits in answers)
    old, added = (means_of(comparison.values, queries) for queries in (parts.old, parts.added))
    forgotten: dict[str, float] = {}
    compared = 0
    if former is not None and parts.old:
        given = former.answers([texts[key] for key in parts.old])
        judged = [qrel for qrel in parts.judged if qrel.query in given]
        before = means(evaluate(given, judged))
        now = means(comparison.values[name], given)  # on the same queries
        deep, compared = former.run_depth(retriever, given), len(given)
        forgotten = {
            one: before[one] - now[one] for one in before if int(one.partition("@")[2]) <= deep
        }
    counts = len(parts.deleted), len(parts.orphans), leaks, short
    return UpdateReport(old, added, *counts, forgotten, compared)


def _live(retriever: Retriever) -> list[str]:
    table = retriever.table
    return [table.keys[number] for number in {*table.documents[table.live].tolist()}]
