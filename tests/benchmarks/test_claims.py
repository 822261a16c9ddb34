"""Verdicts and tables from results that are written by hand."""

import pytest

from benchmarks import store
from benchmarks.claims import by_query, judge
from benchmarks.plan import Ablation, Claim, load_plan, runs
from benchmarks.tables import BEGIN, END, rewrite
from genir.errors import InputError
from genir.evaluation.measures import MEASURES


def result(ranks, misspelt=None, unseen=(), **more):
    found = {"asked": "same", "ranks": ranks, "ranks_misspelt": misspelt or ranks}
    return {**found, "unseen": list(unseen), **more}


def verdict(claim, better, worse):
    ablation = Ablation(group="g", title="t", claims=(claim,))
    return judge(ablation, {"small": {"a": better, "b": worse}})[0]


def claim(**more):
    return Claim(text="a is better", better="a", worse="b", **more)


def test_values_of_each_measure_and_kind_of_query():
    found = result([1, 2, 0, 4], [0, 2, 0, 8], unseen=[1, 3])
    assert by_query(found, claim()) == [1, 0.5, 0, 0.25]
    assert by_query(found, claim(measure="Success@1")) == [1, 0, 0, 0]
    assert by_query(found, claim(queries="unseen", measure="Success@10")) == [1, 1]
    assert by_query(found, claim(queries="seen")) == [1, 0]
    assert by_query(found, claim(queries="misspelt")) == [0, 0.5, 0, 0.125]
    # RR@10 is .4375: the losses are 1 and .125 of that
    lost = by_query(found, claim(measure="misspelt loss"))
    assert lost == pytest.approx([1 / 0.4375, 0, 0, 0.125 / 0.4375])


def test_a_claim_holds_when_its_row_is_ahead_and_not_by_chance():
    assert verdict(claim(), result([1] * 20), result([2] * 20)) == (
        "- Claim of the paper: a is better: on small **held**: 1.000 against .500, p = 9.5e-07 "
        "(a against b, RR@10)."
    )
    assert "**did not hold**: .500 against 1.000, p = 1 " in verdict(
        claim(), result([2] * 20), result([1] * 20)
    )
    near = verdict(claim(), result([1, 2, 1, 2]), result([2, 1, 1, 2, 2][:4]))
    assert "**did not hold**: .750 against .750" in near


def test_a_factor_must_be_reached():
    better, worse = result([1] * 9 + [0]), result([1] + [0] * 9)
    told = verdict(claim(times=5, measure="Success@10"), better, worse)
    assert "**held**: .900 against .100, 9.0 times" in told
    assert "**did not hold**" in verdict(claim(times=10, measure="Success@10"), better, worse)


def test_of_losses_the_smaller_is_better():
    firm = result([1] * 20, [1] * 18 + [2] * 2)
    weak = result([1] * 20, [1] * 8 + [2] * 12)
    loss = claim(measure="misspelt loss", times=2)
    assert "**held**: .050 against .300, 6.0 times" in verdict(loss, firm, weak)
    assert "**did not hold**: .300 against .050" in verdict(loss, weak, firm)


def test_a_claim_may_be_held_against_a_baseline():
    own = {"systems": {"genir": figures(0.5), "bm25": figures(0.25)}}
    ahead = result([1], **own, p_values={"genir>bm25": 0.004})
    level = result([1], **own, p_values={"genir>bm25": 0.2})
    over = Claim(text="a is better", better="a", worse="bm25")
    assert "**held**: .500 against .250, p = 0.004 (a against bm25" in verdict(over, ahead, level)
    assert "**did not hold**: .500 against .250, p = 0.2 " in verdict(over, level, ahead)


def test_whose_claim_it_is_is_said():
    told = [verdict(claim(papers=papers), result([1]), result([1])) for papers in (True, False)]
    assert [text.partition(":")[0] for text in told] == ["- Claim of the paper", "- Claim"]


def test_what_cannot_be_judged_is_said():
    assert "**not testable here**, because no web." in verdict(
        Claim(text="it scales", not_testable="no web"), result([1]), result([1])
    )
    told = verdict(claim(), result([1]), {**result([1]), "asked": "x"})
    assert "**not measured yet**" in told
    assert "(not compared on small: the rows were asked different queries)" in told


def test_p_values_are_corrected_for_the_number_of_claims():
    pairs = result([1] * 5 + [2] * 15), result([1] * 1 + [2] * 19)
    one = Ablation(group="g", title="t", claims=(claim(),))
    two = Ablation(group="g", title="t", claims=(claim(), claim(measure="Success@1")))
    rows = {"small": dict(zip("ab", pairs, strict=True))}
    p = [
        float(text.split("p = ")[1].split(" ")[0]) for text in (judge(one, rows) + judge(two, rows))
    ]
    assert p[1] == pytest.approx(2 * p[0], rel=0.1) and p[0] < 0.05


def figures(value):
    return {kind: dict.fromkeys(MEASURES, value) for kind in ("all", "seen", "unseen", "misspelt")}


