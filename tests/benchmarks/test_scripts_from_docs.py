"""The small analyses that docs/results cites, on a few lines each."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.scripts_from_docs import compare_runs, same_article, split_qrels

QRELS = "query-id\tcorpus-id\tscore\n" + "".join(f"q{n}\td{n}\t1\n" for n in range(4))


@pytest.fixture
def corpus(tmp_path):
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text(QRELS)
    documents = [{"_id": f"d{n}", "title": f"article {n // 2}"} for n in range(4)]
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps(one) + "\n" for one in documents))
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
    compare_runs.main(corpus / "qrels" / "test.tsv", right, second)
    ranks, found = capsys.readouterr().out.splitlines()
    assert ranks.startswith("RR@10: 1.000 against 0.375")
    assert found.startswith("Success@10: 1.000 against 0.750")


def test_misses_within_the_right_article_are_counted(corpus, capsys):
    wrong = ["d1", *(["d3"] * 9), "d0"]
    run = write_run(corpus / "a.run", {"q0": wrong, "q1": ["d1"], "q2": ["d0"], "q3": ["d3"]})
    same_article.main(corpus, run)
    assert capsys.readouterr().out.split() == ["3", "2", "1", "1"]


def test_qrels_are_split_by_query(corpus):
    even, odd = corpus / "even.tsv", corpus / "odd.tsv"
    split_qrels.main(corpus / "qrels" / "test.tsv", even, odd)
    assert [line.split()[0] for line in even.read_text().splitlines()[1:]] == ["q0", "q2"]
    assert [line.split()[0] for line in odd.read_text().splitlines()[1:]] == ["q1", "q3"]
