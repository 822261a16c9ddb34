import hashlib
import json
import shutil
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from genir.errors import InputError, MissingPackage
from genir.models.encoder import TextEncoder
from genir.models.network_loading import MINILM, MINILM_PACKAGE, MINILM_SHA256, pretrained_folder
from genir.models.tokenization import batches_by_length, encode_texts, pad_batch

TEXTS = ["copy file", "how do i delete a folder or a disk?", "", "watch"]


@pytest.fixture
def encoder(tiny_encoder):
    return TextEncoder.pretrained(str(tiny_encoder), length=12)


@pytest.fixture
def forgetful():
    """Forget before and after where MiniLM was found."""
    pretrained_folder.cache_clear()
    yield
    pretrained_folder.cache_clear()


def test_a_vector_is_the_unit_mean_of_the_last_states(encoder):
    encoder.eval()
    inputs, mask = pad_batch(encode_texts(encoder.tokenizer, TEXTS, 12), 0)
    with torch.no_grad():
        found = encoder(inputs, mask)
        for row, count in enumerate(mask.sum(dim=1).tolist()):
            states = encoder.backbone(inputs[row : row + 1, :count]).last_hidden_state[0]
            mean = states.mean(dim=0)
            torch.testing.assert_close(found[row], mean / mean.norm(), rtol=1e-4, atol=1e-5)


def test_embedding_keeps_the_order_of_the_texts(encoder, fp32):
    vectors = encoder.embed(TEXTS, "document", batch_size=2)
    assert vectors.shape == (4, 16) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    for text, vector in zip(TEXTS, vectors, strict=True):
        np.testing.assert_allclose(encoder.embed([text], "document")[0], vector, atol=1e-5)
    assert encoder.embed([], "document").shape == (0, 16)


def test_dropout_waits_while_embedding(encoder):
    encoder.train()
    np.testing.assert_array_equal(
        encoder.embed(TEXTS, "document"), encoder.embed(TEXTS, "document")
    )
    assert encoder.training and encoder.backbone.training


def test_texts_are_cut_with_their_ends_kept(encoder):
    tokenizer = encoder.tokenizer
    (ids,) = encode_texts(tokenizer, ["copy a file"], 4)
    assert tokenizer.convert_ids_to_tokens(ids) == ["[CLS]", "copy", "a", "[SEP]"]
    assert encode_texts(tokenizer, [], 4) == []


def test_padding():
    inputs, mask = pad_batch([[5, 6, 7], [8]], 9)
    assert inputs.tolist() == [[5, 6, 7], [8, 9, 9]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]
    assert inputs.dtype == mask.dtype == torch.int64


def save(encoder, folder):
    encoder.save(folder)
    encoder.tokenizer.save_pretrained(folder)


def test_an_encoder_is_rebuilt_without_its_weights(encoder, tmp_path, fp32):
    save(encoder, tmp_path)
    again = TextEncoder.restore(tmp_path, encoder.state_dict())
    assert again.length == 12
    assert not np.allclose(again.embed(TEXTS, "document"), encoder.embed(TEXTS, "document"))
    again.load_state_dict(encoder.state_dict())
    np.testing.assert_array_equal(again.embed(TEXTS, "document"), encoder.embed(TEXTS, "document"))


def test_an_unknown_name_is_refused(offline):
    with pytest.raises(InputError, match=r"cannot load 'absent-encoder': .*; give 'minilm'"):
        TextEncoder.pretrained("absent-encoder")


def cut(path):
    path.write_bytes(path.read_bytes()[:-9])


def widen(path):
    path.write_text(json.dumps(json.loads(path.read_text()) | {"hidden_size": 32}))


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        (name, damage)
        for name in ("model.safetensors", "config.json", "tokenizer.json")
        for damage in (cut, lambda path: path.unlink())
    ]
    + [("config.json", widen), ("config.json", lambda path: path.write_text("{}"))],
)
def test_a_damaged_folder_is_refused(name, damage, tiny_encoder, tmp_path, offline):
    folder = tmp_path / "encoder"
    shutil.copytree(tiny_encoder, folder)
    damage(folder / name)
    with pytest.raises(InputError, match=f"cannot load '{folder}': .+; give"):
        TextEncoder.pretrained(str(folder))


def test_other_weights_than_minilm_s_are_refused(tmp_path, monkeypatch, forgetful):
    package = tmp_path / MINILM_PACKAGE
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "model" / "model.safetensors").write_bytes(b"tampered")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, MINILM_PACKAGE, raising=False)  # another test may import it
    digest = hashlib.sha256(b"tampered").hexdigest()
    with pytest.raises(InputError, match=rf"{package}.*sha256 {digest} is not MiniLM's; reinstall"):
        pretrained_folder(MINILM)


def test_an_absent_minilm_is_answered_with_the_command_that_brings_it(monkeypatch, forgetful):
    monkeypatch.setitem(sys.modules, MINILM_PACKAGE, None)
    with pytest.raises(MissingPackage, match=r"pip install 'genir\[minilm\]'"):
        TextEncoder.pretrained()


@pytest.mark.skipif(find_spec(MINILM_PACKAGE) is None, reason="MiniLM's package is not installed")
def test_minilm_is_found_and_is_the_known_one(forgetful):
    with open(f"{pretrained_folder(MINILM)}/model.safetensors", "rb") as weights:
        assert hashlib.file_digest(weights, "sha256").hexdigest() == MINILM_SHA256


def test_any_other_name_is_kept():
    assert pretrained_folder("some/folder") == "some/folder"


def test_texts_are_tokenised_in_lists_of_bounded_size(monkeypatch):
    monkeypatch.setattr("genir.models.tokenization.MAX_TOKENIZED_CHARS", 10)
    texts = ["a" * 4, "", "b" * 7, "c" * 30, "d"]
    assert [*batches_by_length(texts)] == [texts[:3], texts[3:4], texts[4:]]
    assert [*batches_by_length([])] == []
