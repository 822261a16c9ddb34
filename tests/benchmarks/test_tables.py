"""Tables rendered from results written by hand."""

import pytest

from benchmarks.recipes.plan import load_plan, runs
from benchmarks.recipes.results import write_result
from benchmarks.recipes.tables import BEGIN, END, rewrite
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
def page(tmp_path):
    path = tmp_path / "page.md"
    path.write_text(f"# Results\n\n{BEGIN}\nprevious\n{END}\n\n## Next\n")
    return path


def test_tables_replace_the_text_between_the_marks(plan_file, tmp_path, page):
    plan = load_plan(plan_file)
    rows, queries = runs(plan)
    write_result(tmp_path, rows, result(rows, 0.75, [1, 1, 1, 0], minutes=0.5))
    stale = result(queries, 0.5, [1, 1, 0, 0], like="rows", fingerprint="other")
    write_result(tmp_path, queries, stale)
    rewrite(plan, tmp_path, page)
    text = page.read_text()
    assert text.startswith(f"# Results\n\n{BEGIN}\n### small-unseen\n\n4 test queries, 3 on seen")
    assert text.endswith(f"{END}\n\n## Next\n") and "previous" not in text
    end = "bm25‡ | 50 + 1,200 | 1.5"
    lines = text.splitlines()
    assert f"| bm25 |{' .250 |' * 9}  |  |  |" in lines
    assert lines.count(f"| rows |{' **.750** |' * 9} {end} (0.5) |") == 2
    other = f"| rows-queries (of an earlier plan) |{' .500 |' * 9} {end} (steps of rows) |"
    assert other in lines
    assert "on small-unseen **did not hold**: .750 against .500" in text
    assert "# small-unseen/rows, commit abc, a processor, 2 cores\npython train.py rows\n" in text
    rewrite(plan, tmp_path, page)
    assert page.read_text() == text
    hidden = plan.ablations[0].model_copy(update={"shown": False})
    rewrite(plan.model_copy(update={"ablations": (hidden,)}), tmp_path, page)
    assert "On small-unseen:" in text and "On small-unseen:" not in page.read_text()


def test_the_caption_names_the_processors(plan_file, tmp_path, page):
    plan = load_plan(plan_file)
    rows, queries = runs(plan)
    write_result(tmp_path, rows, result(rows, 0.75, [1, 0], processor="NVIDIA H200", jobs=12))
    rewrite(plan, tmp_path, page)
    assert ". Minutes are of an NVIDIA H200 that 12 rows share.\n" in page.read_text()
    assert "**Not measured**: rows-queries." in page.read_text()
    write_result(tmp_path, queries, result(queries, 0.5, [1, 0]))
    rewrite(plan, tmp_path, page)
    caption = "share (rows), of the processor's time (a processor, 2 cores) (rows-queries)."
    assert f"Minutes are of an NVIDIA H200 that 12 rows {caption}" in page.read_text()


def test_a_page_without_marks_is_unchanged(plan_file, tmp_path, page):
    page.write_text("text")
    with pytest.raises(InputError, match="add them where the tables belong"):
        rewrite(load_plan(plan_file), tmp_path, page)
    assert page.read_text() == "text"
