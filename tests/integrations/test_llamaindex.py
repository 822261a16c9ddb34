import pytest

pytest.importorskip("llama_index.core", reason="pip install 'genir[llamaindex]'")

from llama_index.core.schema import MetadataMode

from genir.integrations.llamaindex import GenirRetriever

QUESTION = "clone a text"


def test_whole_documents_are_nodes_best_first(source, retriever):
    found = GenirRetriever(source, k=3).retrieve(QUESTION)
    hits = retriever.search([QUESTION], 3)[0]
    assert [one.node.node_id for one in found] == [hit.key for hit in hits]
    assert [one.score for one in found] == pytest.approx([hit.score for hit in hits], abs=1e-5)
    first = retriever.documents.find(hits[0].key)
    assert found[0].node.get_content(MetadataMode.NONE) == first.text
    assert found[0].node.metadata["verb"] == first.metadata["verb"]
    assert found[0].node.metadata["rank"] == 1


def test_a_filter_holds(source):
    found = GenirRetriever(source, k=40, where={"verb": "watch"}).retrieve(QUESTION)
    assert {one.node.metadata["verb"] for one in found} == {"watch"} and len(found) == 5