def whole(run, value, ranks):
    trained = {"recipe": run.row.recipe, "steps": 1200, "seconds": {"training": 90.0}, "dev": {}}
    return result(
        ranks,
        digest=run.digest,
        queries={"all": 4, "seen": 3, "unseen": 1},
        systems={"genir": figures(value), "bm25": figures(0.25)},
        p_values={"genir>bm25": 0.004},
        trained=[trained],
        minutes=run.budget.minutes,
        commands=[f"python train.py {run.name}"],
        commit="abc",
        processor="a processor, 2 cores",
    )


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "page.md"
    path.write_text(f"# Results\n\n{BEGIN}\nof yesterday\n{END}\n\n## Further\n")
    return path


def test_tables_stand_between_the_marks_and_twice_is_as_once(plan_file, tmp_path, page):
    plan = load_plan(plan_file)
    rows, queries, _ = runs(plan)
    store.write(tmp_path, rows, whole(rows, 0.75, [1, 1, 1, 0]))
    store.write(tmp_path, queries, {**whole(queries, 0.5, [1, 1, 0, 0]), "digest": "another"})
    rewrite(plan, tmp_path, page)
    text = page.read_text()
    assert text.startswith(f"# Results\n\n{BEGIN}\n### small-unseen\n\n4 test queries, 3 on seen")
    assert text.endswith(f"{END}\n\n## Further\n") and "yesterday" not in text
    lines = text.splitlines()
    assert f"| bm25 |{' .250 |' * 9}  |  |  |" in lines
    assert f"| rows |{' **.750** |' * 9} bm25‡ | 1,200 | 1.5 (0.004) |" in lines
    other = f"| rows-queries (of an earlier plan) |{' .500 |' * 9} bm25‡ | 1,200 | 1.5 (0.004) |"
    assert other in lines
    assert "**Not measured**: yet-to-come (no such recipe yet)." in lines
    assert "on small-unseen **did not hold**: .750 against .500" in text
    assert "# small-unseen/rows, commit abc, a processor, 2 cores\npython train.py rows\n" in text
    rewrite(plan, tmp_path, page)
    assert page.read_text() == text


def test_claims_may_stand_without_tables_of_their_own(plan_file, tmp_path, page):
    plan = load_plan(plan_file)
    for run, value in zip(runs(plan)[:2], (0.75, 0.5), strict=True):
        store.write(tmp_path, run, whole(run, value, [1, 1, 1, 0]))
    rewrite(plan, tmp_path, page)
    with_tables = page.read_text()
    bare = plan.ablations[0].model_copy(update={"shown": False})
    rewrite(plan.model_copy(update={"ablations": (bare,)}), tmp_path, page)
    assert "On small-unseen:" in with_tables and "On small-unseen:" not in page.read_text()
    assert "on small-unseen **did not hold**: .750 against .750" in page.read_text()


def test_a_table_says_what_its_minutes_are_of(plan_file, tmp_path, page):
    plan = load_plan(plan_file)
    rows, queries, _ = runs(plan)
    found = whole(rows, 0.75, [1, 1, 1, 0]), whole(queries, 0.5, [1, 1, 0, 0])
    for run, own in zip((rows, queries), found, strict=True):
        store.write(tmp_path, run, {**own, "processor": "NVIDIA H200", "jobs": 12})
    rewrite(plan, tmp_path, page)
    assert ". Minutes are of an NVIDIA H200 that 12 rows share.\n" in page.read_text()
    store.write(tmp_path, queries, found[1])
    rewrite(plan, tmp_path, page)
    told = "share (rows), of the processor's time (a processor, 2 cores) (rows-queries)."
    assert f"Minutes are of an NVIDIA H200 that 12 rows {told}" in page.read_text()
    store.write(tmp_path, queries, {**found[1], "processor": "NVIDIA H200"})
    rewrite(plan, tmp_path, page)
    assert ", of an NVIDIA H200 (rows-queries)." in page.read_text()


def test_a_row_with_the_steps_of_another_says_whose(like_file, tmp_path, page):
    plan = load_plan(like_file)
    rows, queries, _ = runs(plan)
    store.write(tmp_path, rows, whole(rows, 0.75, [1, 1, 1, 0]))
    own = store.settled(tmp_path, queries)
    store.write(tmp_path, own, {**whole(own, 0.5, [1, 1, 0, 0]), "like": "rows"})
    rewrite(plan, tmp_path, page)
    end = "bm25‡ | 1,200 | 1.5 (steps of rows) |"
    assert f"| rows-queries |{' .500 |' * 9} {end}" in page.read_text()


def test_a_failed_row_says_why(plan_file, tmp_path, page):
    plan = load_plan(plan_file)
    store.write_failure(tmp_path, runs(plan)[1], "error: no memory")
    rewrite(plan, tmp_path, page)
    assert "**Not measured**: rows, rows-queries (error: no memory)." in page.read_text()


def test_a_page_without_marks_is_left_alone(plan_file, tmp_path, page):
    page.write_text("mine")
    with pytest.raises(InputError, match="are missing; put them back"):
        rewrite(load_plan(plan_file), tmp_path, page)
    assert page.read_text() == "mine"
