"""Runs, judgements and models that do not belong together are refused, or reported with counts."""

import json
import re
import shutil

import pytest
from in_process import run

from genir.corpus.query_digests import digests_of
from genir.corpus.serialization import document_of
from genir.corpus.trec_runs import tag_with_digest, write_run
from genir.errors import InputError
from genir.evaluation.checks import check_depth
from genir.evaluation.compare import Options
from genir.evaluation.report import to_json, to_report
from genir.evaluation.runner import Outputs, compare_model, evaluate
from genir.retriever import Retriever
from genir.types import Hit, Query
from genir.updates.model_folder import TRAIN_QUERIES

QUIET = Options(typos=False, latency_queries=0)
KEYS = ("copy-file", "move-disk", "list-disk", "watch-folder")


@pytest.fixture
def model(tiny_folder, tmp_path):
    return shutil.copytree(tiny_folder("atomic"), tmp_path / "model")


@pytest.fixture
def retriever(model):
    return Retriever.load(model, "cpu")


@pytest.fixture
def judged(tmp_path):
    """Return a writer of judged queries: (key, document, grade), with texts of their own."""

    def write(rows, texts=()):
        keys = dict.fromkeys(key for key, _, _ in rows)
        lines = [{"_id": key, "text": dict(texts).get(key, f"text of {key}")} for key in keys]
        (tmp_path / "q.jsonl").write_text("\n".join(map(json.dumps, lines)))
        rows = ["query-id\tcorpus-id\tscore", *("\t".join(map(str, row)) for row in rows)]
        (tmp_path / "q.tsv").write_text("\n".join(rows))
        return tmp_path / "q.jsonl", tmp_path / "q.tsv"

    return write


def four():
    return [(f"q{n}", key, 1) for n, key in enumerate(KEYS)]


def run_of(path, queries, documents):
    hits = [Hit(key, -float(rank), rank) for rank, key in enumerate(documents, 1)]
    tag = tag_with_digest("genir", [Query(key, f"text of {key}") for key in queries])
    write_run(path, dict.fromkeys(queries, hits), tag)
    return path


def others(comparison):
    """Return the notes, except the one on measures of a collection of 40 documents."""
    noted = [one for one in comparison.notes if "by construction" not in one]
    assert len(noted) == len(comparison.notes) - 1
    return noted


def life(retriever, files, former):
    options = Options(typos=False, latency_queries=0, previous=former)
    return compare_model(retriever, *files, [], options)


def test_judgements_without_a_relevant_document_are_refused(retriever, judged):
    files = judged([(query, key, 0) for query, key, _ in four()])
    with pytest.raises(InputError, match=r"q\.tsv: no judgement has a grade above 0"):
        compare_model(retriever, *files, [], QUIET)


def test_relevant_documents_that_are_all_deleted_are_refused(retriever, judged):
    files = judged([*four(), ("q9", "copy-disk", 0)])
    retriever.delete(KEYS)
    with pytest.raises(
        InputError,
        match=r"q\.tsv: the 4 relevant documents are all deleted, so 4 queries have no answer; "
        "genir rollback restores documents",
    ):
        compare_model(retriever, *files, [], QUIET)
    files = judged(four()[:1])
    with pytest.raises(InputError, match="the 1 relevant document is deleted, so 1 query has no"):
        compare_model(retriever, *files, [], QUIET)
    files = judged([("q0", KEYS[0], 0)])
    with pytest.raises(InputError, match=r"q\.tsv: no judgement has a grade above 0"):
        compare_model(retriever, *files, [], QUIET)


@pytest.mark.parametrize(
    ("documents", "noted"),
    [
        (101, None),
        (100, "R@100 is 1 by construction for every system that returns all of the 100 documents"),
        (10, "Success@10 and R@100 are 1 by construction"),
        (1, "Success@1 and Success@10 and R@100 are 1 by construction .* the one document"),
    ],
)
def test_measures_that_a_small_collection_decides_are_noted(documents, noted):
    notes = check_depth(documents)
    assert len(notes) == (noted is not None)
    assert noted is None or re.match(noted, notes[0])


