"""The plan as it ships, and what makes a row done, stale or refused."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import store
from benchmarks.contents import held_out_alike, recipe_facts
from benchmarks.plan import load_plan, runs
from genir.config import load_recipe, recipe_names
from genir.errors import InputError

SHIPPED = Path(__file__).parents[2] / "benchmarks" / "plan.toml"


def test_every_recipe_that_finds_documents_is_in_the_plan():
    planned = {run.row.recipe for run in runs(load_plan(SHIPPED))}
    recipes = {name: load_recipe(name) for name in recipe_names()}
    finding = {name for name, recipe in recipes.items() if recipe.decoding.mode != "free"}
    # What is only there for another recipe to start from is a part of that one's row.
    earlier = {recipe.model.start for recipe in recipes.values()} - planned
    assert finding - earlier <= planned and earlier <= {*finding, ""}


def test_the_settings_of_every_row_fit_its_recipe():
    for run in runs(load_plan(SHIPPED)):
        if run.has_recipe:
            recipe = load_recipe(run.row.recipe, run.row.settings)
            assert recipe.tasks and len(run.digest) == 16


def test_a_start_is_told_what_to_hold_out_where_it_would_not_by_itself(recipes):
    codes = str(recipes / "codes.toml")
    alike = [recipe_facts(codes)[1], recipe_facts(codes, ("training.warmup=0.2",))[1]]
    assert alike == [recipe_facts(str(recipes / "rows.toml"))] * 2
    (own,) = recipe_facts(codes, ("training.seed=5", "training.dev_queries=8"))[1]
    assert own["training"]["seed"] == 5 and own["training"]["dev_queries"] == 8
    assert held_out_alike("residual", ()) == ("training.dev_queries=500",)
    assert held_out_alike("ddro", ()) == ()


def test_a_row_is_stale_when_what_it_depends_on_changes(plan_file, recipes, tmp_path):
    run = runs(load_plan(plan_file))[0]
    results = tmp_path / "results"
    assert store.state(results, run) == "missing"
    store.write(results, run, {"digest": run.digest})
    assert store.state(results, run) == "done"
    assert store.state(results, runs(load_plan(plan_file, minutes=9))[0]) == "stale"
    rows = recipes / "rows.toml"
    rows.write_text(f"# a remark\ndescription = 'told otherwise'\n{rows.read_text()}")
    assert store.state(results, run) == "done", "what it says of itself changes nothing"
    rows.write_text(rows.read_text().replace("dev_queries = 8", "dev_queries = 6"))
    assert store.state(results, run) == "stale"


def test_a_row_depends_on_what_it_starts_from_and_what_makes_up_its_queries(plan_file, recipes):
    text = plan_file.read_text()
    for name, part in (("codes", "rows"), ("two", "writer")):
        plan_file.write_text(text.replace('rows.toml"', f'{name}.toml"\nname = "rows"', 1))
        before = runs(load_plan(plan_file))[0].digest
        path = recipes / f"{part}.toml"
        path.write_text(path.read_text().replace("learning_rate = 0.01", "learning_rate = 0.02"))
        assert runs(load_plan(plan_file))[0].digest != before


def trained(*parts):
    return {"trained": [{"recipe": recipe, "steps": steps} for recipe, steps in parts]}


def test_a_row_waits_for_the_one_it_is_like_and_depends_on_its_steps(like_file, tmp_path):
    rows, queries, _ = runs(load_plan(like_file))
    assert store.state(tmp_path, queries) == "waits"
    store.write(tmp_path, rows, {"digest": rows.digest, **trained((rows.row.recipe, 7))})
    assert store.state(tmp_path, queries) == "missing"
    settled = store.settled(tmp_path, queries)
    assert settled.taken == {rows.row.recipe: {"main": 7}}
    store.write(tmp_path, queries, {"digest": settled.digest})
    assert store.state(tmp_path, queries) == "done"
    store.write(tmp_path, rows, {"digest": rows.digest, **trained((rows.row.recipe, 8))})
    assert store.state(tmp_path, queries) == "stale"
    store.write(tmp_path, rows, {"digest": "another", **trained((rows.row.recipe, 7))})
    assert store.state(tmp_path, queries) == "waits"


def test_another_recipe_takes_the_steps_of_the_last_training(like_file, recipes, tmp_path):
    rows = f"{recipes}/rows.toml"
    other = recipes / "other.toml"
    other.write_text((recipes / "rows.toml").read_text())
    text = like_file.read_text()
    like_file.write_text(text.replace('"yet-to-come"', f'"{other}"\nlike = "rows"'))
    first, _, last = runs(load_plan(like_file))
    store.write(tmp_path, first, {"digest": first.digest, **trained(("made-up", 2), (rows, 7))})
    taken = {"made-up": {"main": 2}, str(other): {"main": 7}}
    assert store.settled(tmp_path, last).taken == taken


def test_who_starts_from_the_other_takes_the_steps_of_its_last_training_twice(
    like_file, recipes, tmp_path
):
    rows, codes = f"{recipes}/rows.toml", f"{recipes}/codes.toml"  # codes start from rows
    text = like_file.read_text()
    like_file.write_text(text.replace('"yet-to-come"', f'"{codes}"\nname = "x"\nlike = "rows"'))
    first, _, last = runs(load_plan(like_file))
    store.write(tmp_path, first, {"digest": first.digest, **trained((rows, 7))})
    assert store.settled(tmp_path, last).taken == {rows: {"main": 7}, codes: {"main": 7}}


def test_who_trained_a_recipe_twice_in_other_steps_is_nobodys_model(like_file, tmp_path):
    rows, queries, _ = runs(load_plan(like_file))
    own = rows.row.recipe
    twice = trained(("x", 7), ("x", 7), (own, 2))
    store.write(tmp_path, rows, {"digest": rows.digest, **twice})
    assert store.settled(tmp_path, queries).taken == {"x": {"main": 7}, own: {"main": 2}}
    store.write(tmp_path, rows, {"digest": rows.digest, **trained(("x", 7), ("x", 8), (own, 2))})
    with pytest.raises(InputError, match="has trained 'x' twice, in different steps"):
        store.state(tmp_path, queries)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('like = "rows"', 'like = "row"', "no other row of the collection; did you mean 'rows'"),
        ('like = "rows"', 'like = "rows-queries"', "no other row of the collection"),
        ('like = "rows"', 'like = "rows"\nminutes = 2', "take `minutes` out"),
        (
            '"yet-to-come"',
            '"{folder}/rows.toml"\nname = "x"\nlike = "rows-queries"',
            "itself like 'rows'",
        ),
        (
            "settings = ['tasks=[{task=\"queries\"}]']",
            "settings = ['model.start=\"{folder}/codes.toml\"']",
            "trains no '.*codes.toml', which this row needs",
        ),
    ],
)
def test_a_row_that_cannot_be_like_another_is_refused(like_file, recipes, old, new, message):
    text = like_file.read_text()
    assert old in text
    like_file.write_text(text.replace(old, new.replace("{folder}", str(recipes)), 1))
    with pytest.raises(InputError, match=message):
        load_plan(like_file)


def test_a_row_that_names_no_recipe_has_all_of_the_one_that_it_is_like(like_file, recipes):
    named = runs(load_plan(like_file))[1]
    text = like_file.read_text()
    recipe = f'recipe = "{recipes}/rows.toml"\n'
    assert text.count(recipe) == 2
    before, first, after = text.split(recipe)
    like_file.write_text(f'{before}{recipe}settings = ["training.seed=3"]\n{first}{after}')
    parent, run, _ = runs(load_plan(like_file))
    assert run.row.recipe == parent.row.recipe == named.row.recipe
    assert run.row.settings == (*parent.row.settings, 'tasks=[{task="queries"}]')
    assert "training.seed=3" in parent.row.settings


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('\nlike = "rows"', "", "rows: rows-queries names no `recipe`; name one, or give"),
        (
            'name = "rows-queries"',
            "",
            "rows: a row names no `recipe`; name one, or give it a `name`",
        ),
        (
            'like = "rows"',
            'like = "row"',
            "no row that has one is called 'row'; did you mean 'rows'",
        ),
    ],
)
def test_a_row_that_names_neither_a_recipe_nor_whose_it_has_is_refused(
    like_file, recipes, old, new, message
):
    text = like_file.read_text()
    recipe = f'recipe = "{recipes}/rows.toml"\n'
    at = text.rindex(recipe)
    text = text[:at] + text[at + len(recipe) :]
    assert text.count(old) >= 1
    like_file.write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=message):
        load_plan(like_file)


def test_a_failure_is_told_until_the_row_is_done(plan_file, tmp_path):
    run = runs(load_plan(plan_file))[0]
    store.write_failure(tmp_path, run, "out of memory")
    assert (store.state(tmp_path, run), store.failure(tmp_path, run)) == ("failed", "out of memory")
    store.write(tmp_path, run, {"digest": run.digest})
    assert (store.state(tmp_path, run), store.failure(tmp_path, run)) == ("done", "")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"table", "tasks"', '"table", "taks"', "unknown 'taks'; did you mean 'tasks'"),
        ('["small-unseen"]', '["smal"]', "unknown 'smal'; did you mean 'small-unseen'"),
        ('worse = "rows-queries"', 'worse = "row-queries"', "did you mean 'rows-queries'"),
        ('name = "rows-queries"', 'name = "rows"', "two rows are called 'small-unseen/rows'"),
        ('worse = "rows-queries"', 'worse = "bm26"', "unknown 'bm26'; did you mean 'bm25'"),
        ('worse = "rows-queries"', 'worse = "bm25"', "of 'bm25', RR@10 of all queries is known"),
        ("minutes = 0.004", "minuts = 1", "minuts"),
        ("[budget]", "[budget", "not valid TOML"),
        ("[budget]", "budget = 3\n[other]", r"plan.toml: .*budget"),
        ("queries = 12", "queries = 12\nbudget = 3", r"plan.toml: .*budget"),
    ],
)
def test_a_plan_that_does_not_fit_is_refused(plan_file, old, new, message):
    plan_file.write_text(plan_file.read_text().replace(old, new))
    with pytest.raises(InputError, match=message):
        load_plan(plan_file)


@pytest.fixture
def two_machines(plan_file):
    """A plan whose rows are of a GPU's minutes, on one collection of a CPU's."""
    text = plan_file.read_text().replace("[budget]", '[budget]\ndevice = "gpu"', 1)
    own = 'budget = {device = "cpu", minutes = 2}'
    plan_file.write_text(text.replace("queries = 12", f"queries = 12\n{own}", 1))
    return plan_file


@pytest.mark.parametrize(("gpu", "reason"), [(False, ""), (True, "its minutes are of a CPU alone")])
def test_a_collection_may_have_its_own_budget_and_machine(two_machines, monkeypatch, gpu, reason):
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpu)
    planned = load_plan(two_machines)
    run = runs(planned)[0]
    assert (run.budget.minutes, run.budget.device, run.budget.timed) == (2, "cpu", 2)
    assert run.elsewhere == reason
    assert planned.budget.elsewhere == ("" if gpu else "its minutes are of a GPU")
    assert replace(run, taken={"rows": {"main": 3}}).elsewhere == "", "known steps run anywhere"
    assert runs(load_plan(two_machines, minutes=9))[0].budget.minutes == 9


def test_the_machine_is_no_part_of_what_a_result_depends_on(plan_file):
    before = runs(load_plan(plan_file))[0].digest
    plan_file.write_text(plan_file.read_text().replace("[budget]", '[budget]\ndevice = "cpu"', 1))
    assert runs(load_plan(plan_file))[0].digest == before


def test_a_bad_budget_of_a_collection_is_refused_by_its_name(two_machines):
    two_machines.write_text(two_machines.read_text().replace("minutes = 2", "minuts = 2"))
    with pytest.raises(InputError, match=r"plan.toml: .*budget.*minuts"):
        load_plan(two_machines)
