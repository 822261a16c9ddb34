from collections import Counter
from math import log

import numpy as np
import pytest
import torch

from genir.models.encoder_head.lexical import LexicalEncoder, count_tokens, special_ids

PAD, CLS, SEP = 0, 1, 2
VOCABULARY = 40


def encoder_of(documents, dimension=8):
    lexical = LexicalEncoder(VOCABULARY, dimension, [PAD, CLS, SEP])
    lexical.fit(count_tokens(documents, lexical.weight.shape[0]))
    return lexical


@pytest.fixture(scope="module")
def documents():
    """60 documents of 3 to 30 words, the lower numbers more frequent."""
    rng = np.random.default_rng(0)
    frequency = 1 / np.arange(1, VOCABULARY - 2)
    return [
        rng.choice(np.arange(3, VOCABULARY), length, p=frequency / frequency.sum()).tolist()
        for length in rng.integers(3, 31, 60)
    ]


def idf(documents, word):
    frequency = sum(word in document for document in documents)
    return log(1 + (len(documents) - frequency + 0.5) / (frequency + 0.5))


def bm25(documents, query, document):
    """Lucene's BM25 with k1 = 0.9 and b = 0.4, times k1 + 1; a query's words count once."""
    average = sum(map(len, documents)) / len(documents)
    norm = 0.9 * (1 - 0.4 + 0.4 * len(document) / average)
    counts = Counter(document)
    return sum(
        idf(documents, word) * counts[word] * 1.9 / (counts[word] + norm) for word in set(query)
    )


def test_words_are_counted():
    counts = count_tokens([[3, 4, 3], [], [1]], 5)
    assert counts.toarray().tolist() == [[0, 0, 0, 2, 1], [0, 0, 0, 0, 0], [0, 1, 0, 0, 0]]


def test_rare_words_weigh_more_and_special_ones_nothing():
    documents = [[3, 3, 4], [3], [SEP, 5, 3]]
    lexical = encoder_of(documents)
    expected = [0 if w <= SEP else idf(documents, w) for w in range(VOCABULARY)]
    assert lexical.idf.tolist() == pytest.approx(expected)
    assert float(lexical.average_length) == pytest.approx(7 / 3)
    norms = lexical.weight.norm(dim=1)
    assert (norms[:3] == 0).all() and norms[5] > norms[3] > 0


def test_a_query_is_the_sum_of_its_distinct_words(documents):
    lexical = encoder_of(documents)
    (vector,) = lexical(torch.tensor([[CLS, 7, 5, 7, 7, SEP]]))
    torch.testing.assert_close(vector, lexical.weight[5] + lexical.weight[7])


def test_order_repetition_and_padding_change_no_query(documents):
    lexical = encoder_of(documents)
    same = torch.tensor(
        [[CLS, 7, 5, SEP, PAD, PAD], [CLS, 5, 7, SEP, PAD, PAD], [CLS, 7, 5, 5, 7, SEP]]
    )
    first, *others = lexical(same)
    for other in others:
        torch.testing.assert_close(other, first)


def test_inner_products_are_near_bm25(documents):
    lexical = encoder_of(documents, dimension=4096)
    rng = np.random.default_rng(1)
    queries = [[CLS, *rng.integers(3, VOCABULARY, 4).tolist(), SEP] for _ in range(50)]
    found = lexical(torch.tensor(queries)).numpy()
    found = found @ lexical.document_vectors(count_tokens(documents, lexical.weight.shape[0])).T
    expected = np.array([[bm25(documents, q[1:-1], d) for d in documents] for q in queries])
    errors = found - expected
    assert expected.std() > 1
    assert np.abs(errors).mean() < 0.15 * expected.std()
    assert abs(errors.mean()) < 0.05 * expected.std()


def test_exact_words_are_worth_their_bm25():
    """With orthogonal word vectors the inner product is BM25 itself."""
    documents = [[3, 3, 4], [4, 5], [6], [3, 5, 5, 5, 7]]
    lexical = LexicalEncoder(8, 8, [PAD, CLS, SEP])
    lexical.weight.copy_(torch.eye(8))
    lexical.fit(count_tokens(documents, lexical.weight.shape[0]))
    bags = count_tokens(documents, lexical.weight.shape[0])
    found = lexical(torch.tensor([[3, 5, 3]])).numpy() @ lexical.document_vectors(bags).T
    assert found[0].tolist() == pytest.approx([bm25(documents, [3, 5], d) for d in documents])
    assert (
        bags != count_tokens(documents, lexical.weight.shape[0])
    ).nnz == 0  # the counts are left as they were


def test_the_same_dimension_gives_the_same_words():
    assert torch.equal(LexicalEncoder(9, 4, []).weight, LexicalEncoder(9, 4, []).weight)


def test_words_are_not_trained(documents):
    assert list(encoder_of(documents).parameters()) == []
    assert encoder_of(documents).state_dict().keys() == {"weight", "idf", "average_length"}


def test_special_tokens_are_known(tiny_encoder):
    from transformers import AutoTokenizer

    assert special_ids(AutoTokenizer.from_pretrained(tiny_encoder)) == [0, 1, 2, 3, 4]
