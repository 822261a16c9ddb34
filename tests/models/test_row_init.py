"""Rows of new documents of an encoder-head model."""

import numpy as np
import pytest
import torch
from tiny import tiny_retriever

from genir.models.encoder_head import row_init
from genir.models.encoder_head.row_init import (
    own_texts,
    query_rows,
    sample_protected_queries,
)
from genir.models.encoder_head.word_rows import count_words, pad_sets
from genir.models.insertion import (
    ExistingDocuments,
    ProtectedQueries,
)
from genir.types import Document

ASKED = {"a": ["protect one host", "guard a host"]}


@pytest.fixture(scope="module")
def retriever(tiny_encoder, tiny_corpus, tmp_path_factory):
    path = tmp_path_factory.mktemp("additions") / "store.sqlite"
    return tiny_retriever(tiny_encoder, tiny_corpus, path, "atomic")


@pytest.fixture
def standing(retriever):
    return ExistingDocuments(np.ones(40, dtype=bool))


def rows_of(retriever, documents, queries, standing):
    made = retriever.model.init_rows(documents, queries, standing)
    return np.concatenate([one.rows for one in made]), [one.query_rows for one in made]


def test_a_document_is_asked_with_its_queries_and_clauses():
    document = Document("a", "Copy it: cp a b\nMove it. Then stop.\n:\n" + "more\n" * 20, "title")
    given, made = own_texts(document, ASKED["a"])
    assert given == ASKED["a"]
    assert made == ["Copy it", "Move it.", "Then stop.", ":", "more"]


def test_rows_have_unit_length_beside_the_words(retriever, standing):
    documents = [Document(f"n{n}", "hide the volume of a host", "a title") for n in range(3)]
    rows, asked = rows_of(retriever, documents, {}, standing)
    np.testing.assert_allclose(np.linalg.norm(rows[:, :16], axis=1), 1, rtol=1e-5)
    terms = retriever.model.analyzer.terms([f"{d.title}. {d.text}" for d in documents])
    ids, weights = pad_sets(retriever.model.words.rows(count_words(terms)), 8)
    np.testing.assert_array_equal(rows[:, 16:24], ids)
    np.testing.assert_array_equal(rows[:, 24:], weights)
    assert (ids > 0).any() and all(own.shape == (0, 32) for own in asked)


def test_queries_that_come_with_a_document_are_kept_as_vectors(retriever, standing):
    documents = [Document("b", "cipher"), Document("a", "a wall")]
    _, (none, two) = rows_of(retriever, documents, ASKED, standing)
    assert len(none) == 0 and two.dtype == np.float32
    expected = query_rows(retriever.model, ASKED["a"])
    np.testing.assert_allclose(two, expected, rtol=1e-5, atol=1e-5)


def test_a_long_query_has_as_many_words_as_in_a_search(tiny_encoder, tiny_corpus, tmp_path):
    words = {"word_set_size": 64}
    model = tiny_retriever(tiny_encoder, tiny_corpus, tmp_path / "s", "atomic", words).model
    text = " ".join(f"word{n}" for n in range(99))
    ids = query_rows(model, [text, "erase"])[:, model.encoder.dimension :]
    assert (ids > 0).sum(axis=1).tolist() == [32, 1] and ids.shape == (2, 128)
    np.testing.assert_array_equal(ids[:, :32], model.word_inputs([text, "erase"]).numpy())


def test_a_later_batch_does_not_take_queries_of_an_earlier_one(retriever, standing, monkeypatch):
    documents = [Document("a", "zip it"), Document("b", "protect one host")]
    asked = torch.from_numpy(query_rows(retriever.model, ASKED["a"]))
    field = row_init.InsertionContext(retriever.model, standing)

    def mean(row):
        return field.scores(asked, torch.from_numpy(row[None])).mean()

    monkeypatch.setattr(row_init, "DOCUMENTS_PER_BATCH", 1)
    (first, second), _ = rows_of(retriever, documents, ASKED, standing)
    (alone,), _ = rows_of(retriever, documents[1:], {}, standing)
    assert mean(second) < mean(alone)
    assert mean(first) > mean(second) - 1


def test_documents_without_a_query_are_stood_for_by_their_rows(retriever, standing):
    model = retriever.model
    guards = sample_protected_queries(model, {"copy-file": ["clone a text"]}, retriever.table)
    assert guards.documents.tolist() == [retriever.table.number("copy-file")]
    field = row_init.InsertionContext(model, ExistingDocuments(standing.live_symbols, guards))
    asked, answers = (torch.cat(parts) for parts in zip(*field._asked(), strict=True))
    assert asked.shape == (1 + 39, 32)  # the query, and a row of every other document
    rows = field._rows(slice(None))
    symbol = int(retriever.table.symbols[retriever.table.rows_of(guards.documents[0])[0], 0])
    score = float(field.scores(asked[:1], rows[symbol][None]))
    assert float(answers[0]) == pytest.approx(score, abs=1e-4)
    own = torch.cat([rows[:symbol], rows[symbol + 1 :]])[:, :16]
    torch.testing.assert_close(asked[1:, :16], model.options.scale * own)
    torch.testing.assert_close(answers[1:], model.options.scale * (own * own).sum(dim=1))
    assert not asked[1:, 16:].any()


def test_blocks_change_no_row(retriever, monkeypatch):
    rivals = np.ones(40, dtype=bool)
    rivals[7:20] = False
    asked = {"copy-file": ["clone a text"], "move-file": ["another place", "rename it"]}
    guards = sample_protected_queries(retriever.model, asked, retriever.table)
    documents = [Document("a", "copy a file"), Document("b", "move a text to another place")]
    found = []
    for rows in (2_048, 3):
        monkeypatch.setattr(row_init, "BLOCK_ROWS", rows)
        monkeypatch.setattr(row_init, "DOCUMENTS_PER_BATCH", 1)
        found.append(rows_of(retriever, documents, ASKED, ExistingDocuments(rivals, guards))[0])
    np.testing.assert_allclose(found[0], found[1], atol=1e-3)  # L-BFGS enlarges rounding


def test_the_best_rival_is_that_of_all_rows(retriever, monkeypatch):
    monkeypatch.setattr(row_init, "BLOCK_ROWS", 7)
    rivals = np.arange(40) % 3 > 0
    field, model = (
        row_init.InsertionContext(retriever.model, ExistingDocuments(rivals)),
        retriever.model,
    )
    asked = torch.from_numpy(query_rows(model, ["protect a host", "clone a text"]))
    scores = field.scores(asked, field._rows(slice(None)))[:, rivals]
    torch.testing.assert_close(field.highest_rival(asked), scores.amax(dim=1))
    none = row_init.InsertionContext(model, ExistingDocuments(np.zeros(40, dtype=bool)))
    assert none.highest_rival(asked).tolist() == [-np.inf, -np.inf]


def test_guards_are_replaced_by_document():
    guards = ProtectedQueries(np.eye(3, dtype=np.float32), np.array([4, 5, 4], dtype=np.int32))
    changed = guards.with_queries(
        {4: np.full((2, 3), 7, np.float32), 9: np.zeros((0, 3), np.float32)}
    )
    assert changed.documents.tolist() == [5, 4, 4]
    assert changed.vectors.tolist() == [[0, 1, 0], [7, 7, 7], [7, 7, 7]]
    assert changed.vectors.dtype == np.float32 and changed.documents.dtype == np.int32
