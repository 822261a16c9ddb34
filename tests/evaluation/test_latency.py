from itertools import groupby
from operator import itemgetter
from time import sleep

import pytest

from genir.evaluation.latency import (
    QUERIES_PER_BLOCK,
    WARM_UP_QUERIES,
    few_queries_warning,
    latencies,
)


class Recorder:
    def __init__(self, name, log, pause=0.0):
        self.name, self.log, self.pause = name, log, pause

    def search(self, queries, k, where=None):
        sleep(self.pause)
        self.log.append((self.name, tuple(queries), k))
        return [[] for _ in queries]


def test_systems_answer_blocks_of_single_queries_by_turns():
    log = []
    texts = [f"t{i}" for i in range(2 * QUERIES_PER_BLOCK + 3)]
    others = [f"{text} {text}" for text in texts[-WARM_UP_QUERIES:]]
    latencies({name: Recorder(name, log) for name in "ab"}, texts, k=7)
    assert all(k == 7 and len(queries) == 1 for _, queries, k in log)
    first, second, third = (
        texts[:QUERIES_PER_BLOCK],
        texts[QUERIES_PER_BLOCK : 2 * QUERIES_PER_BLOCK],
        texts[2 * QUERIES_PER_BLOCK :],
    )
    assert [(name, [q for _, (q,), _ in block]) for name, block in groupby(log, itemgetter(0))] == [
        ("a", others + first),
        # The system that ends a round begins the next one.
        ("b", others + first + first[-WARM_UP_QUERIES:] + second),
        ("a", first[-WARM_UP_QUERIES:] + second + second[-WARM_UP_QUERIES:] + third),
        ("b", second[-WARM_UP_QUERIES:] + third),
    ]


def test_the_queries_that_begin_a_block_are_not_timed():
    class Waking(Recorder):
        """Slow where another system has answered last."""

        def search(self, queries, k, where=None):
            self.pause = 0.02 if self.log and self.log[-1][0] != self.name else 0.0
            return super().search(queries, k, where)

    log = []
    found = latencies({name: Waking(name, log) for name in "ab"}, ["t"] * 2 * QUERIES_PER_BLOCK)
    assert found["a"].p95 < 10 and found["b"].p95 < 10


def test_times_are_milliseconds():
    found = latencies(
        {"slow": Recorder("slow", [], 0.004), "fast": Recorder("fast", [])}, ["t"] * 6
    )
    assert 4 <= found["slow"].p50 <= found["slow"].p95 < 4000
    assert found["fast"].p50 < found["slow"].p50


def test_nothing_to_time():
    assert latencies({"a": Recorder("a", [])}, []) == {}


def test_a_p95_of_few_queries_is_noted():
    assert few_queries_warning(20) == ""
    assert (
        few_queries_warning(19)
        == "p95 is close to the longest of 19 times; time at least 20 queries"
    )


@pytest.mark.parametrize("texts", [["a"], ["a b", "b a"], ["a a", "a a a"], [""], list("abcdefg")])
def test_no_timed_query_is_asked_before_it_is_timed(texts):
    asked = []
    latencies({"a": Recorder("a", asked)}, texts)
    queries = [query for _, (query,), _ in asked]
    assert queries[-len(texts) :] == texts
    assert len(queries) == len(texts) + min(WARM_UP_QUERIES, len(texts))
    assert not {*queries[: -len(texts)]} & {*texts}
