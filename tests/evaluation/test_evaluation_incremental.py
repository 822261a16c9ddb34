"""A model whose documents came and went, evaluated."""

import json
import shutil

import numpy as np
import pytest
from tiny import set_index

from genir.corpus.serialization import document_of
from genir.corpus.trec_runs import write_run
from genir.errors import InputError
from genir.evaluation.compare import Options
from genir.evaluation.measures import MEASURES
from genir.evaluation.report import to_json
from genir.evaluation.runner import build_baselines, compare_model
from genir.evaluation.tables import report_tables
from genir.plurals import counted
from genir.retriever import Retriever

QUIET = Options(typos=False, latency_queries=0)


@pytest.fixture(scope="session")
def saved(tiny_folder):
    return tiny_folder("atomic")


@pytest.fixture
def model(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "model")


@pytest.fixture
def judged(tmp_path):
    """Write queries of two old documents, an added one, a deleted one, and of both the last."""
    asked = {"o1": ["copy-file"], "o2": ["move-disk"], "a": ["new"], "d": ["list-disk"],
             "b": ["new", "list-disk"]}  # fmt: skip
    lines = [json.dumps({"_id": key, "text": f"text of {key}"}) for key in asked]
    rows = [f"{key}\t{document}\t1" for key, own in asked.items() for document in own]
    (tmp_path / "q.jsonl").write_text("\n".join(lines))
    (tmp_path / "q.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *rows]))
    return tmp_path / "q.jsonl", tmp_path / "q.tsv"


@pytest.fixture
def changed(model, saved):
    retriever = Retriever.load(model, "cpu")
    retriever.add([document_of({"_id": "new", "text": "polish a mirror"}, "")])
    retriever.delete(["list-disk"])
    return retriever


def test_an_unchanged_model_has_no_update_report(model, tiny_corpus):
    files = (tiny_corpus / "queries.jsonl", tiny_corpus / "qrels" / "test.tsv")
    comparison = compare_model(Retriever.load(model, "cpu"), *files, [], QUIET)
    assert comparison.life is None and "life" not in to_json(comparison)
    assert len(report_tables(comparison)) == 2


def test_old_added_and_deleted_documents_are_distinguished(changed, judged):
    comparison = compare_model(changed, *judged, ["bm25"], QUIET)
    life = to_json(comparison)["life"]
    assert [query.key for query in comparison.queries] == ["o1", "o2", "a", "b"]
    assert (life["old"]["queries"], life["added"]["queries"]) == (2, 2)
    assert set(life["old"]["systems"]) == {"genir", "bm25"}
    assert (life["deleted"], life["orphans"], life["leaks"], life["short"]) == (1, 1, 0, 0)
    assert life["forgotten"] == {}
    total = comparison.overall.systems["genir"]["RR@10"] * 4
    halves = [life[name]["systems"]["genir"]["RR@10"] * 2 for name in ("old", "added")]
    assert total == pytest.approx(sum(halves))
    sheet = report_tables(comparison)[2]
    assert [row[0].text for row in sheet.rows] == ["old (2)", "added (2)"]
    assert (
        "1 document is deleted. Hits that are deleted documents: 0. Queries left out"
        in sheet.caption
    )


def test_a_query_is_not_answered_by_a_judgement_of_grade_0(changed, judged):
    queries, qrels = judged
    with qrels.open("a") as file:
        file.write("\nd\tcopy-file\t0\no1\tmove-disk\t0\n")
    comparison = compare_model(changed, queries, qrels, [], QUIET)
    assert [query.key for query in comparison.queries] == ["o1", "o2", "a", "b"]
    assert to_json(comparison)["life"]["orphans"] == 1


@pytest.mark.parametrize("as_run", [False, True])
def test_forgetting_is_measured_against_a_previous_model(
    changed, judged, saved, tmp_path, as_run, monkeypatch
):
    former = saved
    if as_run:
        texts = {"o1": "text of o1", "o2": "text of o2"}
        found = Retriever.load(saved, "cpu").search(list(texts.values()), 100)
        former = tmp_path / "run.trec"
        write_run(former, dict(zip(texts, found, strict=True)))
    queries, qrels = judged
    life = compare_model(changed, queries, qrels, [], Options(False, 0, previous=former)).life
    before = Retriever.load(saved, "cpu").search(["text of o1", "text of o2"], 10)
    after = changed.search(["text of o1", "text of o2"], 10)

    def mean(answers):
        ranks = [
            next((hit.rank for hit in hits if hit.key == key), 0)
            for hits, key in zip(answers, ("copy-file", "move-disk"), strict=True)
        ]
        return sum(1 / rank for rank in ranks if rank) / 2

    assert life.forgotten["RR@10"] == pytest.approx(mean(before) - mean(after))
    assert life.old.queries == 2 and life.added.queries == 2


@pytest.mark.parametrize("hits", [1, 10])
def test_one_deep_answer_does_not_make_a_run_deep(changed, judged, saved, tmp_path, hits):
    """A run that was cut by a score: missing documents do not count as forgotten."""
    found = Retriever.load(saved, "cpu").search(["text of o1", "text of o2"], 100)
    write_run(tmp_path / "run.trec", {"o1": found[0], "o2": found[1][:hits]})
    options = Options(False, 0, previous=tmp_path / "run.trec")
    comparison = compare_model(changed, *judged, [], options)
    kept = {name for name in MEASURES if int(name.partition("@")[2]) <= hits}
    assert set(comparison.life.forgotten) == kept and "R@100" not in kept
    (note,) = (one for one in comparison.notes if "cannot be compared" in one)
    assert f"run.trec: has {counted(hits, 'hit')} of 1 of 2 queries; " in note


def test_documents_are_old_if_the_former_model_has_them(changed, judged, saved):
    added = np.zeros_like(changed.index.added_in_version)  # as after a training on everything
    set_index(changed, added_in_version=added, manifest=changed.index.manifest | {"files": {}})
    with_former = compare_model(changed, *judged, [], Options(False, 0, previous=saved)).life
    assert (with_former.old.queries, with_former.added.queries) == (2, 2)


def test_baselines_know_of_deletions(changed, tiny_encoder):
    changed.delete([key for key in changed.table.keys if key.startswith("copy")])
    found = build_baselines(changed, ["bm25", "dense", "rrf"])
    for name, searcher in found.items():
        keys = {hit.key for hit in searcher.search(["copy a file"], 100)[0]}
        assert keys and not any(key.startswith("copy") for key in keys), name


def test_a_former_that_is_not_there_is_refused(changed, judged, tmp_path):
    with pytest.raises(InputError, match="none: no such file; check the path"):
        compare_model(changed, *judged, [], Options(False, 0, previous=tmp_path / "none"))
