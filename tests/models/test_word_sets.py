"""Word sets: BM25's scores of the heaviest words of each document."""

from collections import Counter
from math import log

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genir.cancellation import Cancelled, cancel_when
from genir.errors import InputError
from genir.models.encoder_head import word_rows
from genir.models.encoder_head.word_rows import (
    MAX_WORD_ID,
    count_words,
    match_scores,
    pad_ids,
    pad_sets,
    unpad_sets,
    word_ids,
)
from genir.models.encoder_head.word_sets import (
    CompactWordSets,
    WeightedWordSets,
    empty_word_sets,
)

WORDS = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta")
TERMS = st.lists(st.sampled_from(WORDS), max_size=12)


def idf(documents, word):
    frequency = sum(word in document for document in documents)
    return log(1 + (len(documents) - frequency + 0.5) / (frequency + 0.5))


def bm25(documents, query, document):
    """Lucene's BM25 with k1 = 0.9 and b = 0.4, times k1 + 1; a query's words count once."""
    average = sum(map(len, documents)) / len(documents)
    norm = 0.9 * (1 - 0.4 + 0.4 * len(document) / (average or 1))
    counts = Counter(document)
    return sum(
        idf(documents, word) * counts[word] * 1.9 / (counts[word] + norm) for word in set(query)
    )


def fit(documents, size, kind=WeightedWordSets):
    return kind(size).fit(count_words(documents))


def rows(sets, *documents):
    return sets.rows(count_words(documents))


def read_back(sets):
    saved = {f"words.{name}": tensor.clone() for name, tensor in sets.state_dict().items()}
    again = empty_word_sets(saved, sets.size, isinstance(sets, CompactWordSets))
    again.load_state_dict(sets.state_dict())
    again.check("folder")
    return again


def scores(sets, *queries):
    return sets(torch.from_numpy(pad_ids(queries, 16)))


@settings(max_examples=60, deadline=None)
@given(st.lists(TERMS, min_size=1, max_size=6), st.lists(TERMS, min_size=1, max_size=3))
def test_scores_of_whole_documents_equal_the_formula(documents, queries):
    found = scores(fit(documents, 12), *queries)
    expected = [[bm25(documents, query, own) for own in documents] for query in queries]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-6)


def test_a_set_has_the_heaviest_words():
    documents = [["rare", "often", "often", "often"], ["often", "x"], ["often", "y"]]
    sets = fit(documents, 1)
    assert scores(sets, ["rare"])[0, 0] == pytest.approx(bm25(documents, ["rare"], documents[0]))
    assert scores(sets, ["often"]).tolist() == [[0, 0, 0]]


def test_unknown_words_and_empty_queries_score_nothing():
    sets = fit([["one"], []], 4)
    assert scores(sets, ["other"], [], ["one"])[:2].tolist() == [[0, 0], [0, 0]]
    assert scores(sets, ["one"])[0, 1] == 0


def test_a_corpus_without_words_has_empty_sets():
    assert scores(fit([[], []], 4), ["one"]).tolist() == [[0, 0]]


@settings(max_examples=30, deadline=None)
@given(st.lists(TERMS, min_size=1, max_size=6), st.lists(TERMS, min_size=1, max_size=3))
def test_sets_given_by_ids_score_the_same(documents, queries):
    sets = fit(documents, 5)
    found = match_scores(pad_ids(queries, 16), sets.rows_at(torch.arange(len(sets))))
    np.testing.assert_allclose(found, scores(sets, *queries).numpy(), rtol=1e-5, atol=1e-6)


TEXTS = st.lists(st.lists(st.sampled_from(WORDS), max_size=4), min_size=1, max_size=4)


