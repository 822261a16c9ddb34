"""Rows from nothing to a result: what is trained, in how many steps, and what is written down."""

import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import budget, store
from benchmarks.budget import ON_CPU, Enough, Fit, Pace, Watch, fit
from benchmarks.corpora import build, seen_documents
from benchmarks.measure import Asking, measure
from benchmarks.parts import Bench, train_row
from benchmarks.plan import Budget, Collection, load_plan, runs
from benchmarks.row import Places, complete
from genir.errors import InputError
from genir.evaluation.compare import Options
from genir.evaluation.measures import MEASURES
from genir.evaluation.session import BASELINES, compare_model
from genir.retriever import Retriever
from genir.training.job import Job, train
from genir.training.loop import Trainer
from genir.training.signals import Stopped
from genir.training.split import DevSplit

SMALL = Collection(name="small-unseen", source="small", unseen=0.25, queries=12)


@pytest.fixture
def places(data, tmp_path):
    return Places(data, (tmp_path / "work").resolve(), tmp_path / "results")


@pytest.fixture
def bench(data, tmp_path):
    work = (tmp_path / "work").resolve()
    return Bench(build(SMALL, data, work), work, Budget(minutes=1))


@pytest.fixture
def slow(monkeypatch):
    """Let a probe find that a step takes a second, whatever the machine."""
    monkeypatch.setattr(budget, "probe", lambda *_: Pace(1.0, 0.0))


def test_a_row_leaves_a_result_and_no_model(plan_file, places):
    run = runs(load_plan(plan_file))[0]
    complete(run, places)
    result = store.read(places.results, run)
    assert (result["collection"], result["row"], result["digest"]) == (
        "small-unseen", "rows", run.digest)  # fmt: skip
    assert list(result["systems"]) == ["genir", "bm25", "dense", "rrf"]
    for figures in result["systems"].values():
        assert all(set(own) == set(MEASURES) for own in figures.values())
        assert set(figures) == {"all", "seen", "unseen", "misspelt"}
    counts = result["queries"]
    assert counts["all"] == 12 == counts["seen"] + counts["unseen"] == len(result["ranks"])
    assert len(result["unseen"]) == counts["unseen"] > 0
    mean = sum(1 / rank for rank in result["ranks"] if rank) / 12
    assert mean == pytest.approx(result["systems"]["genir"]["all"]["RR@10"], abs=1e-5)
    wrong = sum(1 / rank for rank in result["ranks_misspelt"] if rank) / 12
    assert wrong == pytest.approx(result["systems"]["genir"]["misspelt"]["RR@10"], abs=1e-5)
    assert result["trained"][0]["steps"] >= 1
    assert str(places.work) not in json.dumps(result)
    assert list((places.work / "rows").iterdir()) == []
    assert store.state(places.results, run) == "done"


def test_baselines_are_asked_once_and_all_answers_are_those_of_an_evaluation(
    bench, recipes, slow, monkeypatch
):
    out = bench.work / "model"
    train_row(bench, str(recipes / "rows.toml"), (), 7, out)
    asking = Asking(bench.corpus, bench.work, 2)
    told = measure(out, asking)
    monkeypatch.setattr("benchmarks.measure.fit_baselines", None)
    again = measure(out, asking)
    monkeypatch.undo()
    assert again.pop("latency_ms").keys() == told.pop("latency_ms").keys() == {"genir"}
    assert again == told
    retriever = Retriever.load(out)
    files = bench.corpus / "queries.jsonl", bench.corpus / "qrels" / "test.tsv"
    whole = compare_model(retriever, *files, BASELINES, Options(timed=0))
    kinds = {"all": whole.overall, "misspelt": whole.typos}
    for kind, means in kinds.items():
        for system, figures in means.systems.items():
            assert told["systems"][system][kind] == pytest.approx(figures, abs=1e-5)
    assert told["bytes_per_document"] == {
        name: round(size) for name, size in whole.bytes_per_document.items()
    }


def test_the_steps_fill_the_time_and_the_command_trains_the_same(bench, recipes, slow, tmp_path):
    out = bench.work / "model"
    trained = train_row(bench, str(recipes / "rows.toml"), (), 7.5, out)
    assert trained.told[0]["steps"] == 7
    assert trained.commands == (
        f"python train.py {recipes}/rows.toml --corpus $WORK/corpora/small-unseen --out "
        "$WORK/model --set training.epochs=1000 --set training.max_steps=7",
    )
    settings = ("training.epochs=1000", "training.max_steps=7")
    again = tmp_path / "again"
    train(Job(str(recipes / "rows.toml"), bench.corpus, again, settings=settings))
    weights = [(folder / "model.safetensors").read_bytes() for folder in (out, again)]
    assert weights[0] == weights[1]


