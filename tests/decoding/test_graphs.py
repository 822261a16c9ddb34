"""Searches captured as CUDA graphs. Without a GPU, a captured function is run again instead."""

import numpy as np
import pytest
import torch
from tiny import QUERIES, SCRATCH, tiny_retriever

from genir.decoding.search_options import SearchOptions

pytest.importorskip("triton")

from genir.decoding.beam import beam_search
from genir.decoding.cuda import graphs
from genir.decoding.row_mask import RowMask

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class Rerun:
    """Replacement of a graph without a GPU."""

    def __init__(self, run, pool):
        self.run = run
        run()

    def replay(self):
        return self.run()


@pytest.fixture
def recording(monkeypatch):
    if DEVICE == "cpu":
        monkeypatch.setattr(graphs, "CapturedGraph", Rerun)
        monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: None)


@pytest.fixture(params=["atomic", "residual", "url", "written residual"])
def retriever(request, tiny_encoder, tiny_corpus, tmp_path, recording):
    scheme, model = request.param, ()
    if scheme == "written residual":
        scheme, model = "residual", SCRATCH | {"encoder": str(tiny_encoder)}
    return tiny_retriever(tiny_encoder, tiny_corpus, tmp_path / "d.sqlite", scheme, model)


def masks(retriever, queries):
    rows = retriever.decoder.stage.trie.rows
    several = [np.arange(rows) % 3 > 0, np.ones(rows, dtype=bool), np.zeros(rows, dtype=bool)]
    return RowMask.build(several, [query % 3 for query in range(queries)]).to(DEVICE)


def assert_same(recorded, retriever, queries, live, normalise="vocabulary"):
    options = SearchOptions(beams=5, softmax=normalise)
    inputs = retriever.decoder.stage.encode(queries)
    found = recorded.search(inputs, live, options)
    expected = beam_search(retriever.model, retriever.decoder.stage.trie, inputs, live, options)
    torch.testing.assert_close(found.score, expected.score, rtol=1e-4, atol=1e-4)
    alive = expected.score > -torch.inf
    assert torch.equal(found.low[alive], expected.low[alive])
    assert torch.equal(found.high, expected.high)


@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")  # interpreted: of -inf
def test_recorded_searches_find_what_others_do(retriever):
    retriever.to(DEVICE)
    # The decoder of text is the slowest when interpreted.
    stage = retriever.decoder.stage
    normalise = "vocabulary" if stage.scheme.name == "url" else "trie"
    recorded = graphs.GraphCache(retriever.model, stage.trie)
    for queries in (QUERIES, ["rename a folder", *QUERIES], QUERIES[:1], QUERIES[::-1]):
        assert_same(recorded, retriever, queries, masks(retriever, len(queries)), normalise)
    assert len(recorded.graphs) == 2, "3 and 4 queries are of one shape"
    everything = RowMask.build([np.ones(retriever.decoder.stage.trie.rows, dtype=bool)])
    assert_same(recorded, retriever, QUERIES, everything, normalise)
    assert_same(recorded, retriever, QUERIES[::-1], everything, normalise)
    assert len(recorded.graphs) == 3


@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
@pytest.mark.parametrize("retriever", ["atomic", "residual", "written residual"], indirect=True)
def test_new_weights_are_recorded_anew(retriever):
    retriever.to(DEVICE)
    recorded = graphs.GraphCache(retriever.model, retriever.decoder.stage.trie)
    live = masks(retriever, len(QUERIES))
    assert_same(recorded, retriever, QUERIES, live)
    assert list(recorded.graphs.values()) == [None], "a shape that occurs once is not captured"
    assert_same(recorded, retriever, QUERIES, live)
    (before, *_), *_ = recorded.graphs.values()
    assert_same(recorded, retriever, QUERIES, live)
    assert recorded.graphs.popitem()[1][0] is before
    assert_same(recorded, retriever, QUERIES, live)
    retriever.model.train()
    with torch.no_grad():
        for parameter in retriever.model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    retriever.model.eval()
    assert_same(recorded, retriever, QUERIES, live)
    assert list(recorded.graphs.values()) == [None]
    assert_same(recorded, retriever, QUERIES, live)
    assert recorded.graphs.popitem()[1][0] is not before


def test_a_recording_holds_the_weights_that_it_was_made_with(retriever):
    retriever.to(DEVICE)
    recorded = graphs.GraphCache(retriever.model, retriever.decoder.stage.trie)
    live = masks(retriever, len(QUERIES))
    assert_same(recorded, retriever, QUERIES, live)
    assert_same(recorded, retriever, QUERIES, live)
    ((_, search),) = recorded.graphs.items()
    made = retriever.model.prepared_weights()
    assert len(search.prepared) == len(made) > 0
    assert all(held is own for held, own in zip(search.prepared, made, strict=True))
    assert any(held is not None for held in made) or retriever.decoder.stage.trie.depth > 1


@pytest.mark.parametrize("retriever", ["residual"], indirect=True)
def test_few_shapes_are_kept(retriever, monkeypatch):
    monkeypatch.setattr(graphs, "MAX_CACHED_GRAPHS", 2)
    retriever.to(DEVICE)
    recorded = graphs.GraphCache(retriever.model, retriever.decoder.stage.trie)
    inputs = retriever.decoder.stage.encode(QUERIES)
    for beams in (1, 2, 1, 3):
        options = SearchOptions(beams=beams)
        recorded.search(inputs, masks(retriever, len(QUERIES)), options)
    assert [key[-3] for key in recorded.graphs] == [1, 3]


@pytest.mark.parametrize("retriever", ["residual"], indirect=True)
def test_a_cpu_records_nothing(retriever):
    assert graphs.make_graph_cache(retriever.model, retriever.decoder.stage.trie.to("cpu")) is None


@pytest.mark.skipif(DEVICE == "cpu", reason="there is no GPU here")
def test_a_retriever_on_a_gpu_answers_as_on_a_cpu(retriever):
    here = retriever.search(QUERIES, 5)
    retriever.to("cuda")
    assert retriever.decoder.stage.graph_cache is not None
    retriever.search(QUERIES, 5)  # the second time it is recorded
    for expected, found in zip(here, retriever.search(QUERIES, 5), strict=True):
        assert [hit.key for hit in found] == [hit.key for hit in expected]
        assert [hit.score for hit in found] == pytest.approx([h.score for h in expected], rel=1e-3)
