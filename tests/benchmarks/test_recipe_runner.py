"""Rows from training to the result file, resuming, failures, and the command line."""

import json
import os
import signal
from types import SimpleNamespace

import pytest
import typer
from torch.optim.optimizer import register_optimizer_step_post_hook

from benchmarks.recipes.__main__ import main, run_row, run_rows
from benchmarks.recipes.corpora import seen_documents, write_collection
from benchmarks.recipes.plan import Collection, load_plan, runs
from benchmarks.recipes.results import read_result, status
from benchmarks.recipes.training import RowTrainer
from genir.errors import InputError
from genir.evaluation.compare import Options
from genir.evaluation.runner import BASELINES, compare_model
from genir.retriever import Retriever
from genir.training.stop_request import Stopped

FIGURES = {"Success@10": 0.5, "RR@10": 0.25}


def fake_row(names, failing=()):
    """Return a substitute for `run_row` that appends to `names`."""

    def measured(run):
        names.append(run.name)
        if run.name in failing:
            raise RuntimeError("out of memory")
        return {"fingerprint": run.fingerprint, "systems": {"genir": {"all": FIGURES}}}

    return measured


def test_finished_rows_are_skipped_and_a_failed_row_does_not_stop_the_others(
    plan_file, tmp_path, capsys
):
    planned, names = runs(load_plan(plan_file)), []
    assert run_rows(planned, tmp_path, fake_row(names, ["rows"])) == planned[:1]
    assert names == ["rows", "rows-queries"]
    shown = capsys.readouterr()
    assert "small-unseen/rows: failed: RuntimeError: out of memory" in shown.out
    assert "small-unseen/rows-queries: done: Success@10 0.500, RR@10 0.250" in shown.out
    assert "1 rows failed: small-unseen/rows" in shown.out and "Traceback" in shown.err
    main(show=True, plan=plan_file, results=tmp_path)
    listed = ["missing  small-unseen/rows", "done     small-unseen/rows-queries", "1 of 2 to run"]
    assert capsys.readouterr().out.splitlines() == listed
    for _ in range(2):
        assert run_rows(planned, tmp_path, fake_row(names)) == []
    assert names == ["rows", "rows-queries", "rows"]


def test_a_signal_stops_the_run(plan_file, tmp_path):
    def stopped(run):
        raise Stopped

    with pytest.raises(Stopped):
        run_rows(runs(load_plan(plan_file)), tmp_path, stopped)
    assert list(tmp_path.glob("small*")) == []


def test_a_row_has_the_figures_of_an_evaluation(plan_file, data, tmp_path, monkeypatch):
    run, work = runs(load_plan(plan_file))[0], (tmp_path / "work").resolve()
    kept = SimpleNamespace(rmtree=lambda model: None)
    monkeypatch.setattr("benchmarks.recipes.__main__.shutil", kept)
    result = run_row(run, data, work)
    assert str(work) not in json.dumps(result)
    assert result["settings"] == ["training.weight_decay=0.02"]
    assert [part["steps"] for part in result["trained"]] == [3]
    model, corpus = next((work / "models").iterdir()), work / "corpora" / "small-unseen"
    assert result["commands"][0] == (
        f"python train.py {run.row.recipe} --corpus $WORK/corpora/small-unseen --out "
        f"$WORK/models/{model.name} --set training.weight_decay=0.02 --set training.epochs=1000 "
        "--set training.max_steps=3"
    )
    files = corpus / "queries.jsonl", corpus / "qrels" / "test.tsv"
    whole = compare_model(Retriever.load(model), *files, BASELINES, Options(latency_queries=0))
    for kind, means in {"all": whole.overall, "misspelt": whole.typos}.items():
        for system, figures in means.systems.items():
            assert result["systems"][system][kind] == pytest.approx(figures, abs=1e-5)
    counts = result["queries"]
    assert counts["all"] == 12 == counts["seen"] + counts["unseen"]
    assert len(result["unseen"]) == counts["unseen"] > 0
    for key, kind in (("ranks", "all"), ("ranks_misspelt", "misspelt")):
        mean = sum(1 / rank for rank in result[key] if rank) / 12
        assert mean == pytest.approx(result["systems"]["genir"][kind]["RR@10"], abs=1e-5)