@settings(max_examples=60, deadline=None)
@given(TEXTS, st.lists(st.dictionaries(st.integers(0, 7), TERMS, max_size=4), max_size=4))
def test_changed_sets_score_like_sets_written_at_once(documents, changes):
    """Sets are added, replaced and emptied, in any order and with gaps."""
    sets, wanted = fit(documents, 3), dict(enumerate(documents))
    for change in changes:
        wanted |= change
        places = np.array(list(change), dtype=np.int64)
        sets.write(max(wanted) + 1, places, rows(sets, *change.values()))
    alone = fit(documents, 3)
    alone.keep(torch.zeros(0, dtype=torch.long))
    texts = [wanted.get(n, []) for n in range(max(wanted) + 1)]
    alone.write(len(texts), np.arange(len(texts)), rows(alone, *texts))
    asked = [[word] for word in WORDS]
    assert torch.equal(scores(sets, *asked), scores(alone, *asked))
    assert torch.equal(scores(read_back(sets), *asked), scores(sets, *asked))


def test_new_documents_bring_new_words_and_replace_old_sets():
    documents = [["one", "two"], ["two"]]
    sets = fit(documents, 3)
    before = scores(sets, ["two"])[0, 0].item()
    sets.write(3, np.array([1, 2]), rows(sets, ["new"], ["two", "new", "newer"]))
    found = scores(sets, ["two"], ["new"], ["newer"])
    assert found[0].tolist() == pytest.approx([before, 0, found[0, 2].item()])
    assert found[0, 2] > 0 and (found[1] > 0).tolist() == [False, True, True]
    assert found[2, 2] > found[0, 2]  # a word of no trained document has the largest idf
    unseen = log(1 + (2 + 0.5) / 0.5)
    assert found[1, 1].item() == pytest.approx(unseen * 1.9 / (1 + 0.9 * (0.6 + 0.4 / 1.5)))


@pytest.mark.parametrize("kind", [WeightedWordSets, CompactWordSets])
def test_sets_are_kept_in_an_order(kind):
    sets = fit([["one"], ["two"], ["three"]], 2, kind)
    whole = scores(sets, ["one", "three"])
    sets.keep(torch.tensor([2, -1, 0]))
    expected = torch.stack([whole[0, 2], torch.tensor(0.0), whole[0, 0]])
    assert torch.equal(scores(sets, ["one", "three"])[0], expected)


@pytest.mark.parametrize("kind", [WeightedWordSets, CompactWordSets])
def test_queries_are_scored_at_once_as_in_turn(kind):
    documents = [[f"w{n % 7}", "all", f"x{n}"] for n in range(9)]
    sets, queries = fit(documents, 3, kind), [["all", "all"], ["w3", "x8", "new"], []]
    columns = sets.columns_of(torch.from_numpy(pad_ids(queries, 4)))
    at_once = sets._scores_at_once(columns, sets.values_of(columns))
    torch.testing.assert_close(at_once, scores(sets, *queries))
    assert (at_once[:2] > 0).any(dim=1).all()


def test_saved_sets_are_read_back():
    sets = fit([["one", "two"], ["two"]], 3)
    sets.write(4, np.array([3]), rows(sets, ["new"]))
    asked = ["one"], ["two", "new"]
    assert torch.equal(scores(read_back(sets), *asked), scores(sets, *asked))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("documents", -1),
        ("mean_length", 0.0),
        ("mean_length", float("nan")),
        ("mean_length", float("inf")),
        ("frequencies", -1),
        ("frequencies", 3),  # more than documents
        ("columns", 0),
        ("columns", 99),
        ("columns", -1),
        ("starts", 1),
        ("weights", -1.0),
        ("weights", float("nan")),
        ("weights", float("inf")),
        ("vocabulary", -5),
        ("vocabulary", MAX_WORD_ID),
    ],
)
def test_invalid_values_are_refused_by_name(name, value):
    sets = fit([["one", "two"], ["two"]], 3)
    getattr(sets, name).fill_(value)
    with pytest.raises(InputError, match=rf"folder: words\.{name} has invalid values; restore"):
        sets.check("folder")


