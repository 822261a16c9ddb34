"""The plan: the shipped file, fingerprints, and the errors of a wrong plan."""

from pathlib import Path

import pytest

from benchmarks.recipes.fingerprint import dev_split_settings
from benchmarks.recipes.plan import load_plan, runs
from benchmarks.recipes.results import accept, read_result, status, write_result
from genir.config import load_recipe, recipe_names
from genir.errors import InputError

SHIPPED = Path(__file__).parents[2] / "benchmarks" / "recipes" / "plan.toml"


def test_the_shipped_plan_has_every_recipe_that_retrieves():
    planned = runs(load_plan(SHIPPED))
    for run in planned:
        assert load_recipe(run.row.recipe, run.settings).tasks
    recipes = {name: load_recipe(name) for name in recipe_names()}
    retrieving = {name for name, recipe in recipes.items() if recipe.decoding.mode != "text"}
    parents = {recipe.model.init_from for recipe in recipes.values()}
    assert retrieving - parents <= {run.row.recipe for run in planned}


def test_the_fingerprint_changes_with_the_inputs_of_a_row(plan_file, recipes, tmp_path):
    run = runs(load_plan(plan_file))[0]
    assert status(tmp_path, run) == "missing"
    write_result(tmp_path, run, {"fingerprint": run.fingerprint, "ranks": [1, 0]})
    assert status(tmp_path, run) == "done"
    for old, new in (
        ("unseen = [3]", "unseen = [4]"),
        ("queries = 12", "queries = 11"),
        ("decay=0.02", "decay=0.03"),
    ):
        text = plan_file.read_text()
        plan_file.write_text(text.replace(old, new, 1))
        assert status(tmp_path, runs(load_plan(plan_file))[0]) == "stale", new
        plan_file.write_text(text)
    recipe = recipes / "rows.toml"
    recipe.write_text(f"# a comment\ndescription = 'other'\n{recipe.read_text()}")
    assert status(tmp_path, runs(load_plan(plan_file))[0]) == "done"
    recipe.write_text(recipe.read_text().replace("dev_queries = 8", "dev_queries = 6"))
    stale = runs(load_plan(plan_file))[0]
    assert status(tmp_path, stale) == "stale"
    accept(tmp_path, stale)
    assert status(tmp_path, stale) == "done" and read_result(tmp_path, run)["ranks"] == [1, 0]


@pytest.mark.parametrize(
    ("recipe", "steps", "prerequisite"),
    [("codes", "[3, 3]", "rows"), ("two", "[3, 3, 3]", "generator")],
)
def test_the_fingerprint_changes_with_a_prerequisite(
    plan_file, recipes, recipe, steps, prerequisite
):
    text = plan_file.read_text().replace("rows.toml", f"{recipe}.toml")
    plan_file.write_text(
        text.replace("[3]", steps).replace('recipe = "', 'name = "rows"\nrecipe = "', 1)
    )
    plan_file.write_text(plan_file.read_text().replace("settings = ['tasks", "# ['tasks"))
    before = runs(load_plan(plan_file))[0].fingerprint
    path = recipes / f"{prerequisite}.toml"
    path.write_text(path.read_text().replace("learning_rate = 0.01", "learning_rate = 0.02"))
    assert runs(load_plan(plan_file))[0].fingerprint != before


def test_a_parent_gets_the_dev_split_of_its_child():
    assert dev_split_settings("residual", ()) == ("training.dev_queries=500",)
    assert dev_split_settings("ddro", ()) == ()


def test_batches_of_encoder_decoders_are_scaled():
    plan = load_plan(SHIPPED)
    scaled, plain = (
        next(run for run in runs(plan) if run.collection.name == name)
        for name in ("squad-small-unseen", "tldr-unseen")
    )
    larger = ("batch_size=256", "learning_rate=0.0002", "head_learning_rate=0.001")
    own = (*plan.settings, *(f"training.{setting}" for setting in larger))
    assert scaled.shared_settings("default") == plain.shared_settings("url") == plan.settings
    assert scaled.shared_settings("url") == own
    first = tuple(f"passage_stage.training.{setting}" for setting in ("num_dev_evals=2", *larger))
    assert scaled.shared_settings("tome") == (*own, *first)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"table", "tasks"', '"table", "taks"', "unknown 'taks'; did you mean 'tasks'"),
        ("{ small-unseen", "{ smal-unseen", "unknown 'smal-unseen'; did you mean 'small-unseen'"),
        ("= [3]", "= [3, 3]", "2 numbers of steps for 1 training stages"),
        ('worse = "rows-queries"', 'worse = "row-queries"', "did you mean 'rows-queries'"),
        ('worse = "rows-queries"', 'worse = "bm25"', "bm25 has only RR@10 of all queries"),
        ('name = "rows-queries"', 'name = "rows"', "two rows are called 'small-unseen/rows'"),
        ("queries = 12", "querys = 12", "querys"),
        ("[[ablations]]", "[ablations", "not valid TOML"),
    ],
)
def test_a_wrong_plan_is_an_error(plan_file, old, new, message):
    plan_file.write_text(plan_file.read_text().replace(old, new, 1))
    with pytest.raises(InputError, match=message):
        load_plan(plan_file)