def test_queries_without_a_relevant_document_and_equal_queries_are_noted(retriever, judged):
    rows = [*four(), ("q4", "copy-disk", 0)]
    files = judged(rows, [("q0", "the same"), ("q1", " The  same")])
    comparison = compare_model(retriever, *files, [], QUIET)
    assert len(comparison.notes) == 3
    assert "1 of 5 judged queries has no document with a grade above 0" in comparison.notes[0]
    assert "2 of 5 judged queries share their text with another one" in comparison.notes[1]
    assert to_json(comparison)["notes"] == comparison.notes
    assert comparison.notes[1] in to_report(comparison, "x")


def test_train_queries_are_noted(retriever, judged):
    retriever.attachments[TRAIN_QUERIES] = digests_of(["Text of  q1", "text of q3", "another"])
    comparison = compare_model(retriever, *judged(four()), [], QUIET)
    (note,) = others(comparison)
    assert "2 of 4 judged queries were train" in note


def test_documents_that_came_with_queries_are_noted(retriever, judged):
    record = {"_id": "new", "text": "hide a volume"}
    retriever.add([record], {"new": ["where is the new one?"]})
    (note,) = others(compare_model(retriever, *judged(four()), [], QUIET))
    assert "1 document was added with queries (genir add" in note


def test_nothing_is_noted_where_all_is_well(retriever, judged):
    comparison = compare_model(retriever, *judged(four()), [], QUIET)
    assert others(comparison) == []


def test_a_former_run_of_other_queries_is_refused(retriever, judged, tmp_path):
    keys = list(retriever.table.keys)
    run = run_of(tmp_path / "former.trec", ["x0", "x1", "x2", "q0"], keys)
    with pytest.raises(InputError, match=r"former\.trec: has 1 of 4 judged queries; give the run"):
        life(retriever, judged(four()), run)


def test_a_former_run_of_some_queries_is_measured_on_these_alone(retriever, judged, tmp_path):
    files, keys = judged(four()), list(retriever.table.keys)
    texts = ["text of q0", "text of q1", "text of q2"]
    answers = dict(zip(["q0", "q1", "q2"], retriever.search(texts, 100), strict=True))
    tag = tag_with_digest("genir", map(Query, answers, texts))
    write_run(tmp_path / "former.trec", answers, tag)
    comparison = life(retriever, files, tmp_path / "former.trec")
    assert comparison.life.compared == 3
    assert comparison.life.forgotten == dict.fromkeys(comparison.life.forgotten, 0.0)
    assert "has 3 of 4 judged queries; forgetting is measured" in others(comparison)[0]
    run = run_of(tmp_path / "other.trec", ["q0", "q1", "q2", "q3"], [*keys, "gone-1", "gone-2"])
    notes = others(life(retriever, files, run))
    assert len(notes) == 1 and "40 of 42 documents in it are known to this model" in notes[0]


def test_a_former_run_on_another_collection_is_refused(retriever, judged, tmp_path):
    keys = ["copy-file", *(f"other-{n}" for n in range(40))]
    run = run_of(tmp_path / "former.trec", ["q0", "q1", "q2", "q3"], keys)
    with pytest.raises(InputError, match=r"1 of 41 documents in it is known .*this collection"):
        life(retriever, judged(four()), run)


def test_a_short_former_run_says_nothing_of_deep_measures(retriever, judged, tmp_path):
    keys = list(retriever.table.keys)[:10]
    run = run_of(tmp_path / "former.trec", ["q0", "q1", "q2", "q3"], keys)
    comparison = life(retriever, judged(four()), run)
    assert "R@100" not in comparison.life.forgotten and "RR@10" in comparison.life.forgotten
    assert "queries; R@100 cannot be compared" in others(comparison)[0]


def test_a_former_model_of_another_collection_is_refused(retriever, model, judged, tmp_path):
    former = shutil.copytree(model, tmp_path / "former")
    other = Retriever.load(former, "cpu")
    keys = [key for key in other.table.keys if key not in KEYS]
    other.put([document_of({"_id": key, "text": "something else"}, "") for key in KEYS])
    with pytest.raises(InputError, match=r"4 of 4 relevant documents had another text, so it is a"):
        life(retriever, judged(four()), former)
    other.delete(list(KEYS))
    other.compact()
    with pytest.raises(InputError, match=r"former: has no relevant document"):
        life(retriever, judged(four()), former)
    assert keys