def test_sets_of_more_words_than_their_size_are_refused():
    sets = fit([["one", "two"], ["two"]], 2)
    sets.check("folder")
    sets.size = 1
    with pytest.raises(InputError, match=r"words\.starts has invalid values"):
        sets.check("folder")


def test_word_ids_are_stable_and_exact_in_float32():
    ids = word_ids(["kubectl", "os", "", "猫", "7"])
    assert ids.tolist() == [16686557, 11552124, 1, 14594710, 12536557]
    assert (ids < MAX_WORD_ID).all() and (ids.astype(np.float32).astype(int) == ids).all()


def test_words_are_counted_in_blocks(monkeypatch):
    texts = [["a", "b", "a"], [], ["b"], ["c"] * 3]
    whole = count_words(iter(texts))
    monkeypatch.setattr(word_rows, "TEXTS_PER_BLOCK", 2)
    assert (count_words(texts) != whole).nnz == 0 == count_words([]).nnz
    assert whole[:, word_ids(["a", "b", "c"])].toarray().tolist() == [
        [2, 1, 0], [0, 0, 0], [0, 1, 0], [0, 0, 3],
    ]  # fmt: skip


def test_a_cancelled_search_scores_no_further_query():
    sets, ended = fit([["one"]], 1), iter([False, True])
    with cancel_when(lambda: next(ended)), pytest.raises(Cancelled):
        scores(sets, ["one"], ["two"], ["three"])


def test_further_words_of_a_long_query_are_dropped():
    ids = pad_ids([[f"w{n}" for n in range(9)] * 2, ["a", "a"]], 4)
    assert ids[0].tolist() == word_ids([f"w{n}" for n in range(4)]).tolist()
    assert ids[1].tolist() == [*word_ids(["a"]), 0, 0, 0]


def test_short_sets_are_padded_and_read_back():
    made = rows(fit([["one"], ["one", "two"]], 2), ["one"], [], ["two", "one"])
    ids, weights = pad_sets(made, 3)
    assert (ids != 0).tolist() == [[True, False, False], [False] * 3, [True, True, False]]
    assert ((weights > 0) == (ids != 0)).all()
    again = unpad_sets(ids.astype(np.float32), weights)
    assert (again != made).nnz == 0 and again.shape == made.shape


@pytest.mark.parametrize("wrong", [-1.0, 0.5, 1e30, float(MAX_WORD_ID)])
def test_invalid_word_ids_of_a_row_are_refused(wrong):
    with pytest.raises(InputError, match="a row has word ids that are not"):
        unpad_sets(np.array([[wrong]], np.float32), np.ones((1, 1), np.float32))


@settings(max_examples=30, deadline=None)
@given(st.lists(TERMS, min_size=1, max_size=6), st.lists(TERMS, min_size=1, max_size=3))
def test_compact_sets_score_the_idf_of_shared_words(documents, queries):
    sets = fit(documents, 12, CompactWordSets)
    expected = [
        [sum(idf(documents, word) for word in set(query) & set(own)) for own in documents]
        for query in queries
    ]
    np.testing.assert_allclose(scores(sets, *queries).numpy(), expected, rtol=1e-5, atol=1e-6)
    assert sets.columns.dtype == torch.int16
    assert torch.equal(scores(read_back(sets), *queries), scores(sets, *queries))


def test_compact_sets_use_all_sixteen_bits():
    names = [f"w{n}" for n in range(3000)]
    assert (word_ids(names) % 65_535 > 1 << 15).any()
    sets = fit([[name] for name in names], 1, CompactWordSets)
    found = scores(sets, *([name] for name in names[:50]))
    assert (found.argmax(dim=1) == torch.arange(50)).all() and (found > 0).sum() < 60
    sets.write(3001, np.array([3000]), rows(sets, ["new"]))
    assert scores(sets, ["new"])[0, 3000] > 0
