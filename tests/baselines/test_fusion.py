import pytest

from genir.baselines.bm25 import Bm25
from genir.baselines.dense import Dense
from genir.baselines.fusion import Convex, Fusion
from genir.errors import InputError
from genir.types import Hit, Qrel, Query


class Fixed:
    """Answers every query with the same keys; records its queries."""

    def __init__(self, *keys, size=None):
        self.keys = keys
        self.asked = []
        if size is not None:
            self.bytes_per_document = size

    def search(self, queries, k, where=None):
        self.asked.append((k, where))
        hits = [Hit(key, -rank, rank, f"<{key}>") for rank, key in enumerate(self.keys[:k], 1)]
        return [hits for _ in queries]


def test_scores_by_hand():
    hits = Fusion([Fixed("a", "b", "c"), Fixed("c", "d")]).search(["q"], 10)[0]
    # c: 1/63 + 1/61; a: 1/61; b and d tie at 1/62.
    assert [hit.key for hit in hits] == ["c", "a", "b", "d"]
    assert [hit.score for hit in hits] == pytest.approx([1 / 63 + 1 / 61, 1 / 61, 1 / 62, 1 / 62])
    assert [hit.rank for hit in hits] == [1, 2, 3, 4]
    assert hits[0].identifier == "<c>"


def test_constant_and_depth():
    hits = Fusion([Fixed("a", "b"), Fixed("b")], depth=1, constant=0).search(["q"], 1)[0]
    assert [(hit.key, hit.score) for hit in hits] == [("a", 1.0)]


def test_asks_for_depth_or_more_and_passes_the_filter_on():
    part = Fixed("a")
    fusion = Fusion([part], depth=50)
    fusion.search(["q"], 10, {"lang": "en"})
    fusion.search(["q"], 80)
    assert part.asked == [(50, {"lang": "en"}), (80, None)]


def test_size_is_the_sum_or_unknown():
    assert Fusion([Fixed(size=3.0), Fixed(size=4.0)]).bytes_per_document == 7
    assert Fusion([Fixed(size=3.0), Fixed()]).bytes_per_document is None


def test_nothing_to_fuse():
    with pytest.raises(InputError, match="give a list of at least one"):
        Fusion([])
    assert Fusion([Fixed("a")]).search([], 5) == []


def test_real_parts(store, encoder):
    fusion = Fusion([Bm25.fit(store), Dense.fit(store, encoder)])
    hits = fusion.search(["files", "host"], 10)
    assert all(sorted(hit.key for hit in own) == sorted(d.key for d in store) for own in hits)
    assert [h.key for h in fusion.search(["files"], 10, {"network": True})[0]] == ["ping"]


class Silent:
    def search(self, queries, k, where=None):
        return [[] for _ in queries]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"searchers": Silent()}, "searchers: got .*; give a list of at least one"),
        ({"searchers": "ab"}, "searchers: got 'ab'; give a list"),
        ({"searchers": [Silent(), 5]}, "searchers: 5 has no `search`"),
        ({"searchers": [None]}, "searchers: None has no `search`"),
        ({"searchers": [Silent()], "depth": "5"}, "depth = '5': give a whole number"),
        ({"searchers": [Silent()], "depth": 0}, "depth = 0: give at least 1"),
        ({"searchers": [Silent()], "constant": -1}, "constant = -1: give a number of at least 0"),
        ({"searchers": [Silent()], "constant": "x"}, "constant = 'x': give a number"),
        ({"searchers": [Silent()], "constant": float("nan")}, "constant = nan: give a number"),
    ],
)
def test_unfusable_searchers_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        Fusion(**arguments)


class Scored:
    """Answers each query with its own (key, score) pairs."""

    def __init__(self, **answers):
        self.answers = answers

    def search(self, queries, k, where=None):
        return [
            [Hit(key, score, rank) for rank, (key, score) in enumerate(self.answers[query][:k], 1)]
            for query in queries
        ]


WORDS = Scored(q=[("a", 12.0), ("b", 6.0), ("c", 2.0)], p=[("x", 3.0)], none=[])
DENSE = Scored(q=[("b", 0.9), ("d", 0.5)], p=[("y", 0.7), ("x", 0.2)], none=[])


def test_scores_are_scaled_by_query_and_weighted():
    q, p, none = Convex([WORDS, DENSE], 0.3).search(["q", "p", "none"], 10)
    # a: .3 * 1; b: .3 * 4/10 + .7; c and d are the last of their lists; one hit alone is 1.
    assert {hit.key: hit.score for hit in q} == pytest.approx(
        {"b": 0.82, "a": 0.3, "c": 0.0, "d": 0.0}
    )
    assert [hit.key for hit in q] == ["b", "a", "c", "d"] and [hit.rank for hit in q] == [
        1,
        2,
        3,
        4,
    ]
    assert [hit.key for hit in p] == ["y", "x"]
    assert {hit.key: hit.score for hit in p} == pytest.approx({"y": 0.7, "x": 0.3})
    assert none == []


def test_the_weight_is_the_best_on_dev_queries():
    queries = [Query("1", "q"), Query("2", "p"), Query("3", "none")]
    words = Convex.tuned([WORDS, DENSE], queries, [Qrel("1", "a", 1), Qrel("2", "x", 1)])
    dense = Convex.tuned([WORDS, DENSE], queries, [Qrel("1", "b", 1), Qrel("2", "y", 1)])
    assert dense.weight < 0.5 < words.weight
    assert [answer[0].key for answer in words.search(["q", "p"], 1)] == ["a", "x"]
    assert [answer[0].key for answer in dense.search(["q", "p"], 1)] == ["b", "y"]
    with pytest.raises(InputError, match="none has a relevant document"):
        Convex.tuned([WORDS, DENSE], queries, [Qrel("1", "a", 0)])


@pytest.mark.parametrize("weight", [-0.1, 1.1, "1", True, float("nan")])
def test_a_weight_outside_0_to_1_is_refused(weight):
    with pytest.raises(InputError, match=r"weight = .*from 0 to 1"):
        Convex([WORDS, DENSE], weight)
    with pytest.raises(InputError, match="got 1; a convex combination takes two"):
        Convex([WORDS])
