"""Verdicts computed by hand from small results."""

import pytest

from benchmarks.recipes.claims import judge, values_by_query
from benchmarks.recipes.plan import Ablation, Claim


def result(ranks, misspelt=None, unseen=(), **more):
    found = {"asked": "same", "ranks": ranks, "ranks_misspelt": misspelt or ranks}
    return {**found, "unseen": list(unseen), **more}


def claim(**more):
    return Claim(**{"text": "a is better", "better": "a", "worse": "b", **more})


def verdict(own, better, worse):
    ablation = Ablation(group="g", title="t", claims=(own,))
    found = judge(ablation, {"small": {"a": better, "b": worse}})
    return str(found[own, "small"]) if found else ""


def test_values_of_each_measure_and_kind_of_query():
    found = result([1, 2, 0, 4], [0, 2, 0, 8], unseen=[1, 3])
    assert values_by_query(found, claim()) == [1, 0.5, 0, 0.25]
    assert values_by_query(found, claim(measure="Success@1")) == [1, 0, 0, 0]
    assert values_by_query(found, claim(queries="unseen", measure="Success@10")) == [1, 1]
    assert values_by_query(found, claim(queries="seen")) == [1, 0]
    assert values_by_query(found, claim(queries="misspelt")) == [0, 0.5, 0, 0.125]
    # RR@10 is .4375; the losses are 1 and .125 of it
    losses = values_by_query(found, claim(measure="misspelt loss"))
    assert losses == pytest.approx([1 / 0.4375, 0, 0, 0.125 / 0.4375])


def test_a_claim_holds_if_the_difference_is_significant():
    ahead = verdict(claim(), result([1] * 20), result([2] * 20))
    assert ahead == "**held**: 1.000 against .500, p = 9.5e-07"
    lost = verdict(claim(), result([2] * 20), result([1] * 20))
    assert lost == "**did not hold**: .500 against 1.000, p = 1"
    equal = verdict(claim(), result([1, 2, 1, 2]), result([2, 1, 1, 2]))
    assert equal.startswith("**did not hold**: .750 against .750")


def test_the_claimed_factor_is_required():
    better, worse = result([1] * 9 + [0]), result([1] + [0] * 9)
    text = verdict(claim(times=5, measure="Success@10"), better, worse)
    assert text.startswith("**held**: .900 against .100, 9.0 times")
    assert "did not hold" in verdict(claim(times=10, measure="Success@10"), better, worse)


def test_a_smaller_loss_is_better():
    robust = result([1] * 20, [1] * 18 + [2] * 2)
    fragile = result([1] * 20, [1] * 8 + [2] * 12)
    loss = claim(measure="misspelt loss", times=2)
    assert verdict(loss, robust, fragile).startswith("**held**: .050 against .300, 6.0 times")
    assert verdict(loss, fragile, robust).startswith("**did not hold**: .300 against .050")


@pytest.mark.parametrize(("p", "word"), [(0.004, "held"), (0.2, "did not hold")])
def test_a_claim_against_a_baseline(p, word):
    systems = {name: {"all": {"RR@10": value}} for name, value in (("genir", 0.5), ("bm25", 0.25))}
    own = result([1], systems=systems, p_values={"genir>bm25": p})
    text = verdict(claim(worse="bm25"), own, result([1]))
    assert text == f"**{word}**: .500 against .250, p = {p}"


def test_rows_with_other_queries_are_not_compared():
    assert verdict(claim(), result([1]), {**result([1]), "asked": "x"}) == ""


def test_p_values_are_holm_corrected_over_the_claims():
    rows = {"small": {"a": result([1] * 5 + [2] * 15), "b": result([1] + [2] * 19)}}
    one, two = (claim(),), (claim(), claim(measure="Success@1"))
    p = [
        judge(Ablation(group="g", title="t", claims=own), rows)[own[0], "small"].p
        for own in (one, two)
    ]
    assert p[1] == pytest.approx(2 * p[0], rel=0.1) and p[0] < 0.05
