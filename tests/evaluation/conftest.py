"""A searcher of fixed answers, and a small comparison made with it."""

import pytest

from genir.evaluation.compare import Options, compare
from genir.types import Hit, Qrel, Query


class Canned:
    """Answers known texts with fixed keys, others with nothing."""

    def __init__(self, answers, size=None):
        self.answers = answers
        if size is not None:
            self.bytes_per_document = size

    def search(self, queries, k, where=None):
        return [
            [
                Hit(key, -float(rank), rank)
                for rank, key in enumerate(self.answers.get(q, [])[:k], 1)
            ]
            for q in queries
        ]


@pytest.fixture
def canned():
    return Canned


QUERIES = [Query("q1", "first"), Query("q2", "second"), Query("q3", "third"), Query("q9", "train")]
QRELS = [Qrel("q1", "a"), Qrel("q2", "b"), Qrel("q2", "c"), Qrel("q3", "d"), Qrel("q3", "z", 0)]


@pytest.fixture
def queries():
    return QUERIES


@pytest.fixture
def qrels():
    return QRELS


@pytest.fixture
def comparison(queries, qrels):
    systems = {
        "genir": Canned({"first": ["a"], "second": ["b", "c"], "third": ["x", "d"]}, size=1536),
        "bm25": Canned({"first": ["x", "a"], "second": ["x", "y", "c"]}),
    }
    return compare(systems, queries, qrels, seen={"c", "z"}, options=Options(latency_queries=2))
