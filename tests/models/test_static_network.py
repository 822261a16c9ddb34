"""Static embeddings whose tokenizer has no token for padding."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer, models, normalizers

from genir.models.encoder import TextEncoder

TEXTS = ["the theft", "cat the", "cthe", ""]


@pytest.fixture
def folder(tmp_path):
    """Static embeddings of a tokenizer without special tokens, whose first token is a word."""
    made = tmp_path / "static"
    made.mkdir()
    pieces = models.BPE({"t": 0, "h": 1, "e": 2, "th": 3, "the": 4, "f": 5, "c": 6, "a": 7, " ": 8},
                        [("t", "h"), ("th", "e")])  # fmt: skip
    tokenizer = Tokenizer(pieces)
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.save(str(made / "tokenizer.json"))
    torch.manual_seed(3)
    save_file({"embedding.weight": torch.randn(9, 16)}, made / "model.safetensors")
    module = {"idx": 0, "name": "0", "path": "",
              "type": "sentence_transformers.models.StaticEmbedding"}  # fmt: skip
    (made / "modules.json").write_text(json.dumps([module]))
    return made


def test_a_padding_token_is_added_and_changes_no_text(folder, tmp_path, fp32):
    encoder = TextEncoder.pretrained(str(folder))
    model = SentenceTransformer(str(folder), device="cpu")
    expected = model.encode(TEXTS[:3], normalize_embeddings=True)
    np.testing.assert_allclose(encoder.embed(TEXTS[:3], "query"), expected, atol=1e-5)
    assert encoder.tokenizer.pad_token == "[PAD]" and len(encoder.embeddings) == 10
    (tmp_path / "again").mkdir()
    encoder.save(tmp_path / "again")
    encoder.tokenizer.save_pretrained(tmp_path / "again")
    again = TextEncoder.restore(tmp_path / "again", encoder.state_dict())
    again.load_state_dict(encoder.state_dict())
    assert (again.embed(TEXTS, "query") == encoder.embed(TEXTS, "query")).all()
    assert np.isfinite(again.embed("", "query")).all()
