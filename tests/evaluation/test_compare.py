import pytest

from genir.errors import InputError
from genir.evaluation.compare import Means, Options, compare
from genir.evaluation.measures import MEASURES
from genir.evaluation.report import to_json
from genir.evaluation.significance import holm, p_greater
from genir.types import Qrel, Query

QUIET = Options(typos=False, latency_queries=0)


def test_means_by_hand(comparison):
    systems = comparison.overall.systems
    assert comparison.overall.queries == 3
    assert systems["genir"]["RR@10"] == pytest.approx((1 + 1 + 1 / 2) / 3)
    assert systems["bm25"]["RR@10"] == pytest.approx((1 / 2 + 1 / 3 + 0) / 3)
    assert systems["bm25"]["R@100"] == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert systems["genir"]["Success@1"] == pytest.approx(2 / 3)


def test_only_judged_queries_are_asked_in_the_order_of_the_qrels(comparison):
    assert [query.key for query in comparison.queries] == ["q1", "q2", "q3"]
    assert list(comparison.answers["bm25"]) == ["q1", "q2", "q3"]
    assert comparison.answers["bm25"]["q3"] == []


def test_seen_is_by_relevant_documents(comparison):
    # c is relevant to q2; z is judged irrelevant to q3
    assert comparison.seen.queries == 1
    assert comparison.unseen.queries == 2
    assert comparison.seen.systems["bm25"]["RR@10"] == pytest.approx(1 / 3)
    assert comparison.unseen.systems["bm25"]["RR@10"] == pytest.approx(1 / 4)
    assert set(comparison.kinds) == {"all", "seen", "unseen", "typos"}


def test_p_values_hold_the_first_against_each_other(queries, qrels, canned):
    good = {"first": ["a"], "second": ["b"], "third": ["x", "d"]}
    systems = {
        "genir": canned(good),
        "bm25": canned({"first": ["a"], "second": ["x", "b"]}),
        "dense": canned({"second": ["b"]}),
    }
    found = compare(systems, queries, qrels, options=QUIET).p_values
    assert set(found) == set(MEASURES)
    raw = [p_greater([1, 1, 0.5], [1, 0.5, 0]), p_greater([1, 1, 0.5], [0, 1, 0])]
    expected = dict(zip(["genir>bm25", "genir>dense"], holm(raw), strict=True))
    assert found["RR@10"] == pytest.approx(expected)


def test_misspelt_queries_are_searched_by_all(comparison):
    # The canned systems know no misspelt text at all.
    assert comparison.typos.queries == 3
    assert comparison.typos.systems["genir"] == dict.fromkeys(MEASURES, 0.0)


def test_queries_without_letters_have_no_typos(queries, qrels, canned):
    queries = [Query("q1", "404"), *queries[1:]]
    options = Options(latency_queries=0)
    found = compare({"genir": canned({"404": ["a"]})}, queries, qrels, options=options)
    assert found.typos.queries == 2 and found.typos.systems["genir"]["RR@10"] == 0
    assert list(found.notes) == ["typos: 1 query has no letter to misspell and is left out"]
    assert to_json(found)["notes"] == found.notes
    none = compare({"genir": canned({})}, [Query("q1", "1")], [Qrel("q1", "a")], options=options)
    assert "typos" not in none.kinds


def test_sizes_and_latency(comparison):
    assert comparison.bytes_per_document == {"genir": 1536.0}
    assert set(comparison.latency) == {"genir", "bm25"}


def test_disabled_or_unknown_parts_are_empty(queries, qrels, canned):
    found = compare({"genir": canned({})}, queries, qrels, options=QUIET)
    assert found.seen == found.unseen == found.typos == Means()
    assert found.latency == {}
    assert found.p_values["RR@10"] == {}
    assert set(found.kinds) == {"all"}


def test_many_queries_are_searched_in_chunks(canned):
    numbers = range(300)
    queries = [Query(f"q{i}", f"text {i}") for i in numbers]
    system = canned({f"text {i}": [f"d{i}"] for i in numbers})
    found = compare(
        {"genir": system}, queries, [Qrel(f"q{i}", f"d{i}") for i in numbers], options=QUIET
    )
    assert found.overall.systems["genir"]["Success@1"] == 1


def test_dropping_the_identical_document_leaves_a_hundred(canned):
    keys = ["q", *(f"x{i}" for i in range(99)), "a", "b"]
    systems, queries, qrels = {"genir": canned({"t": keys})}, [Query("q", "t")], [Qrel("q", "a")]
    plain = compare(systems, queries, qrels, options=QUIET)
    ignoring = Options(typos=False, latency_queries=0, ignore_identical=True)
    dropped = compare(systems, queries, qrels, options=ignoring)
    assert plain.overall.systems["genir"]["R@100"] == 0
    assert dropped.overall.systems["genir"]["R@100"] == 1


def test_bad_input(queries, qrels, canned):
    systems = {"genir": canned({})}
    with pytest.raises(InputError, match="judge 1 query without a text, for example 'q7'"):
        compare(systems, queries, [*qrels, Qrel("q7", "a")])
    with pytest.raises(InputError, match="empty"):
        compare(systems, queries, [])
    with pytest.raises(InputError, match="at least 100 hits"):
        compare(systems, queries, qrels, k=10)
    with pytest.raises(InputError, match="no system"):
        compare({}, queries, qrels)
    with pytest.raises(InputError, match="'a' is returned twice"):
        compare({"genir": canned({"first": ["a", "a"]})}, queries, qrels, options=QUIET)


@pytest.mark.parametrize("queries", ["vpn", ["vpn"], [None]])
def test_texts_in_place_of_queries_are_refused(queries, qrels, canned):
    with pytest.raises(InputError, match=r"give Query\(key, text\) records"):
        compare({"genir": canned({})}, queries, qrels, options=QUIET)
