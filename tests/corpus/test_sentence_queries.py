import pytest

from genir.corpus.sentence_queries import make_sentence_queries, sentences
from genir.errors import InputError
from genir.types import Document, Link, Qrel

TEXT = (
    "The first sentence stays where it is. Copies a whole directory tree to another place. "
    "This one leans on it.\n\n"
    "- A bullet is not a sentence of the prose.\n"
    ">>> Neither.is(an, example)\n\n"
    "The last paragraph holds one sentence\nover two lines."
)


def test_sentences_of_prose():
    assert [TEXT[a:b].split()[0] + TEXT[b - 3 : b] for a, b in sentences(TEXT)] == [
        "Theis.", "Copiesce.", "Thisit.", "Thees.",
    ]  # fmt: skip


def test_a_cut_leaves_a_clean_text():
    made = make_sentence_queries([Document("a", TEXT, links=(Link(0, 3, "b"),))], share=0.9, seed=0)
    keys = {query.text: query.key for query in made.queries}
    assert list(keys) == [
        "Copies a whole directory tree to another place.",
        "The last paragraph holds one sentence over two lines.",
    ]
    judged = [qrel for split in ("train", "test") for qrel in made.qrels[split]]
    assert sorted(judged, key=str) == sorted((Qrel(k, "a") for k in keys.values()), key=str)
    assert len(made.qrels["test"]) == 1
    text = TEXT.replace("Copies a whole directory tree to another place. ", "")
    assert made.documents[0].text == text[: text.index("\n\nThe last")]
    assert made.documents[0].links == ()


def test_the_seed_decides():
    documents = [Document(str(i), TEXT.replace("directory", f"folder{i}x")) for i in range(20)]
    first, again, other = (make_sentence_queries(documents, 0.5, seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert len(first.qrels["test"]) == 10


def test_a_sentence_of_two_documents_is_no_query():
    made = make_sentence_queries([Document("a", TEXT), Document("b", TEXT)], share=0.5, seed=0)
    assert made.queries == []
    assert made.documents == [Document("a", TEXT), Document("b", TEXT)]


@pytest.mark.parametrize("share", [0, 1, -1, 2.5])
def test_a_share_is_a_share(share):
    with pytest.raises(InputError, match=f"share = {share}: write a number above 0"):
        make_sentence_queries([], share, 0)
