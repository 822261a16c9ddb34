"""Set identifiers: words, scores, and how an encoder-head model looks ahead by
them."""

from math import log

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix
from tiny import QUERIES, tiny_retriever, under

from genir.config import validate
from genir.corpus.readers import read_corpus
from genir.errors import InputError
from genir.models.base import Batch
from genir.models.encoder_head.model import EncoderHeadModel
from genir.models.encoder_head.options import EncoderHeadOptions
from genir.models.encoder_head.term_set_head import TermSetHead, bm25_weights, count_tokens
from genir.models.shallow_copy import shallow_copy
from genir.models.tokenization import encode_texts, pad_batch
from genir.retriever import Retriever

WEIGHTS = csr_matrix(
    np.array([[0, 3, 0, 2, 1, 0], [0, 0, 0, 5, 5, 4], [0, 0, 0, 0, 0, 0], [7, 0, 0, 0, 0, 0]])
)


@pytest.fixture
def head():
    """Two words a document over columns of tokens 0, 1, 3, 4; the embeddings are axes."""
    head = TermSetHead.build(WEIGHTS, 2, 4)
    head.init_embeddings(torch.eye(4)[[0, 1, 0, 2, 3, 0]] * 7)
    return head


def test_sets_are_the_heaviest_words_of_equals_the_first(head):
    assert head.vocabulary.tolist() == [0, 1, 3, 4]
    assert head.words.tolist() == [[1, 2], [2, 3], [4, 4], [0, 4]]  # 4: no word


def test_weights_are_bm25_s():
    bags = count_tokens([[1, 1, 2], [2, 3, 4], [9]], 10)
    weights = bm25_weights(bags, [9]).toarray()
    length, average, k1, b = 3, 7 / 3, 0.9, 0.4
    norm = k1 * (1 - b + b * length / average)
    idf = log(1 + (3 - 1 + 0.5) / (1 + 0.5))
    assert weights[0, 1] == pytest.approx(idf * 2 * (k1 + 1) / (2 + norm), rel=1e-5)
    assert weights[1, 3] == pytest.approx(idf * (k1 + 1) / (1 + norm), rel=1e-5)
    assert weights[2].tolist() == [0] * 10  # a special token weighs nothing


def test_a_word_counts_by_the_token_that_gives_it_most(head):
    """Embeddings are at unit length; values below 0 and padding count nothing."""
    states = torch.tensor([[[1.0, 5.0, 0.0, -1.0], [0.0, 2.0, 3.0, -2.0], [9.0, 9.0, 9.0, 9.0]]])
    mask = torch.tensor([[1, 1, 0]])
    weights = [log(2), log(6), log(4), 0.0]
    assert head(states, mask)[0].tolist() == pytest.approx(weights)
    expected = [log(6) + log(4), log(4), 0.0, log(2)]
    assert head.scores(states, mask)[0].tolist() == pytest.approx(expected)
    total = sum(np.exp(expected))
    losses = head.loss(states.expand(2, -1, -1), mask.expand(2, -1), torch.tensor([0, 3]))
    assert losses.tolist() == pytest.approx([log(total) - expected[0], log(total) - log(2)])


def test_a_bias_keeps_most_words_out_before_training(head):
    """Tokens give their own words 5 and 3, by embeddings at unit length: 1.35 times 4 is out."""
    head.calibrate_bias(torch.tensor([[5.0, 1, 1, 1], [1, 1, 3, 1]]), torch.eye(4)[[0, 2]] * 9)
    states = torch.tensor([[[6.4, 1.0, 5.4, 5.9]]])
    weights = head(states, torch.ones(1, 1, dtype=torch.long))[0].tolist()
    assert weights == pytest.approx([log(2), 0, 0, log(1.5)], abs=1e-5)


def test_words_that_tokens_are_no_nearer_to_are_all_let_in(head):
    head.calibrate_bias(torch.tensor([[-1.0, 5, 5, 5]]), torch.eye(4)[[0]])
    assert head.bias.tolist() == [0] * 4


def test_sets_of_some_documents_are_kept(head):
    before, kept = head.words.clone(), shallow_copy(head)
    kept.keep(torch.tensor([3, 1]))
    assert kept.words.tolist() == before[[3, 1]].tolist()
    assert kept.state_dict()["words"].shape == (2, 2)
    assert torch.equal(head.words, before)


