import pytest

pytest.importorskip("haystack", reason="pip install 'genir[haystack]'")

from haystack import Pipeline
from haystack.components.joiners import DocumentJoiner

from genir.integrations.haystack import GenirRetriever

QUESTION = "clone a text"


def test_whole_documents_come_back_best_first(source, retriever):
    found = GenirRetriever(source, top_k=3).run(QUESTION)["documents"]
    hits = retriever.search([QUESTION], 3)[0]
    assert [one.id for one in found] == [hit.key for hit in hits]
    assert [one.score for one in found] == pytest.approx([hit.score for hit in hits], abs=1e-5)
    first = retriever.documents.find(hits[0].key)
    assert found[0].content == first.text
    assert found[0].meta["verb"] == first.metadata["verb"] and found[0].meta["rank"] == 1


def test_it_is_a_component_of_a_pipeline(source):
    pipeline = Pipeline()
    pipeline.add_component("retriever", GenirRetriever(source, top_k=2))
    pipeline.add_component("joiner", DocumentJoiner())
    pipeline.connect("retriever.documents", "joiner.documents")
    asked = {"query": QUESTION, "top_k": 40, "where": {"verb": "watch"}}
    found = pipeline.run({"retriever": asked})["joiner"]["documents"]
    assert {one.meta["verb"] for one in found} == {"watch"} and len(found) == 5
