import late_sentences
import pytest

from genir.corpus.readers import read_corpus, read_qrels, read_queries
from genir.corpus.writer import write_corpus
from genir.errors import InputError
from genir.types import Document

WORDS = ("alpha", "bravo", "delta", "hotel", "kilo", "lima", "oscar", "papa", "quebec", "romeo",
         "sierra", "tango")  # fmt: skip
START = "Common words fill the beginning of this page. " * 40
LATE = {
    name: f"Rotate {name} keys weekly before {name} expires, then restart every {name} worker "
    f"process and verify {name} logs."
    for name in WORDS
}
DOCUMENTS = [Document(name, START + LATE[name], name) for name in WORDS]
SHARED = Document("again", START + LATE["alpha"], "again")
SHORT = Document("short", "Rotate the short keys weekly before anything else expires today.", "s")


def test_queries_are_parts_of_unique_late_sentences(tmp_path):
    write_corpus(tmp_path / "all", [*DOCUMENTS, SHARED, SHORT])
    for out in ("out", "again"):
        late_sentences.main(tmp_path / "all", tmp_path / out, queries=5, seed=3)
    assert list(read_corpus(tmp_path / "out")) == [*DOCUMENTS, SHARED, SHORT]
    texts = read_queries(tmp_path / "out")
    assert texts == read_queries(tmp_path / "again")
    keys = {one.key for one in DOCUMENTS}
    dev, test = (
        read_qrels(tmp_path / f"out/qrels/{split}.tsv", texts, keys) for split in ("dev", "test")
    )
    assert len(dev) == len(test) == 5
    judged = {qrel.document: texts[qrel.query].text.split() for qrel in [*dev, *test]}
    assert len(judged) == 10 and not judged.keys() & {"alpha", "again", "short"}
    for key, words in judged.items():
        sentence = [word.strip(",.") for word in LATE[key].split()]
        assert 6 <= len(words) < len(sentence)
        rest = iter(sentence)
        assert all(word in rest for word in words)  # in order
        assert "then" not in words and "and" not in words


def test_too_few_late_sentences_are_an_error(tmp_path):
    write_corpus(tmp_path / "all", DOCUMENTS)
    with pytest.raises(InputError, match="only 12 documents have a late sentence"):
        late_sentences.main(tmp_path / "all", tmp_path / "out", queries=7)
