"""All searches give the same answers on the CPU and on another device."""

import pytest
import torch
from nets import FAST, GENERAL, make, whole
from rerankers import Rerankers
from stand_in import DEVICE
from tiny import GATHERED, QUERIES, SCHEMES, tiny_retriever

from genir.evaluation.beam_tree import beam_tree
from genir.evaluation.compare import Options
from genir.evaluation.explain import explain
from genir.evaluation.runner import compare_model
from genir.models.backbone import Seq2SeqBackbone
from genir.models.reranker import Reranker

WAYS = {
    "beam": {},
    "trie": {"softmax": "trie"},
    "exact": {"strategy": "exact"},
    "exact, legal": {"strategy": "exact", "softmax": "trie"},
    "sums": {"aggregate": "logsumexp"},
    "narrow": {"beams": 1},
}
CASES = [(scheme, WAYS[way], {}) for scheme in SCHEMES for way in ("beam", "exact")]
CASES += [
    (scheme, way, {}) for scheme in ("residual", "url") for name, way in WAYS.items()
    if name not in ("beam", "exact")
]  # fmt: skip
CASES += [
    ("atomic", {"strategy": "lookahead", "lookahead_weight": 0.5}, {"term_set_size": 3}),
    ("residual", {"strategy": "lookahead", "lookahead_weight": 0.5}, {}),
]
CASES += [
    ("residual", {"lookahead_weight": 0.5, "strategy": "lookahead", "max_nodes": 9}, {}),
    ("url", {"strategy": "corpusbrain", "max_identifiers": 2}, {}),
]
CASES += [(scheme, {"strategy": way}, {}) for scheme, way in GATHERED.items()]
FILTERS = [{"verb": ["copy", "move"]}, None, {"tags": "disk"}]


def hits_of(retriever):
    """Return the hits with and without filters."""
    plain, few = retriever.search(QUERIES, 7), retriever.search(QUERIES, 5, FILTERS)
    found = [(hit.key, hit.identifier, hit.score) for hits in (*plain, *few) for hit in hits]
    return [(key, name) for key, name, _ in found], [score for _, _, score in found]


@pytest.mark.parametrize(("scheme", "way", "model"), CASES)
def test_a_search_finds_the_same(scheme, way, model, device, tiny_encoder, tiny_corpus, tmp_path):
    path = tmp_path / "documents.sqlite"
    retriever = tiny_retriever(tiny_encoder, tiny_corpus, path, scheme, model, **way).to("cpu")
    keys, scores = hits_of(retriever)
    retriever.to(device)
    assert retriever.model.device == device
    found, own = hits_of(retriever)
    assert found == keys
    assert own == pytest.approx(scores, abs=1e-4)


@pytest.mark.parametrize("name", ["bert", "monot5"])
def test_rerankers_score_the_same(name, device, tiny_encoder, tmp_path):
    folder = Rerankers(tiny_encoder, tmp_path).write(name)
    pairs = [(query, text) for query in QUERIES for text in ("remove a directory here", "watch")]
    here = Reranker(folder, 0, "cpu").score(pairs, 4)
    there = Reranker(folder, 0, str(device)).score(pairs, 4)
    assert there == pytest.approx(here, abs=1e-4)


@pytest.mark.parametrize("scheme", ["atomic", "hierarchical"])
def test_an_evaluation_says_the_same(scheme, fp32, device, tiny_encoder, tiny_corpus, tmp_path):
    path = tmp_path / "documents.sqlite"
    retriever = tiny_retriever(tiny_encoder, tiny_corpus, path, scheme).to(device)
    judged = (tiny_corpus / "queries.jsonl", tiny_corpus / "qrels" / "test.tsv")
    options = Options(diagnose=True, latency_queries=1)
    found = compare_model(retriever, *judged, ["bm25", "dense", "rrf"], options)
    output = explain(retriever, QUERIES[0], "copy-file", beams=2)
    tree = beam_tree(retriever, QUERIES[0], k=3)
    retriever.to("cpu")
    assert output.verdict == explain(retriever, QUERIES[0], "copy-file", beams=2).verdict
    assert keys_of(tree.hits) == keys_of(beam_tree(retriever, QUERIES[0], k=3).hits)
    known = compare_model(retriever, *judged, ["bm25", "dense", "rrf"])
    for system, answers in known.answers.items():
        for query, hits in answers.items():
            assert keys_of(found.answers[system][query]) == keys_of(hits)


def keys_of(hits):
    return [hit.key for hit in hits]


@pytest.mark.parametrize("name", [*FAST, *GENERAL])
def test_every_family_steps_there(name, device):
    sources = (
        torch.tensor([[5, 6, 7, 8], [9, 10, 0, 0]]),
        torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]]),
    )
    targets = torch.tensor([[11, 12, 13], [14, 15, 16]])
    expected = whole(make(name), sources, targets)
    transformer = Seq2SeqBackbone(make(name)).to(device)
    with torch.no_grad():
        encoded = transformer.encode(*(part.to(device) for part in sources))
        state = transformer.steps.encode(encoded.states, encoded.mask)
        start = torch.full((2, 1), transformer.start, device=device)
        state, hidden = transformer.steps.step(state, None, transformer.embed(start))
        states, parents = [hidden], torch.zeros(2, 1, dtype=torch.long, device=device)
        for symbols in targets.to(device).T:
            embeds = transformer.embed(symbols[:, None])
            state, hidden = transformer.steps.step(state, parents, embeds)
            states.append(hidden)
        found = transformer.logits(torch.cat(states, dim=1)).cpu()
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    transformer.train()
    encoded = transformer.encode(*(part.to(device) for part in sources))
    transformer.decode(encoded, transformer.embed(targets.to(device))).sum().backward()
    assert all(p.grad.device == DEVICE for p in transformer.parameters() if p.grad is not None)