def test_a_start_takes_half_of_the_time_and_is_made_once(bench, recipes, slow):
    codes = str(recipes / "codes.toml")
    first = train_row(bench, codes, (), 8, bench.work / "one")
    assert [told["steps"] for told in first.told] == [4, 4]
    start, own = first.commands
    assert f"--set model.start={start.split('--out ')[1].split()[0]}" in own
    parts = sorted((bench.work / "parts").iterdir())
    times = [path.stat().st_mtime_ns for path in parts]
    train_row(bench, codes, ("training.warmup=0.2",), 8, bench.work / "other")
    assert sorted((bench.work / "parts").iterdir()) == parts
    assert [path.stat().st_mtime_ns for path in parts] == times


@pytest.fixture
def splits(monkeypatch):
    """What each training, probes included, learned from and is measured on, by its recipe."""
    seen, real = {}, Trainer.__init__

    def note(self, retriever, split, work):
        seen.setdefault(retriever.recipe.name, []).append(split)
        real(self, retriever, split, work)

    monkeypatch.setattr(Trainer, "__init__", note)
    return seen


@pytest.mark.parametrize("settings", [("training.seed=5",), ("training.dev_queries=4",)])
def test_a_start_never_sees_what_the_row_holds_out(bench, recipes, slow, splits, settings):
    trained = train_row(bench, str(recipes / "codes.toml"), settings, 8, bench.work / "one")
    assert f"--set {settings[0]}" in trained.commands[0]
    (start,), (row,) = splits["rows"], splits["codes"]
    learned = {text for texts in start.train.values() for text in texts}
    assert len(row.questions) == (4 if "dev_queries" in settings[0] else 6)
    assert not learned & row.questions.keys() and start.questions == row.questions


def test_queries_are_made_up_by_a_quarter_and_two_stages_share_the_rest(bench, recipes, slow):
    out = bench.work / "two"
    trained = train_row(bench, str(recipes / "two.toml"), (), 16, out)
    writer, two = trained.told
    assert (writer["steps"], two["first"], two["steps"]) == (4, 6, 6)
    assert [line.split()[:2] for line in trained.commands] == [
        ["python", "train.py"], ["genir", "generate-queries"], ["python", "train.py"]]  # fmt: skip
    assert "--set training.dev_queries=4" in trained.commands[0]
    assert "--set count=2 --set length=6" in trained.commands[1]
    retriever = Retriever.load(out)
    assert retriever.recipe.training.max_steps == retriever.recipe.first.training.max_steps == 6
    assert len(retriever.search(["erase a text"], 5)[0]) == 5


def test_a_row_takes_the_steps_of_the_one_it_is_like_without_a_probe(
    like_file, places, slow, monkeypatch
):
    rows, queries, _ = runs(load_plan(like_file, minutes=5 / 120))
    with pytest.raises(InputError, match="small-unseen/rows-queries: waits for small-unseen/rows;"):
        complete(queries, places)
    complete(rows, places)
    monkeypatch.setattr(budget, "probe", None)
    complete(queries, places)
    own, other = (store.read(places.results, run) for run in (queries, rows))
    assert own["trained"][0]["steps"] == other["trained"][0]["steps"] == 5
    assert own["like"] == "rows" and "like" not in other
    assert own["trained"][0]["seconds"]["training"] > 0 and own["processor"]
    assert store.state(places.results, queries) == "done"


def test_parts_take_known_steps_too_and_are_shared_where_they_took_them(
    bench, recipes, slow, monkeypatch
):
    two = str(recipes / "two.toml")
    trained = train_row(bench, two, (), 16, bench.work / "one")
    writer = {str(recipes / "writer.toml"): {"main": 4}}
    alike = replace(bench, taken={**writer, two: {"first": 6, "main": 6}})
    fewer = replace(
        bench, taken={str(recipes / "writer.toml"): {"main": 3}, two: {"first": 2, "main": 5}}
    )
    monkeypatch.setattr(budget, "probe", None)
    same = train_row(alike, two, ("training.warmup=0.2",), 16, bench.work / "same")
    assert same.commands[:2] == trained.commands[:2]
    assert (same.told[1]["first"], same.told[1]["steps"]) == (6, 6)
    other = train_row(fewer, two, (), 16, bench.work / "other")
    assert (other.told[0]["steps"], other.told[1]["first"], other.told[1]["steps"]) == (3, 2, 5)
    parts = [file for file in (bench.work / "parts").glob("*writer*") if file.is_dir()]
    assert len(parts) == 2


