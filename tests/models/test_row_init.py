"""What an encoder-head model makes of new documents."""

import numpy as np
import pytest
import torch
from tiny import tiny_retriever

from genir.models.encoder_head import row_init
from genir.models.encoder_head.protected_queries import (
    ExistingDocuments,
    ProtectedQueries,
)
from genir.models.encoder_head.row_init import (
    own_texts,
    sample_protected_queries,
    text_vectors,
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
    return np.stack([one.row for one in made]), [one.query_vectors for one in made]


def test_a_document_is_asked_with_its_queries_and_clauses():
    document = Document("a", "Copy it: cp a b\nMove it. Then stop.\n:\n" + "more\n" * 20, "title")
    given, made = own_texts(document, ASKED | {"b": ["no"]})
    assert given == ASKED["a"]
    assert made == ["Copy it", "Move it.", "Then stop.", ":", "more"]


def test_rows_have_unit_length_beside_the_words(retriever, standing):
    documents = [Document(f"n{n}", "hide the volume of a host", "a title") for n in range(3)]
    rows, asked = rows_of(retriever, documents, {}, standing)
    np.testing.assert_allclose(np.linalg.norm(rows[:, :16], axis=1), 1, rtol=1e-5)
    words = retriever.model.document_vectors(documents, {})[:, 16:]
    np.testing.assert_array_equal(rows[:, 16:], words)
    assert all(own.shape == (0, 24) for own in asked)


def test_queries_that_come_with_a_document_are_kept_as_vectors(retriever, standing):
    documents = [Document("b", "cipher"), Document("a", "a wall")]
    _, (none, two) = rows_of(retriever, documents, ASKED, standing)
    assert len(none) == 0 and two.dtype == np.float16
    expected = text_vectors(retriever.model, ASKED["a"])
    np.testing.assert_allclose(two, expected, rtol=1e-3, atol=1e-2)


def test_a_batch_leaves_its_queries_to_those_before_it(retriever, standing, monkeypatch):
    documents = [Document("a", "zip it"), Document("b", "protect one host")]
    vectors = text_vectors(retriever.model, ASKED["a"])
    monkeypatch.setattr(row_init, "DOCUMENTS_PER_BATCH", 1)
    (first, second), _ = rows_of(retriever, documents, ASKED, standing)
    (alone,), _ = rows_of(retriever, documents[1:], {}, standing)
    assert (vectors @ second).mean() < (vectors @ alone).mean()
    assert (vectors @ first).mean() > (vectors @ second).mean() - 1


def test_documents_without_a_query_are_stood_for_by_their_rows(retriever, standing):
    model = retriever.model
    guards = sample_protected_queries(model, {"copy-file": ["clone a text"]}, retriever.table)
    assert guards.documents.tolist() == [retriever.table.number("copy-file")]
    field = row_init.InsertionContext(model, ExistingDocuments(standing.live_symbols, guards))
    asked, answers = (torch.cat(parts) for parts in zip(*field._asked(), strict=True))
    assert asked.shape == (1 + 39, 24)  # the query, and a row of every other document
    rows = torch.cat([model.head.normalized_codebook(0), *model.head.frozen_rows], dim=1).detach()
    symbol = int(retriever.table.symbols[retriever.table.rows_of(guards.documents[0])[0], 0])
    assert float(answers[0]) == pytest.approx(float(asked[0] @ rows[symbol]), abs=1e-4)
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
    asked = torch.from_numpy(text_vectors(model, ["protect a host", "clone a text"]))
    rows = torch.cat([model.head.normalized_codebook(0), *model.head.frozen_rows], dim=1).detach()
    torch.testing.assert_close(field.highest_rival(asked), (asked @ rows[rivals].T).amax(dim=1))
    none = row_init.InsertionContext(model, ExistingDocuments(np.zeros(40, dtype=bool)))
    assert none.highest_rival(asked).tolist() == [-np.inf, -np.inf]


def test_guards_are_replaced_by_document():
    guards = ProtectedQueries(np.eye(3, dtype=np.float16), np.array([4, 5, 4], dtype=np.int32))
    changed = guards.with_queries(
        {4: np.full((2, 3), 7, np.float16), 9: np.zeros((0, 3), np.float16)}
    )
    assert changed.documents.tolist() == [5, 4, 4]
    assert changed.vectors.tolist() == [[0, 1, 0], [7, 7, 7], [7, 7, 7]]
    assert changed.vectors.dtype == np.float16 and changed.documents.dtype == np.int32
