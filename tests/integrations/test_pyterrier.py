import pytest

pytest.importorskip("pyterrier", reason="no PyTerrier; pip install 'genir[pyterrier]'")

import pandas as pd

from genir.integrations.pyterrier import GenirTransformer

TOPICS = pd.DataFrame([["q1", "clone a text"], ["q2", "erase"]], columns=["qid", "query"])


def test_each_query_gets_its_results(source, retriever):
    found = GenirTransformer(source, k=4).transform(TOPICS)
    assert list(found.columns[:5]) == ["qid", "query", "docno", "score", "rank"]
    for qid, text in TOPICS.itertuples(index=False):
        hits, own = retriever.search([text], 4)[0], found[found.qid == qid]
        assert own.docno.tolist() == [hit.key for hit in hits]
        assert own["rank"].tolist() == [0, 1, 2, 3]
        assert own.score.tolist() == pytest.approx([hit.score for hit in hits], abs=1e-5)


def test_a_rank_cutoff_is_requested_from_the_searcher(retriever):
    pipeline = (GenirTransformer(retriever, k=20) % 3).compile()
    assert isinstance(pipeline, GenirTransformer) and pipeline.k == 3
    assert pipeline(TOPICS).groupby("qid").size().tolist() == [3, 3]


def test_a_filter_holds(source):
    found = GenirTransformer(source, k=40, where={"verb": "watch"})(TOPICS)
    assert found.docno.str.startswith("watch-").all() and len(found) == 10


def test_no_queries_give_no_results(source):
    found = GenirTransformer(source)(TOPICS[:0])
    assert len(found) == 0 and "docno" in found.columns


def test_documents_are_no_queries(source):
    with pytest.raises(Exception, match="query"):
        GenirTransformer(source)(pd.DataFrame([["d1", "x"]], columns=["docno", "text"]))


def test_columns_of_topics_that_results_have_too_are_replaced(source):
    more = TOPICS.assign(title="topic", url="x", number=7)
    found = GenirTransformer(source, k=2)(more)
    assert found.columns.is_unique
    assert found.drop(columns="number").equals(GenirTransformer(source, k=2)(TOPICS))
    assert found.number.tolist() == [7] * 4
