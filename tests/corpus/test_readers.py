import gzip
import os

import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from genir.arguments import is_blank
from genir.corpus.readers import (
    read_corpus,
    read_qrels,
    read_queries,
    read_train_queries,
)
from genir.corpus.serialization import document_of, record_of
from genir.corpus.writer import write_corpus
from genir.errors import InputError
from genir.types import Document, Link, Qrel, Query

DOCUMENTS = [
    Document(
        "a", "one\u2028two\rthree", "A", "https://x.org/a", (Link(0, 3, "b"),), {"lang": "en"}
    ),
    Document("b", "zwei", metadata={"tags": ["x", 1], "deep": {"y": None}}),
]
QUERIES = [Query("q1", "first?"), Query("q2", "second?")]
QRELS = {"train": [Qrel("q1", "a"), Qrel("q2", "a", 0)], "test": [Qrel("q2", "b", 2)]}

characters = st.characters(exclude_categories=["Cs"])
texts = st.text(characters, min_size=1).filter(lambda text: not is_blank(text))
keys = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).filter(str.strip)


@pytest.fixture
def corpus(tmp_path):
    write_corpus(tmp_path / "c", DOCUMENTS, QUERIES, QRELS, card="# C\n")
    return tmp_path / "c"


def test_a_corpus_folder_reads_back(corpus):
    assert list(read_corpus(corpus)) == DOCUMENTS
    assert list(read_queries(corpus).values()) == QUERIES
    assert read_qrels(corpus / "qrels" / "test.tsv") == QRELS["test"]
    assert (corpus / "README.md").read_text() == "# C\n"


@given(keys, texts, st.text(characters), st.dictionaries(keys, st.integers() | texts))
def test_a_document_reads_back(key, text, title, metadata):
    names = {"_id", "title", "text", "url", "links", "metadata"}
    metadata = {k: v for k, v in metadata.items() if k not in names}
    document = Document(key, text, title, links=(Link(0, len(text), key),), metadata=metadata)
    assert document_of(record_of(document), "here") == document


def test_train_queries_have_grades_above_zero(corpus):
    texts = read_train_queries(corpus / "queries.jsonl", corpus / "qrels/train.tsv", {"a", "b"})
    assert texts == {"a": ["first?"]}


def test_gzip_folder(corpus):
    for name in ["corpus.jsonl", "queries.jsonl", "qrels/test.tsv"]:
        (corpus / f"{name}.gz").write_bytes(gzip.compress((corpus / name).read_bytes()))
        (corpus / name).unlink()
    assert list(read_corpus(corpus)) == DOCUMENTS
    assert list(read_queries(corpus).values()) == QUERIES
    assert read_qrels(corpus / "qrels" / "test.tsv.gz") == QRELS["test"]


def test_beir_metadata_is_spread_and_nulls_are_absent():
    record = {"_id": "a", "text": "x", "title": None, "metadata": {"url": "u", "year": 1999}}
    assert document_of(record, "here") == Document("a", "x", url="u", metadata={"year": 1999})


def test_byte_order_mark_is_dropped(tmp_path):
    (tmp_path / "c.jsonl").write_bytes(b'\xef\xbb\xbf{"_id": "a", "text": "x"}\r\n')
    assert list(read_corpus(tmp_path / "c.jsonl")) == [Document("a", "x")]


def test_ms_marco_passages_and_queries(tmp_path):
    (tmp_path / "collection.tsv").write_text('0\tThe "presence"\n1\tof, and\n')
    (tmp_path / "queries.tsv").write_text("9\twhat is it\n")
    (tmp_path / "qrels.tsv").write_text("9\t0\t1\t1\n")
    assert list(read_corpus(tmp_path)) == [
        Document("0", 'The "presence"'),
        Document("1", "of, and"),
    ]
    assert read_queries(tmp_path / "queries.tsv") == {"9": Query("9", "what is it")}
    assert read_qrels(tmp_path / "qrels.tsv") == [Qrel("9", "1")]


