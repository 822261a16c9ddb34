"""Which row begins next where several run side by side."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.budget import Pace
from benchmarks.corpora import build
from benchmarks.locks import held
from benchmarks.order import needs_of, next_run
from benchmarks.parts import Bench, places, train_row
from benchmarks.plan import Budget, Collection, for_all, load_plan, runs

TOP = Path(__file__).parents[2]
ROWS = """
[[rows]]
recipe = "{folder}/codes.toml"
name = "codes-warm"
collections = ["small-unseen"]
settings = ["training.warmup=0.2"]

[[rows]]
recipe = "{folder}/codes.toml"
name = "codes-long"
collections = ["small-unseen"]
minutes = 1
"""


@pytest.fixture
def planned(plan_file, recipes):
    """Rows by name: of `codes` three, two of which start from the same; two that need nothing."""
    text = plan_file.read_text().replace('"yet-to-come"', f'"{recipes}/codes.toml"')
    plan_file.write_text(text + ROWS.format(folder=recipes))
    return {run.name: run for run in runs(load_plan(plan_file))}


def test_no_row_waits_for_what_another_is_making(planned, tmp_path):
    needs = needs_of(list(planned.values()), tmp_path)
    (shared,), (other,) = (needs[planned[name].place] for name in ("codes", "codes-long"))
    assert needs[planned["codes-warm"].place] == [shared] != [other]
    assert needs[planned["rows"].place] == []
    waiting, running, begun = list(planned.values()), [], []
    while waiting:
        running.append(next_run(waiting, running, needs))
        waiting.remove(running[-1])
        begun.append(running[-1].name)
    assert begun == ["codes-long", "codes", "rows", "rows-queries", "codes-warm"]
    shared.mkdir(parents=True)
    running = [planned["codes"]]
    assert next_run([planned["rows"], planned["codes-warm"]], running, needs).name == "rows"
    assert next_run([planned["codes-warm"], planned["rows"]], running, needs).name == "codes-warm"


def test_a_row_that_others_are_to_be_like_begins_before_one_that_nobody_waits_for(
    planned, tmp_path
):
    needs = needs_of(list(planned.values()), tmp_path)
    rows, queries = planned["rows"], planned["rows-queries"]
    assert next_run([queries, rows], [], needs).name == "rows-queries"
    waits = replace(planned["codes-warm"], like=rows)
    assert next_run([queries, rows], [], needs, [waits]).name == "rows"


@pytest.mark.parametrize("name", ["codes", "two"])
def test_parts_are_made_where_they_are_looked_for(recipes, data, tmp_path, monkeypatch, name):
    monkeypatch.setattr("benchmarks.budget.probe", lambda *_: Pace(1.0, 0.0))
    work = (tmp_path / "work").resolve()
    recipe = str(recipes / f"{name}.toml")
    collection = Collection(name="small", source="small")
    budget = Budget(minutes=1, settings=("training.weight_decay=0.02",))
    bench = Bench(build(collection, data, work), work, budget)
    settings = for_all(budget, recipe)
    told = list(places(bench, recipe, settings, 8))
    trained = train_row(bench, recipe, settings, 8, work / "row")
    assert told and all(path.exists() for path in told)
    made = {path for path in (work / "parts").iterdir() if not path.name.endswith(".steps.json")}
    assert made == set(told)
    commands = [line for line in trained.commands if line.startswith("python")]
    assert all("training.weight_decay=0.02" in line for line in commands)
    first = "first.training.weight_decay=0.02"
    assert [first in line for line in commands] == [False, name == "two"]


def test_batches_grow_for_encoder_decoders_and_learning_rates_with_their_root():
    budget = Budget(minutes=1, batches=4, settings=("training.evaluations=2", "pseudo.count=1"))
    larger = ("batch_size=256", "learning_rate=0.0002", "head_learning_rate=0.001")
    own = tuple(f"training.{one}" for one in larger)
    assert for_all(budget, "default") == budget.settings
    assert for_all(budget, "url") == (*budget.settings, *own)
    first = tuple(f"first.training.{one}" for one in ("evaluations=2", *larger))
    assert for_all(budget, "tome") == (*budget.settings, *own, *first)


WAITER = """
import sys
from pathlib import Path
from benchmarks.locks import held
print("asks", flush=True)
with held(Path(sys.argv[1]), "part"):
    print("holds", (Path(sys.argv[1]) / "made").exists(), flush=True)
"""


def test_who_waits_for_a_part_finds_it_made(tmp_path):
    with held(tmp_path, "part"):
        words = [sys.executable, "-c", WAITER, str(tmp_path)]
        child = subprocess.Popen(words, cwd=TOP, stdout=subprocess.PIPE, text=True)
        assert child.stdout.readline() == "asks\n"
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(0.5)
        with held(tmp_path, "another part"):
            (tmp_path / "made").touch()
    assert child.communicate(timeout=60)[0] == "holds True\n"
