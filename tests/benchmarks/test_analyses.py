"""The analyses that docs/results cites, on a few lines each."""

import json

import pytest

from benchmarks.analyses import (
    compare_runs,
    confidence,
    exact_names,
    recall,
    same_article,
    split_qrels,
    word_weights,
)
from genir import train

QRELS = "query-id\tcorpus-id\tscore\n" + "".join(f"q{n}\td{n}\t1\n" for n in range(4))


@pytest.fixture
def corpus(tmp_path):
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text(QRELS)
    rows = [{"_id": f"d{n}", "title": f"article {n // 2}", "text": "x"} for n in range(4)]
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    return tmp_path


def write_run(path, hits):
    lines = [
        f"{query} Q0 {key} {rank} {-rank} test\n"
        for query, keys in hits.items()
        for rank, key in enumerate(keys, start=1)
    ]
    path.write_text("".join(lines))
    return path


def test_runs_are_compared_by_paired_tests(corpus, capsys):
    right = write_run(corpus / "a.run", {f"q{n}": [f"d{n}"] for n in range(4)})
    second = write_run(corpus / "b.run", {f"q{n}": ["d9", f"d{n}"] for n in range(3)})
    compare_runs(corpus / "qrels" / "test.tsv", right, second)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "a.run: Success@1 1.000, Success@10 1.000, RR@10 1.000"
    assert lines[1] == "b.run: Success@1 0.000, Success@10 0.750, RR@10 0.375"
    assert lines[3].startswith("  RR@10: won 4, lost 0 (sign test p = 0.12), t-test p = ")
    assert lines[4].startswith("  Success@10: won 1, lost 0 (sign test p = 1)")


def test_misses_within_the_right_article_are_counted(corpus, capsys):
    wrong = ["d1", *(f"x{n}" for n in range(9)), "d0"]
    run = write_run(corpus / "a.run", {"q0": wrong, "q1": ["d1"], "q2": ["d0"], "q3": ["d3"]})
    same_article(corpus, run)
    assert capsys.readouterr().out.splitlines() == [
        "first hit of the right article: 3 of 4 queries",
        "not in the first ten: 2; of these later in the run: 1, first hit of the right article: 1",
    ]


def test_qrels_are_split_by_query(corpus):
    even, odd = corpus / "even.tsv", corpus / "odd.tsv"
    split_qrels(corpus / "qrels" / "test.tsv", even, odd)
    assert [line.split()[0] for line in even.read_text().splitlines()[1:]] == ["q0", "q2"]
    assert [line.split()[0] for line in odd.read_text().splitlines()[1:]] == ["q1", "q3"]


@pytest.fixture(scope="module")
def named(tiny_encoder, tmp_path_factory):
    """A corpus folder of ten pages with one name each, and an untrained model of it."""
    folder = tmp_path_factory.mktemp("names")
    names = [f"open_file_{n}" for n in range(8)] + ["readAllLines", "os.path.join"]
    rows = [{"_id": f"d{n}", "text": f"Call {name} to copy."} for n, name in enumerate(names)]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    (folder / "queries.jsonl").write_text(json.dumps({"_id": "q0", "text": names[0]}) + "\n")
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq0\td0\t1\n")
    train(
        folder, "default", out=folder / "model",
        settings=[f"model.encoder={json.dumps(str(tiny_encoder))}", "model.word_weight=1.8"],
    )  # fmt: skip
    return folder


def test_exact_names_are_counted(named, capsys):
    exact_names(named, named / "model", draws=2, size=4)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"draw {n}: genir 4 of 4, bm25 4 of 4" for n in range(2)]


def test_quality_is_printed_by_the_weight_of_words(named, capsys):
    word_weights(named / "model", named / "queries.jsonl", named / "qrels.tsv")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 9 and lines[-1] == "3: RR@10 1.0000, nDCG@10 1.0000"


def test_foreign_queries_are_told_by_confidence(named, capsys):
    (named / "foreign.jsonl").write_text(json.dumps({"_id": "q0", "text": "weather"}) + "\n")
    confidence(
        named / "model", named / "queries.jsonl", named / "qrels.tsv",
        named / "foreign.jsonl", named / "qrels.tsv",
    )  # fmt: skip
    own, foreign, auc = capsys.readouterr().out.splitlines()
    assert own.startswith("own: 1 queries, median ") and own.endswith("below .5: 0.0%")
    assert foreign.startswith("foreign: 1 queries") and auc == "AUC 1.0000"


def test_recall_of_baselines_and_models(tmp_path, capsys):
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text(QRELS + "q0\td1\t1\n")
    names = ("copying files", "weather report", "train timetable", "chess openings")
    rows = [{"_id": f"d{n}", "title": name, "text": name} for n, name in enumerate(names)]
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    asked = [{"_id": f"q{n}", "text": name} for n, name in enumerate(names)]
    (tmp_path / "queries.jsonl").write_text("".join(json.dumps(one) + "\n" for one in asked))
    train(tmp_path / "corpus.jsonl", out=tmp_path / "model")
    recall(tmp_path, [tmp_path / "model"])
    bm25, dense, model = capsys.readouterr().out.splitlines()[-3:]
    # BM25 returns only documents with a word of the query: q0's second answer has none.
    assert bm25 == "BM25: R@2 0.875, R@10 0.875, R@100 0.875"
    assert dense.startswith("dense: R@2 ") and dense.endswith("R@10 1.000, R@100 1.000")
    assert model.startswith(f"{tmp_path / 'model'}: R@2 ") and model.endswith("R@100 1.000")