def test_ms_marco_documents(tmp_path):
    (tmp_path / "msmarco-docs.tsv").write_text("D1\thttps://x.org\tTitle\tBody.\n")
    assert list(read_corpus(tmp_path)) == [Document("D1", "Body.", "Title", "https://x.org")]


def test_trec_qrels_may_be_negative_and_repeat(tmp_path):
    (tmp_path / "qrels.txt").write_text("1 Q0 a -1\n1 Q0 b 2\n1 Q0 b 2\n")
    assert read_qrels(tmp_path / "qrels.txt") == [Qrel("1", "a", -1), Qrel("1", "b", 2)]


def test_datasets():
    dataset = Dataset.from_list([{"_id": "a", "title": "A", "text": "one", "lang": "en"}])
    assert list(read_corpus(dataset)) == [Document("a", "one", "A", metadata={"lang": "en"})]


def test_an_existing_folder_is_kept_unless_overwritten(corpus):
    with pytest.raises(InputError, match="exists already; choose another path, or"):
        write_corpus(corpus, [Document("z", "new")])
    assert list(read_corpus(corpus)) == DOCUMENTS
    write_corpus(corpus, [Document("z", "new")], overwrite=True)
    assert [d.key for d in read_corpus(corpus)] == ["z"]
    assert os.listdir(corpus.parent) == ["c"]


def test_only_a_corpus_folder_is_overwritten(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match="is not a corpus folder"):
        write_corpus(tmp_path / "home", DOCUMENTS, overwrite=True)
    assert (tmp_path / "home" / "letter.txt").read_text() == "dear"


@pytest.mark.parametrize(
    "name", ["build.py", "img/plan", "qrels/notes.txt", "qrels/.x", "qrels/a/b", "queries.tsv/a"]
)
def test_a_corpus_folder_with_other_files_is_not_overwritten(corpus, name):
    (corpus / name).parent.mkdir(exist_ok=True)
    (corpus / name).write_text("precious")
    with pytest.raises(InputError, match=f"^{corpus}/.*: would be removed with the corpus"):
        write_corpus(corpus, [Document("z", "new")], overwrite=True)
    assert (corpus / name).read_text() == "precious" and list(read_corpus(corpus)) == DOCUMENTS


def test_hidden_files_and_texts_about_a_corpus_stay_when_it_is_overwritten(corpus):
    (corpus / ".git").mkdir()
    names = [".git/HEAD", "LICENSE", "README.md"]
    for name in names:
        (corpus / name).write_text(name)
    write_corpus(corpus, [Document("z", "new")], overwrite=True)
    assert [d.key for d in read_corpus(corpus)] == ["z"]
    assert [(corpus / name).read_text() for name in names] == names
    write_corpus(corpus, [Document("z", "new")], card="new", overwrite=True)
    assert [(corpus / name).read_text() for name in names] == [*names[:2], "new"]


def test_a_failing_overwrite_keeps_the_old_folder(corpus):
    with pytest.raises(InputError, match="duplicate"):
        write_corpus(corpus, [Document("z", "new")] * 2, overwrite=True)
    assert list(read_corpus(corpus)) == DOCUMENTS
    assert os.listdir(corpus.parent) == ["c"]


def test_dicts_one_document_and_judgements_given_twice_are_written(tmp_path):
    one = {"_id": "a", "text": "one", "lang": "en"}
    twice = {"train": [], "test": iter([Qrel("q", "a"), Qrel("q", "a")])}
    write_corpus(tmp_path / "c", one, [Query("q", "x")], twice)
    assert list(read_corpus(tmp_path / "c")) == [Document("a", "one", metadata={"lang": "en"})]
    assert [path.name for path in (tmp_path / "c/qrels").iterdir()] == ["test.tsv"]
    assert read_qrels(tmp_path / "c/qrels/test.tsv") == [Qrel("q", "a")]
