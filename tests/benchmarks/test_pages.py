"""Pages rendered from results written by hand."""

import pytest

from benchmarks.recipes.pages import BEGIN, END, Pages
from benchmarks.recipes.plan import load_plan, runs
from benchmarks.recipes.results import read_result, status, write_result
from genir.errors import InputError
from genir.evaluation.measures import MEASURES


def figures(value):
    return {kind: dict.fromkeys(MEASURES, value) for kind in ("all", "seen", "unseen", "misspelt")}


def result(run, value, ranks, **more):
    return {
        "fingerprint": run.fingerprint,
        "asked": "same",
        "ranks": ranks,
        "ranks_misspelt": ranks,
        "unseen": [],
        "queries": {"all": 4, "seen": 3, "unseen": 1},
        "systems": {"genir": figures(value), "bm25": figures(0.25)},
        "p_values": {"genir>bm25": 0.004},
        "trained": [{"steps": 1200, "first": 50, "seconds": {"training": 90.0}}],
        "commands": [f"python train.py {run.name}"],
        "commit": "abc",
        "processor": "a processor, 2 cores",
        **more,
    }


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "index.md").write_text(
        f"# Results\n\n{BEGIN}\nprevious\n{END}\n\n## Next\n"
    )
    return tmp_path / "results"


def test_a_page_has_tables_claims_and_commands(plan_file, folder):
    plan = load_plan(plan_file)
    rows, queries = runs(plan)
    write_result(folder, rows, result(rows, 0.75, [1, 1, 1, 0], processor="NVIDIA H200"))
    write_result(folder, queries, result(queries, 0.5, [1, 1, 0, 0], fingerprint="other"))
    assert [status(folder, run) for run in (rows, queries)] == ["done", "stale"]
    assert read_result(folder, rows)["ranks"] == [1, 1, 1, 0]
    Pages(plan, folder).write()
    text = (folder / "small-unseen.md").read_text()
    lines = text.splitlines()
    assert "*4 test queries, 3 on seen and 1 on unseen documents; a random sample" in text
    assert lines.count(f"| bm25 |{' .250 |' * 9}  |  |  |") == 1
    end = "bm25‡ | 50 + 1,200 | 1.5"
    assert lines.count(f"| rows |{' **.750** |' * 9} {end} GPU |") == 2
    assert f"| rows-queries (of an earlier plan) |{' .500 |' * 9} {end} CPU |" in lines
    assert "the lead helps: **did not hold**: .750 against .500" in text
    assert "# rows, commit abc, NVIDIA H200\npython train.py rows\n" in text
    index = (folder / "index.md").read_text()
    assert index.startswith(f"# Results\n\n{BEGIN}\n*Success@10") and "previous" not in index
    assert index.endswith(f"{END}\n\n## Next\n")
    assert "\n| rows | .750 / .750 |\n" in index and "Of 1 claims of papers" in index
    assert "| the lead helps | paper | rows > rows-queries | did not hold |" in index
    Pages(plan, folder).write()
    assert (folder / "index.md").read_text() == index


def test_missing_rows_are_listed(plan_file, folder):
    plan = load_plan(plan_file)
    write_result(folder, runs(plan)[0], result(runs(plan)[0], 0.75, [1, 0]))
    Pages(plan, folder).write()
    assert "**Not measured**: rows-queries." in (folder / "small-unseen.md").read_text()


def test_an_index_without_marks_is_unchanged(plan_file, folder):
    (folder / "index.md").write_text("text")
    with pytest.raises(InputError, match="add them around the summary"):
        Pages(load_plan(plan_file), folder).write()
    assert (folder / "index.md").read_text() == "text"
