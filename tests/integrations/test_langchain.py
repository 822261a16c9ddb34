import pytest

pytest.importorskip("langchain_core", reason="no LangChain; pip install 'genir[langchain]'")

from langchain_core.runnables import RunnableLambda

from genir.integrations.langchain import GenirRetriever
from genir.types import Document, Hit

QUESTION = "clone a text"


def test_whole_documents_come_back_best_first(source, retriever):
    found = GenirRetriever(source=source, k=3).invoke(QUESTION)
    hits = retriever.search([QUESTION], 3)[0]
    assert [one.id for one in found] == [hit.key for hit in hits]
    assert [one.metadata["rank"] for one in found] == [1, 2, 3]
    first = retriever.documents.find(hits[0].key)
    assert found[0].page_content == first.text
    assert found[0].metadata["verb"] == first.metadata["verb"]
    assert found[0].metadata["score"] == pytest.approx(hits[0].score, abs=1e-5)


def test_fields_of_a_document_with_the_names_of_a_hit_are_kept():
    own = {"score": 5, "key": "A-17", "rank": "captain", "document_rank": 3, "lang": "en"}

    class Source:
        documents = None

        def search(self, queries, k, where=None):
            return [[Hit("a", 0.5, 1, title="T")]]

        def fetch(self, keys):
            return {"a": Document("a", "text", metadata=own)}

    source = Source()
    source.documents = source
    (found,) = GenirRetriever(source=source).invoke(QUESTION)
    assert found.metadata == {
        "key": "a", "rank": 1, "score": 0.5, "title": "T", "lang": "en", "document_score": 5,
        "document_key": "A-17", "document_document_rank": "captain", "document_rank": 3,
    }  # fmt: skip


def test_a_filter_holds(source):
    found = GenirRetriever(source=source, k=40, where={"verb": "watch"}).invoke(QUESTION)
    assert {one.metadata["verb"] for one in found} == {"watch"} and len(found) == 5


def test_it_is_a_part_of_a_chain(source):
    chain = GenirRetriever(source=source, k=2) | RunnableLambda(lambda found: len(found))
    assert chain.batch([QUESTION, "erase"]) == [2, 2]


def test_an_unusable_model_is_refused():
    with pytest.raises(ValueError, match="source"):
        GenirRetriever(source="my-model")
