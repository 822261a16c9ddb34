import make_split
import pytest

from genir.corpus.readers import read_corpus, read_qrels, read_queries
from genir.corpus.writer import write_corpus
from genir.errors import InputError
from genir.types import Document, Qrel, Query

CORPUS = [
    Document("tar", "Archives.\nPack files: tar -c\nUnpack files: tar -x\nList: tar -t"),
    Document("sed", "Edits.\nSwap words: sed s"),
]
QUERIES = [
    Query("q1", "Pack files"),
    Query("q2", "Unpack files"),
    Query("q3", "List"),
    Query("q4", "Swap words"),
]
QRELS = [Qrel("q1", "tar"), Qrel("q2", "tar"), Qrel("q3", "tar"), Qrel("q4", "sed")]


def test_sampled_queries_move_from_train_to_test(tmp_path):
    write_corpus(tmp_path / "all", CORPUS, QUERIES, {"train": QRELS})
    make_split.main(tmp_path / "all", tmp_path / "out", queries=2, seed=1)
    texts = read_queries(tmp_path / "out")
    train, fresh = (
        read_qrels(tmp_path / f"out/qrels/{split}.tsv", texts, {"tar", "sed"})
        for split in ("train", "fresh")
    )
    assert sorted([*train, *fresh], key=lambda q: q.query) == QRELS
    assert len(fresh) == 2 and {qrel.document for qrel in fresh} == {"tar"}, (
        "sed keeps its only one"
    )
    tar, sed = read_corpus(tmp_path / "out")
    assert sed == CORPUS[1]
    gone = {texts[qrel.query].text for qrel in fresh}
    kept = [line for line in CORPUS[0].text.split("\n") if line.partition(":")[0] not in gone]
    assert tar.text.split("\n") == kept


def test_more_than_there_are_is_refused(tmp_path):
    write_corpus(tmp_path / "all", CORPUS, QUERIES, {"train": QRELS})
    with pytest.raises(InputError, match=r"only 2 of the train queries.*fewer than 3"):
        make_split.main(tmp_path / "all", tmp_path / "out", queries=3)
    assert not (tmp_path / "out").exists()


def test_a_document_keeps_its_last_line():
    assert make_split.without_lines(Document("a", "one: x", title="t"), ["one"])[0].text == "one: x"