# --- in an encoder-head model
# -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def retriever(tiny_encoder, tiny_corpus, tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "documents.sqlite"
    model = {"word_set_size": 0, "term_set_size": 3}
    return tiny_retriever(tiny_encoder, tiny_corpus, path, "residual", model)


def inputs(model, *texts):
    return pad_batch(encode_texts(model.tokenizer, texts, 32), model.tokenizer.pad_token_id)


def test_the_prior_is_the_score_of_the_term_sets(retriever):
    model = retriever.model
    with torch.no_grad():
        state = model.encode(*inputs(model, *QUERIES))
        prior = model.prior(state)
        scores = model.term_sets.scores(*state.prefix).log_softmax(dim=1)
    assert torch.allclose(prior, scores[:, retriever.table.documents], atol=1e-5)
    everything = len(retriever.table)
    ahead = under(retriever, strategy="lookahead", lookahead_weight=0.5).search(QUERIES, everything)
    bare = retriever.search(QUERIES, everything)
    for hits, others, row in zip(ahead, bare, scores.tolist(), strict=True):
        known = {hit.key: hit.score for hit in others}
        for hit in hits:
            added = 0.5 * row[retriever.table.number(hit.key)]
            assert hit.score == pytest.approx(known[hit.key] + added, abs=1e-3)


def test_sets_have_a_loss_of_their_own(tiny_encoder, tiny_corpus, retriever):
    model = retriever.model
    ids, mask = inputs(model, "clone a text", "watch every drive")
    rows = torch.tensor([3, 11])
    batch = Batch(ids, mask, torch.zeros(2, 1), rows, torch.tensor([1.0, 3.0]))
    with torch.no_grad():
        states = model.encoder.states(ids, mask)
        documents = torch.from_numpy(retriever.table.documents)[rows].long()
        own = model.term_sets.loss(states, mask, documents)
        whole, sets = model.loss(batch, 0.0), model.term_sets
        model.term_sets = None
        codes = model.loss(batch, 0.0)
        model.term_sets = sets
    assert float(whole - codes) == pytest.approx(float(own[0] + 3 * own[1]) / 4, rel=1e-4)
    assert {id(p) for p in sets.parameters()} <= {id(p) for p in model.head_parameters()}


def test_training_on_queries_brings_their_documents_forward(tiny_encoder, tiny_corpus):
    corpus = list(read_corpus(tiny_corpus))
    options = {"encoder": str(tiny_encoder), "word_set_size": 0, "term_set_size": 4}
    model = EncoderHeadModel.build(validate(EncoderHeadOptions, options, "[model]"), corpus)
    texts = [document.title for document in corpus]
    ids, mask = inputs(model, *texts)
    gold = torch.arange(len(corpus))
    optimiser = torch.optim.Adam(model.term_sets.parameters(), lr=0.05)
    losses = []
    for _ in range(30):
        states = model.encoder.states(ids, mask).detach()
        loss = model.term_sets.loss(states, mask, gold).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < log(len(corpus)) - 0.3 < losses[0]  # loss of a uniform guess, less .3


def test_a_model_with_sets_is_saved_and_its_corpus_shrinks(retriever, tmp_path):
    retriever.save(tmp_path / "model")
    loaded = Retriever.load(tmp_path / "model", "cpu")
    assert loaded.search(QUERIES, 9) == retriever.search(QUERIES, 9)
    assert torch.equal(loaded.model.term_sets.words, retriever.model.term_sets.words)
    assert loaded.bytes_per_document > 4 * 3
    with pytest.raises(InputError, match=r"\[model\] term_set_size: documents cannot be added"):
        loaded.add([loaded.documents.find(loaded.table.keys[0])])
    kept = loaded.table.keys[10:]
    loaded.delete(loaded.table.keys[:10])
    before = [[hit.key for hit in hits] for hits in loaded.search(QUERIES, 30)]
    loaded.compact()
    assert loaded.table.keys == kept and len(loaded.model.term_sets.words) == 30
    assert torch.equal(loaded.model.term_sets.words, retriever.model.term_sets.words[10:])
    assert [sorted(h.key for h in hits) for hits in loaded.search(QUERIES, 30)] == [
        sorted(keys) for keys in before
    ]
