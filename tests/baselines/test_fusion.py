import pytest

from genir.baselines.bm25 import Bm25
from genir.baselines.dense import Dense
from genir.baselines.fusion import Fusion
from genir.errors import InputError
from genir.types import Hit


class Fixed:
    """Answers every query with the same keys; remembers what it was asked."""

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
def test_what_cannot_be_fused_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        Fusion(**arguments)
