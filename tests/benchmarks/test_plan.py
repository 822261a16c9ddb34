"""The plan: the shipped file, fingerprints, and the errors of a wrong plan."""

import pytest

from benchmarks.recipes.__main__ import PLAN
from benchmarks.recipes.plan import load_plan, runs
from genir.config import load_recipe, recipe_names
from genir.errors import InputError


def test_the_shipped_plan_has_every_recipe_that_retrieves():
    planned = {run.row.recipe for run in runs(load_plan(PLAN))}
    recipes = {name: load_recipe(name) for name in recipe_names()}
    retrieving = {name for name, recipe in recipes.items() if not recipe.decoding.is_text}
    parents = {recipe.model.init_from for recipe in recipes.values()}
    assert retrieving - parents <= planned <= set(recipes)


def test_prerequisites_hold_out_the_dev_queries_of_a_row_and_batches_are_scaled():
    found = {run.id: run.training for run in runs(load_plan(PLAN))}
    residual, tome = (found[f"squad-small-unseen/{name}"] for name in ("residual", "tome"))
    assert (residual.parent.recipe, residual.parent.steps, residual.steps) == (
        "default", (163,), (97,)
    )  # fmt: skip
    assert "training.dev_queries=300" in residual.parent.settings
    assert (tome.generator.steps, tome.steps) == ((66,), (26, 25))
    plain = load_plan(PLAN).settings
    assert found["squad-small-unseen/default"].settings == plain
    assert found["tldr-unseen/url"].settings == plain
    larger = ("batch_size=256", "learning_rate=0.0002", "head_learning_rate=0.001")
    scaled = (*plain, *(f"training.{setting}" for setting in larger))
    assert found["squad-small-unseen/url"].settings == scaled
    first = tuple(f"passage_stage.training.{one}" for one in ("num_dev_evals=2", *larger))
    assert tome.settings == (*scaled, *first)


@pytest.mark.parametrize(
    ("file", "old", "new", "changed"),
    [
        ("plan", "unseen = [3]", "unseen = [4]", True),
        ("plan", "queries = 12", "queries = 11", True),
        ("plan", "decay=0.02", "decay=0.03", True),
        ("plan", "the lead helps", "it helps", False),
        ("rows", "dev_queries = 8", "dev_queries = 6", True),
        ("rows", "\n[identifiers]", "description = 'other' # a comment\n[identifiers]", False),
    ],
)
def test_the_fingerprint_changes_with_the_inputs_of_a_row(
    plan_file, recipes, file, old, new, changed
):
    before = runs(load_plan(plan_file))[0].fingerprint
    path = recipes / f"{file}.toml"
    path.write_text(path.read_text().replace(old, new, 1))
    assert (runs(load_plan(plan_file))[0].fingerprint != before) == changed


@pytest.mark.parametrize(
    ("recipe", "steps", "prerequisite"),
    [("codes", "[3, 3]", "rows"), ("two", "[3, 3, 3]", "generator")],
)
def test_the_fingerprint_changes_with_a_prerequisite(
    plan_file, recipes, recipe, steps, prerequisite
):
    text = plan_file.read_text().replace("/rows.toml", f"/{recipe}.toml").replace("[3]", steps)
    text = text.replace('recipe = "', 'name = "rows"\nrecipe = "', 1)
    plan_file.write_text(text.replace("settings = ['tasks", "# ['tasks"))
    before = runs(load_plan(plan_file))[0].fingerprint
    path = recipes / f"{prerequisite}.toml"
    path.write_text(path.read_text().replace("learning_rate = 0.01", "learning_rate = 0.02"))
    assert runs(load_plan(plan_file))[0].fingerprint != before


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"table", "tasks"', '"table", "taks"', "unknown 'taks'; did you mean 'tasks'"),
        ("{ small-unseen", "{ smal-unseen", "unknown 'smal-unseen'; did you mean 'small-unseen'"),
        ("= [3]", "= [3, 3]", "small-unseen/rows: 2 numbers of steps do not fit"),
        ("= [3]", "= []", "small-unseen/rows: 0 numbers of steps do not fit"),
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
