"""Confidence that a document answers a query."""

import math
import shutil
from functools import partial

import numpy as np
import pytest
import torch

import genir
from genir.errors import InputError
from genir.models.encoder import TextEncoder
from genir.models.encoder_head import confidence as module
from genir.models.encoder_head.confidence import (
    BIAS,
    SIMILARITY,
    WORDS,
    has_known_word,
    share_of_words,
)
from genir.vector_query import VectorQuery


@pytest.fixture(scope="module", params=["atomic", "residual"])
def retriever(request, tiny_folder):
    return genir.Retriever.load(tiny_folder(request.param), "cpu")


def test_it_is_the_logistic_model_of_cosine_and_shared_words(retriever):
    model, table = retriever.model, retriever.table
    query, key = "copy the folder quickly", "copy-folder"
    row = int(table.rows_of(table.number(key))[0])
    vectors = torch.nn.functional.normalize(model.head.row_vectors().detach(), dim=1)
    cosines = vectors @ vectors.T
    unrelated = float(cosines[~torch.eye(len(vectors), dtype=torch.bool)].mean())
    assert float(model.unrelated_similarity) == pytest.approx(unrelated, abs=1e-5)
    cosine = float(vectors[row] @ torch.from_numpy(model.encoder.embed(query, "query")[0]))
    corrected = retriever.decoder.stage.corrected(query)
    document = retriever.documents.fetch([key])[key]
    shared = share_of_words(
        model.analyzer, model.words, corrected, f"{document.title}. {document.text}"
    )
    similarity = max(0, (cosine - unrelated) / (1 - unrelated))
    logit = BIAS + SIMILARITY * similarity + WORDS * shared
    assert retriever.confidence(query, key) == pytest.approx(1 / (1 + math.exp(-logit)), abs=1e-4)


@pytest.mark.parametrize("query", ["とうきょう", "ไทย?", "とうきょう\uff1f\uff01"])
def test_a_query_of_unknown_words_is_similar_to_nothing(retriever, query):
    """Its vector would be that of any other text of unknown words."""
    tokenizer = retriever.model.tokenizer
    assert tokenizer.unk_token_id in tokenizer(query)["input_ids"]
    lowest = 1 / (1 + math.exp(-BIAS))
    for key in retriever.table.keys[:3]:
        assert retriever.confidence(query, key) == pytest.approx(lowest)
        # A given vector counts, whatever the words are.
        row = int(retriever.table.rows_of(retriever.table.number(key))[0])
        vector = retriever.model.head.row_vectors()[row].detach().numpy()
        given = VectorQuery(query, vector / np.linalg.norm(vector))
        assert retriever.confidence(given, key) > 0.9


def test_known_words():
    tokenizer = TextEncoder.pretrained("minilm").tokenizer
    for text in ("copy", "copy とうきょう", "???", "", "123", "東"):
        assert has_known_word(tokenizer, text)
    for text in ("とうきょう", "🙂", "ไทย, ไทย."):
        assert not has_known_word(tokenizer, text)


def test_shared_words_are_weighted_by_rarity(retriever):
    model = retriever.model
    share = partial(share_of_words, model.analyzer, model.words)
    assert share("copy folder", "Copies of folders") == 1
    assert share("the of", "the of") == share("", "x") == 0
    half = share("copy xylophone", "copy")
    if model.words is None:
        assert half == 0.5
    else:  # an unknown word is the rarest
        assert 0 < half < 0.5
        documents, held = len(retriever.documents), 5  # each verb has five documents
        known, unknown = (math.log1p((documents - n + 0.5) / (n + 0.5)) for n in (held, 0))
        assert half == pytest.approx(known / (known + unknown), abs=1e-5)


def test_a_long_document_is_searched_in_part(retriever, monkeypatch):
    monkeypatch.setattr(module, "MAX_CHARS", 10)
    assert share_of_words(retriever.model.analyzer, None, "folder", "0123456789 folder") == 0


def test_unknown_and_deleted_documents_are_refused(tiny_folder, tmp_path):
    folder = shutil.copytree(tiny_folder("atomic"), tmp_path / "model")
    retriever = genir.Retriever.load(folder, "cpu")
    with pytest.raises(InputError, match="no document with key 'nothing'"):
        retriever.confidence("copy", "nothing")
    retriever.delete("copy-folder")
    with pytest.raises(InputError, match="'copy-folder' is deleted; give the key of a hit"):
        retriever.confidence("copy", "copy-folder")


def test_a_sequence_to_sequence_model_cannot_tell(tiny_folder):
    assert genir.Retriever.load(tiny_folder("url"), "cpu").confidence("copy", "copy-folder") is None