@pytest.mark.parametrize(
    ("recipe", "steps", "trained"),
    [
        ("codes", "[2, 3]", [("rows.toml", 2, None), ("codes.toml", 3, None)]),
        ("two", "[2, 3, 4]", [("generator.toml", 2, None), ("two.toml", 4, 3)]),
    ],
)
def test_prerequisites_are_trained_once(plan_file, data, tmp_path, recipe, steps, trained):
    work = (tmp_path / "work").resolve()
    text = plan_file.read_text().replace("/rows.toml", f"/{recipe}.toml").replace("[3]", steps)
    text = text.replace(
        "settings = ['tasks=[{task=\"queries\"}]']", 'settings = ["training.warmup=0.2"]'
    )
    plan_file.write_text(text.replace('"rows"', f'"{recipe}"'))
    planned = runs(load_plan(plan_file))
    corpus = write_collection(planned[0].collection, data, work)
    before = {}
    for run in planned:
        trainer = RowTrainer(corpus, work)
        trainer.train(run.training)
        found = [(part["recipe"].rpartition("/")[2], part["steps"], part.get("first"))
                 for part in trainer.trained]  # fmt: skip
        assert found == trained
        made = {path: path.stat().st_mtime_ns for path in (work / "models").iterdir()}
        assert len(made) == len(before or trainer.commands[1:]) + 1
        assert before.items() <= made.items()
        before = made


def test_a_stopped_training_resumes(plan_file, data, tmp_path):
    run, work, steps = runs(load_plan(plan_file))[0], tmp_path / "work", []

    def stop_at_second(optimizer, *_):
        steps.append(1)
        if len(steps) == 2:
            os.kill(os.getpid(), signal.SIGINT)

    hook = register_optimizer_step_post_hook(stop_at_second)
    try:
        with pytest.raises(Stopped):
            run_row(run, data, work)
        run_row(run, data, work)
    finally:
        hook.remove()
    assert len(steps) == 3, "no step is taken twice"


def test_a_collection_drops_train_queries_and_samples_test_queries(data, tiny_corpus, tmp_path):
    collection = Collection(name="small-unseen", source="small", unseen=0.25, queries=12)
    corpus = write_collection(collection, data, tmp_path)
    assert len(seen_documents(corpus)) == 30 and len(seen_documents(tiny_corpus)) == 40
    train, test = ((corpus / "qrels" / f"{split}.tsv").read_text() for split in ("train", "test"))
    assert len(train.splitlines()) == 61, "two for each of the other documents"
    whole = (tiny_corpus / "qrels" / "test.tsv").read_text().splitlines()
    assert len(test.splitlines()) == 13 and set(test.splitlines()) < set(whole)
    card = " ".join((corpus / "README.md").read_text().split())
    assert "25% of its documents (20 of 80 train queries), and with 12 of its 20 test" in card
    with pytest.raises(InputError, match="nowhere: not a folder; set GENIR_DATA"):
        write_collection(collection.model_copy(update={"source": "nowhere"}), data, tmp_path)


def test_the_command_writes_results_and_pages(plan_file, data, tmp_path, monkeypatch):
    work, results = tmp_path / "work", tmp_path / "results"
    results.mkdir()
    (results / "index.md").write_text("<!-- make results: begin -->\n<!-- make results: end -->\n")
    options = {"plan": plan_file, "work": work, "results": results}
    with pytest.raises(InputError, match=r"no row matches; --list"):
        main(only="tldr/*", **options)
    monkeypatch.delenv("GENIR_DATA", raising=False)
    with pytest.raises(InputError, match="GENIR_DATA: not a folder"):
        main(**options)
    monkeypatch.setenv("GENIR_DATA", str(data))
    main(only="*/rows", **options)
    run = runs(load_plan(plan_file))[0]
    assert read_result(results, run)["row"] == "rows"
    page = (results / "small-unseen.md").read_text()
    assert "| rows | " in page and "| bm25 | " in page
    assert list((work / "models").iterdir()) == []
    plan_file.write_text(plan_file.read_text().replace("decay=0.02", "decay=0.03"))
    stale = runs(load_plan(plan_file))[0]
    assert status(results, stale) == "stale"
    main(accept=True, **options)
    assert status(results, stale) == "done"
    monkeypatch.setattr("benchmarks.recipes.__main__.run_row", None)
    with pytest.raises(typer.Exit) as end:
        main(**options)
    assert end.value.exit_code == 1
