from math import log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genir.errors import InputError
from genir.evaluation.measures import MEASURES, evaluate, means
from genir.types import Hit, Qrel


def ranked(*keys):
    return [Hit(key, 0.0, rank) for rank, key in enumerate(keys, 1)]


def one(keys, grades):
    """Return the measures of a single query."""
    values = evaluate({"q": ranked(*keys)}, [Qrel("q", key, g) for key, g in grades.items()])
    return {measure: values[measure]["q"] for measure in MEASURES}


def test_graded_judgements_by_hand():
    values = one(["x", "b", "a", "y"], {"a": 2, "b": 1, "c": 1, "n": 0})
    gained = 1 / log2(3) + 2 / log2(4)
    ideal = 2 / log2(2) + 1 / log2(3) + 1 / log2(4)
    assert values == pytest.approx(
        {
            "Success@1": 0,
            "Success@10": 1,
            "RR@10": 1 / 2,
            "nDCG@10": gained / ideal,
            "R@100": 2 / 3,
        }
    )


def test_a_perfect_answer():
    assert one(["a", "b"], {"a": 1, "b": 1}) == dict.fromkeys(MEASURES, 1.0)


@pytest.mark.parametrize("grade", [1001, -1001, 2**31, 2**40])
def test_grades_beyond_the_largest_are_refused(grade):
    with pytest.raises(
        InputError, match=rf"grades document 'a' {grade}; grades must be from -1,000"
    ):
        one(["a", "b"], {"a": grade, "b": 1})


def test_cut_offs():
    fillers = [f"x{i}" for i in range(200)]
    tenth = one([*fillers[:9], "a"], {"a": 1})
    assert tenth == pytest.approx(
        {"Success@1": 0, "Success@10": 1, "RR@10": 0.1, "nDCG@10": 1 / log2(11), "R@100": 1}
    )
    eleventh = one([*fillers[:10], "a"], {"a": 1})
    assert eleventh == {"Success@1": 0, "Success@10": 0, "RR@10": 0, "nDCG@10": 0, "R@100": 1}
    assert one([*fillers[:99], "a"], {"a": 1})["R@100"] == 1
    assert one([*fillers[:100], "a"], {"a": 1})["R@100"] == 0


def test_grade_zero_is_not_relevant():
    assert one(["n"], {"n": 0, "a": 1}) == dict.fromkeys(MEASURES, 0.0)


def test_every_judged_query_counts():
    qrels = [Qrel("q1", "a"), Qrel("q2", "b"), Qrel("q3", "c"), Qrel("q4", "n", 0)]
    values = evaluate({"q1": ranked("a"), "q2": [], "unjudged": ranked("a")}, qrels)
    for measure in MEASURES:
        assert values[measure] == {"q1": 1.0, "q2": 0.0, "q3": 0.0, "q4": 0.0}
    assert means(values) == dict.fromkeys(MEASURES, 0.25)
    assert means(values, ["q1", "q3"]) == dict.fromkeys(MEASURES, 0.5)
    assert means(values, []) == {}


def test_the_order_given_decides_where_scores_are_equal():
    for keys, expected in ((["a", "z"], 1.0), (["z", "a"], 0.5)):
        assert one(keys, {"a": 1})["RR@10"] == expected


def test_identical_keys_are_dropped_only_on_demand():
    answers, qrels = {"q": ranked("q", "a")}, [Qrel("q", "a")]
    assert evaluate(answers, qrels)["RR@10"] == {"q": 0.5}
    assert evaluate(answers, qrels, ignore_identical=True)["RR@10"] == {"q": 1.0}


def test_duplicates_are_refused():
    with pytest.raises(InputError, match=r"'q'.*'a' is returned twice, at ranks 1 and 3"):
        one(["a", "b", "a"], {"a": 1})


def test_bad_qrels():
    with pytest.raises(InputError, match="empty"):
        evaluate({}, [])
    with pytest.raises(InputError, match=r"'q' grades document 'a' both 1 and 2"):
        evaluate({}, [Qrel("q", "a", 1), Qrel("q", "a", 2)])
    assert evaluate({"q": ranked("a")}, [Qrel("q", "a"), Qrel("q", "a")])["R@100"] == {"q": 1.0}


@given(
    st.permutations([f"d{i}" for i in range(14)]),
    st.dictionaries(st.sampled_from([f"d{i}" for i in range(20)]), st.integers(0, 3), min_size=1),
)
def test_values_against_the_definitions(keys, grades):
    relevant = [key for key, grade in grades.items() if grade > 0]
    places = [place for place, key in enumerate(keys, 1) if key in relevant]
    ideal = sorted(grades.values(), reverse=True)[:10]
    gain = sum(grades.get(key, 0) / log2(place + 1) for place, key in enumerate(keys[:10], 1))
    best = sum(grade / log2(place + 1) for place, grade in enumerate(ideal, 1))
    first = min(places, default=99)
    assert one(keys, grades) == pytest.approx(
        {
            "Success@1": float(first == 1),
            "Success@10": float(first <= 10),
            "RR@10": 1 / first if first <= 10 else 0,
            "nDCG@10": gain / best if best else 0,
            "R@100": len(places) / len(relevant) if relevant else 0,
        }
    )
