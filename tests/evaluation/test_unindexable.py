"""No claim against a baseline that reads nothing."""

import json

import pytest

from genir.evaluation.compare import Options
from genir.evaluation.report import to_json, to_report
from genir.evaluation.runner import compare_model
from genir.evaluation.unindexable import drop_unindexable
from genir.retriever import Retriever
from genir.types import Document

WORDS = [Document("a", "copy a file"), Document("b", "🎉🎊")]
SIGNS = [Document("a", "🎉🎊", "!"), Document("b", "☃ ❤️ the")]


def test_a_corpus_of_signs_is_read_by_no_lexical_baseline():
    kept, notes = drop_unindexable(["bm25", "dense", "rrf"], SIGNS, ["copy"])
    assert kept == ["dense"]
    assert notes == ["Left out: bm25 and rrf; no document has a word that BM25 reads."]


def test_queries_of_signs_and_stop_words_are_read_by_none():
    kept, notes = drop_unindexable(["rrf", "dense"], WORDS, ["🎉", "the", "?"])
    assert kept == ["dense"]
    assert notes == ["Left out: rrf; none of the 3 queries has a word that BM25 reads."]


def test_some_queries_without_a_word_are_reported():
    kept, notes = drop_unindexable(["bm25"], WORDS, ["🎉", "copy"])
    assert kept == ["bm25"]
    assert notes == ["BM25 reads no word in 1 of 2 queries (bm25)."]


@pytest.mark.parametrize("text", ["休假", "ลาป่วย", "휴가", "छुट्टी", "v2", "file"])
def test_words_of_any_script_are_read(text):
    assert drop_unindexable(["bm25", "rrf"], [Document("a", text)], [text]) == (["bm25", "rrf"], [])


def test_the_dense_baseline_reads_no_words():
    assert drop_unindexable(["dense"], SIGNS, ["🎉"]) == (["dense"], [])


def test_a_report_names_missing_parts_and_claims_nothing(tiny_folder, tmp_path):
    (tmp_path / "q.jsonl").write_text(
        "".join(json.dumps({"_id": f"q{n}", "text": "🎉" * (n + 1)}) + "\n" for n in range(3))
    )
    (tmp_path / "q.tsv").write_text(
        "query-id\tcorpus-id\tscore\nq0\tcopy-file\t1\nq1\tmove-disk\t1\nq2\tcopy-file\t1\n"
    )
    retriever = Retriever.load(tiny_folder("atomic"), "cpu")
    files = (tmp_path / "q.jsonl", tmp_path / "q.tsv")
    comparison = compare_model(retriever, *files, ["bm25"], Options(typos=False, latency_queries=0))
    note = "Left out: bm25; none of the 3 queries has a word that BM25 reads."
    assert comparison.systems == ["genir"]
    assert to_json(comparison)["notes"][0] == note
    assert to_json(comparison)["p_values"]["RR@10"] == {}
    assert note in to_report(comparison, "signs")
