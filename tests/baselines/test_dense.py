from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info

from genir.baselines import dense
from genir.baselines.dense import Dense
from genir.errors import InputError
from genir.models.encoder import TextEncoder
from genir.models.network_loading import MINILM_PACKAGE


def test_ranks_all_documents_by_inner_product(corpus, encoder):
    baseline = Dense.fit(corpus, encoder)
    queries = ["files", "network host packets"]
    products = encoder.embed(queries, "query") @ baseline.vectors.T
    for hits, row in zip(baseline.search(queries, 10), products, strict=True):
        assert [hit.key for hit in hits] == [corpus[i].key for i in np.argsort(-row)]
        assert [hit.score for hit in hits] == pytest.approx(np.sort(row)[::-1], abs=1e-5)
        assert [hit.rank for hit in hits] == [1, 2, 3, 4, 5]


def test_small_chunks_answer_alike(corpus, encoder, monkeypatch):
    baseline = Dense.fit(corpus, encoder)
    queries = ["files", "network", "pattern", "gzip"]
    whole = baseline.search(queries, 3)
    monkeypatch.setattr(dense, "MAX_SCORES_PER_BATCH", 2 * len(corpus))
    keys = [[hit.key for hit in hits] for hits in baseline.search(queries, 3)]
    assert keys == [[hit.key for hit in hits] for hits in whole]


def test_a_single_query_is_answered_as_in_a_batch_without_threads_of_numpy(
    corpus, encoder, monkeypatch
):
    baseline = Dense.fit(corpus, encoder)
    queries = ["files", "network", "pattern"]
    together = baseline.search(queries, 5)
    seen = []
    matmul = np.matmul

    class Watched(np.ndarray):
        """Vectors that note how many threads numpy may use in a product with them."""

        def __rmatmul__(self, other):
            (blas,) = threadpool_info_of("blas")
            seen.append(blas["num_threads"])
            return matmul(other, self.view(np.ndarray))

    baseline.vectors = baseline.vectors.view(Watched)
    for query, hits in zip(queries, together, strict=True):
        (alone,) = baseline.search([query], 5)
        assert [hit.key for hit in alone] == [hit.key for hit in hits]
    assert seen == [1, 1, 1]


def threadpool_info_of(api):
    found = [one for one in threadpool_info() if one["user_api"] == api]
    return [one for one in found if "numpy" in one["filepath"]]


def test_documents_with_one_text_are_ordered_by_key(corpus, encoder):
    twins = [replace(corpus[0], key=key) for key in ["c", "a", "b"]]
    hits = Dense.fit([*twins, corpus[3]], encoder).search(["The cat prints"], 2)[0]
    assert [hit.key for hit in hits] == ["a", "b"]


def test_a_filter_holds(store, encoder):
    hits = Dense.fit(store, encoder).search(["files"], 5, {"network": True})[0]
    assert [hit.key for hit in hits] == ["ping"]


def test_no_queries_and_no_documents(corpus, encoder):
    assert Dense.fit(corpus, encoder).search([], 5) == []
    with pytest.raises(InputError, match="no documents"):
        Dense.fit([], encoder)


def test_bytes_per_document(corpus, encoder):
    assert Dense.fit(corpus, encoder).bytes_per_document == 32 * 4


def test_cache_is_used_for_the_same_texts_and_weights(corpus, encoder, tmp_path, monkeypatch):
    cache = tmp_path / "deep" / "vectors.safetensors"
    first = Dense.fit(corpus, encoder, cache)
    assert [path.name for path in cache.parent.iterdir()] == ["vectors.safetensors"]
    monkeypatch.setattr(encoder, "embed", None)  # would fail if it were called
    assert np.array_equal(Dense.fit(corpus, encoder, cache).vectors, first.vectors)


def test_stale_cache_is_never_used(corpus, encoder, tmp_path):
    cache = tmp_path / "vectors.safetensors"
    first = Dense.fit(corpus, encoder, cache).vectors
    assert Dense.fit(corpus[::-1], encoder, cache).vectors == pytest.approx(first[::-1], abs=1e-5)
    with torch.no_grad():
        encoder.backbone.embeddings.word_embeddings.weight.mul_(torch.linspace(-2, 2, 32))
    changed = Dense.fit(corpus, encoder, cache).vectors
    assert changed == pytest.approx(
        encoder.embed([dense.passage(d) for d in corpus], "document"), abs=1e-5
    )
    assert not np.allclose(changed, first, atol=0.05)


def test_a_file_that_is_no_cache_is_refused_and_kept(corpus, encoder, tmp_path):
    cache = tmp_path / "notes.txt"
    cache.write_text("dear diary")
    with pytest.raises(InputError, match=r"notes\.txt: not a cache of vectors"):
        Dense.fit(corpus, encoder, cache)
    assert cache.read_text() == "dear diary"


@pytest.mark.skipif(find_spec(MINILM_PACKAGE) is None, reason="the MiniLM package is absent")
def test_minilm_embeds_meaning(corpus):
    minilm = Dense.fit(corpus, TextEncoder.pretrained())
    queries = ["search text with a regular expression", "is that server reachable?"]
    assert [hits[0].key for hits in minilm.search(queries, 1)] == ["grep", "ping"]
    assert minilm.bytes_per_document == 384 * 4