# --- outputs -------------------------------------------------------------------------------------


def outputs_of(place, **names):
    return Outputs(**{name: place / own for name, own in names.items()})


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"run": "a", "json_file": "a"}, r"--run and --json are both .*a; give different paths"),
        ({"json_file": "q.tsv"}, r"--qrels and --json are both .*q\.tsv"),
        ({"report": "model"}, r"MODEL and --report are both"),
        ({"run": "no/run"}, r"no/run: there is no folder"),
        ({"json_file": "model"}, r"MODEL and --json are both"),
        ({"report": "q.jsonl/report"}, r"q\.jsonl is a file, not a folder"),
        ({"run": "x" * 300}, r"cannot be written \(File name too long\)"),
        ({"report": "x" * 300}, r"cannot be written \(File name too long\)"),
    ],
)
def test_outputs_are_checked_before_the_work(model, judged, tmp_path, monkeypatch, names, message):
    files = judged(four())
    monkeypatch.setattr("genir.evaluation.runner.Retriever", None)  # nothing is loaded
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError, match=message):
        evaluate(model, *files, "", outputs_of(tmp_path, **names), QUIET)
    assert sorted(tmp_path.iterdir()) == before


def test_an_output_that_fails_costs_no_other(model, judged, tmp_path, monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("genir.evaluation.runner.write_json", full)
    outputs = outputs_of(tmp_path, json_file="e.json", run="r.trec", report="report")
    with pytest.raises(InputError, match=r"e\.json: cannot be written \(No space .*free space"):
        evaluate(model, *judged(four()), "", outputs, QUIET)
    assert len((tmp_path / "r.trec").read_text().splitlines()) == 160
    assert "RR@10" in capsys.readouterr().out
    assert (tmp_path / "report" / "report.md").is_file()


def test_a_key_with_a_space_is_written_escaped(model, judged, tmp_path):
    retriever = Retriever.load(model, "cpu")
    retriever.add([document_of({"_id": "two words", "text": "polish a mirror"}, "")])
    files = judged([*four(), ("q 5", "two words", 1)])
    flags = [
        "--queries",
        files[0],
        "--qrels",
        files[1],
        "--baselines",
        "",
        "--latency-queries",
        "0",
        "--run",
        tmp_path / "r.trec",
    ]
    assert run("evaluate", model, *flags) == 0
    text = (tmp_path / "r.trec").read_text(encoding="utf-8")
    assert "q␠5 Q0 " in text and " Q0 two␠words " in text


def test_a_former_run_of_other_texts_under_the_same_keys_is_refused(retriever, judged, tmp_path):
    keys = list(retriever.table.keys)
    run = run_of(tmp_path / "former.trec", ["q0", "q1", "q2", "q3"], keys)
    files = judged(four(), [("q0", "text of q1"), ("q1", "text of q0")])
    with pytest.raises(
        InputError, match=r"former\.trec: is a run of other queries with the same keys"
    ):
        life(retriever, files, run)


def test_a_former_run_whose_texts_are_unknown_is_noted(retriever, judged, tmp_path):
    keys = list(retriever.table.keys)
    run = run_of(tmp_path / "former.trec", ["q0", "q1", "q2", "q3", "q9"], keys)
    (note,) = others(life(retriever, judged(four()), run))
    assert "1 query is not among the queries given; queries are matched" in note
    run.write_text(re.sub("genir-q.*", "bm25", run.read_text()))
    (note,) = others(life(retriever, judged(four()), run))
    assert "holds no digest of its queries" in note


def test_a_run_that_an_evaluation_writes_is_known_again(retriever, judged, tmp_path):
    files = judged(four())
    comparison = compare_model(retriever, *files, [], QUIET)
    Outputs(run=tmp_path / "former.trec").write(comparison, "title")
    assert others(life(retriever, files, tmp_path / "former.trec")) == []
