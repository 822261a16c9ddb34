import json
import shutil
import socket
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from torch import nn
from transformers import AutoTokenizer

from genir.config import StrictModel
from genir.errors import InputError
from genir.models.checkpoint_io import read_model, read_tokenizer, write_model
from genir.models.encoder import TextEncoder
from genir.models.encoder_design import EncoderPart, mean_design


class Options(StrictModel):
    width: int = 3


class Model(nn.Linear):
    kind = "line"

    def __init__(self, options, tokenizer):
        super().__init__(options.width, 2)
        self.tokenizer = tokenizer


@pytest.fixture
def model(tiny_encoder):
    return Model(Options(width=5), AutoTokenizer.from_pretrained(tiny_encoder))


@pytest.fixture
def folder(model, tmp_path):
    write_model(tmp_path / "model", model, Options(width=5))
    return tmp_path / "model"


def read(folder, kind="line"):
    with read_model(folder, kind, Options) as (options, weights):
        model = Model(options, AutoTokenizer.from_pretrained(folder))
        model.load_state_dict(weights)
    return model


def test_a_model_is_read_back_equal(folder, model):
    again = read(folder)
    assert all(
        torch.equal(p, q) for p, q in zip(again.parameters(), model.parameters(), strict=True)
    )
    assert (
        again.tokenizer("copy [UNK] ☃")["input_ids"] == model.tokenizer("copy [UNK] ☃")["input_ids"]
    )


def rewrite(**changes):
    def write(path):
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return write


def cut(path):
    path.write_bytes(path.read_bytes()[:-9])


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("model.json", lambda path: path.unlink(), "No such file"),
        ("model.json", cut, "damaged"),
        ("model.json", lambda path: path.write_text("[]"), "cannot be read"),
        ("model.json", lambda path: path.write_text("{}"), "'kind'"),
        ("model.json", lambda path: path.write_bytes(b"\xff{}"), "damaged"),
        ("model.json", rewrite(kind="circle"), "kind 'circle' is not 'line'"),
        ("model.json", rewrite(options={"widht": 5}), r"'widht'; did you mean 'width'\?"),
        ("model.json", rewrite(options={"width": "wide"}), "width = 'wide'"),
        ("model.json", rewrite(options=None), "cannot be read"),
        ("model.json", rewrite(options={"width": 4}), "size mismatch"),
        ("model.safetensors", lambda path: path.unlink(), "No such file"),
        ("model.safetensors", cut, "cannot be read"),
        ("model.safetensors", lambda path: path.write_bytes(b""), "cannot be read"),
    ],
)
def test_a_damaged_folder_is_refused(name, damage, message, folder):
    damage(folder / name)
    with pytest.raises(InputError, match=rf"(?s){folder}.*{message}"):
        read(folder)


def test_errors_of_the_block_are_passed_on(folder):
    with (
        pytest.raises(InputError, match=r"^no such scheme$"),
        read_model(folder, "line", Options),
    ):
        raise InputError("no such scheme")


def test_a_bug_in_the_block_is_no_bad_input(folder):
    with pytest.raises(AssertionError), read_model(folder, "line", Options):
        raise AssertionError


READERS = {
    "tokenizer": read_tokenizer,
    "encoder": lambda folder: TextEncoder.restore(folder, {}),
}


@pytest.mark.parametrize("read_part", READERS.values(), ids=READERS)
def test_code_in_a_folder_is_neither_run_nor_asked_about(
    tiny_encoder, tmp_path, read_part, monkeypatch
):
    asked, folder = [], shutil.copytree(tiny_encoder, tmp_path / "model")
    monkeypatch.setattr("builtins.input", lambda *prompt: asked.append(prompt) or "y")
    classes = {"AutoModel": "own.M", "AutoConfig": "own.C", "AutoTokenizer": ["own.T", "own.T"]}
    for name in ("config.json", "tokenizer_config.json"):
        rewrite(auto_map=classes, model_type="own", tokenizer_class="Own")(folder / name)
    part = EncoderPart(type="Transformer", length=12)
    (folder / "encoder.json").write_text(mean_design(part).model_dump_json())
    (folder / "own.py").write_text(f"open({str(tmp_path / 'was-run')!r}, 'w').close()\n")
    with suppress(InputError, ValueError):
        read_part(folder)
    assert not asked and not (tmp_path / "was-run").exists()


def test_a_relative_path_without_a_folder_is_not_looked_up_on_the_hub(tmp_path, monkeypatch):
    asked = []

    def no_network(*place):
        asked.append(place)
        raise OSError("no network")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    monkeypatch.setattr(socket.socket, "connect", no_network)
    with pytest.raises(InputError, match=r"^model/passage_stage: no such folder; restore"):
        read_tokenizer(Path("model/passage_stage"))
    assert not asked