def test_a_stopped_row_goes_on_with_the_steps_that_were_found(bench, recipes, monkeypatch):
    asked = Fit(str(recipes / "rows.toml"), (), bench.corpus, bench.work / "model", 5.0)
    monkeypatch.setattr(budget, "probe", lambda *_: Pace(1.0, 0.0))
    monkeypatch.setattr("genir.training.loop.Trainer._step", stopping_at(3))
    with pytest.raises(Stopped):
        fit(asked)
    monkeypatch.undo()
    monkeypatch.setattr(budget, "probe", None)  # it is not asked again
    assert fit(asked) == {"main": 5}
    assert json.loads((asked.out / "metrics.json").read_text())["steps"] == 5


def stopping_at(last):
    """Return a training step that sends Ctrl-C at step `last`."""
    step, taken = Trainer._step, []

    def stepped(self, batch):
        taken.append(1)
        if len(taken) == last:
            os.kill(os.getpid(), signal.SIGINT)
        return step(self, batch)

    return stepped


def test_what_fails_leaves_nothing_that_it_would_fail_on_again(bench, recipes, slow):
    out = bench.work / "model"
    settings = ("training.learning_rate=1e30", "training.head_learning_rate=1e30")
    with pytest.raises(InputError, match=r"no numbers|is nan|is inf"):
        train_row(bench, str(recipes / "rows.toml"), settings, 9, out)
    assert list(bench.work.glob("model*")) == []


PREFERENCE = 'losses=[{loss="preference",teacher="bm25",count=2}]'


@pytest.mark.parametrize("losses", [(), (PREFERENCE,)], ids=["plain", "beside a frozen model"])
def test_a_probe_times_steps_and_dev_and_leaves_what_is_prepared(bench, recipes, losses):
    out = bench.work / "model"
    retriever = train(Job(str(recipes / "rows.toml"), bench.corpus, out,
                          settings=("training.epochs=99", *losses)), prepare_only=True)  # fmt: skip
    queries = {key: ["copy it", "clone it"] for key in retriever.table.keys}
    pace = budget.probe(
        retriever, DevSplit(queries, {"copy": frozenset(["copy-file"])}, False), out
    )
    assert 0 < pace.step < 5 and 0 < pace.dev < 20
    assert not Path(f"{out}.probe.training").exists()
    assert not out.exists()
    assert Retriever.load(Path(f"{out}.training") / "prepared").table.keys == retriever.table.keys


@pytest.mark.parametrize(("setting", "steps", "seconds"), [(ON_CPU, 21, 1.0), ((3, 20.0), 35, 1.0)])
def test_a_watch_times_whole_pools_of_steps_once_they_are_warm(
    monkeypatch, setting, steps, seconds
):
    ticks = [0.0]
    monkeypatch.setattr(budget, "clock", lambda: ticks[0])
    watch = Watch(*setting)
    with pytest.raises(Enough):
        for step in range(1000):
            watch.step_begins()
            ticks[0] += seconds if step >= setting[0] else 100.0
    assert watch.began == steps + 1 and watch.step == seconds


def test_dev_takes_its_share_of_the_time_but_never_more_than_half():
    assert Pace(2.0, 1.0).steps(100, 8) == 45  # 100 s less 10 measurements
    assert Pace(2.0, 20.0).steps(100, 8) == 25
    assert Pace(50.0, 0.0).steps(10, 8) == 1


def test_a_share_of_the_documents_loses_all_train_queries(bench, tiny_corpus):
    seen = seen_documents(bench.corpus)
    assert len(seen) == 30 and len(seen_documents(tiny_corpus)) == 40
    judged = (bench.corpus / "qrels" / "train.tsv").read_text().splitlines()[1:]
    assert len(judged) == 60, "the others keep both of theirs"
    test = (bench.corpus / "qrels" / "test.tsv").read_text().splitlines()[1:]
    whole = (tiny_corpus / "qrels" / "test.tsv").read_text().splitlines()[1:]
    assert len(test) == 12 and set(test) < set(whole)
    card = " ".join((bench.corpus / "README.md").read_text().split())
    assert "25%" in card and "20 of 80" in card and "12 of its 20" in card


def test_a_corpus_folder_is_made_once_unless_the_plan_changes(data, tmp_path):
    folder = build(SMALL, data, tmp_path)
    made = (folder / "corpus.jsonl").stat().st_mtime_ns
    assert build(SMALL, data, tmp_path) == folder
    assert (folder / "corpus.jsonl").stat().st_mtime_ns == made
    build(SMALL.model_copy(update={"unseen": 0.5}), data, tmp_path)
    assert len(seen_documents(folder)) == 20


def test_a_corpus_folder_is_made_anew_when_the_collection_changes(data, tmp_path):
    copy = shutil.copytree(data, tmp_path / "copy")
    folder = build(SMALL, copy, tmp_path)
    file = next(copy.rglob("corpus.jsonl"))
    file.write_text(file.read_text().replace("duplicate a document", "photocopy a document"))
    build(SMALL, copy, tmp_path)
    assert "photocopy a document" in (folder / "corpus.jsonl").read_text()
