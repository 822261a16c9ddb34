"""Files that training leaves in a model folder: bounded, and of the shape that is relied on."""

import json
import shutil

import pytest
from crafted import sign
from typer.testing import CliRunner

from genir.cli import app
from genir.errors import InputError
from genir.retriever import Retriever
from genir.updates import model_folder


@pytest.fixture
def folder(tiny_folder, tmp_path):
    return shutil.copytree(tiny_folder("url"), tmp_path / "model")


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"3", b"null", b"\xff", b'{"inputs": 3}', b'{"dev": []}',
        b'{"precision": "fp32"}', b'{"refreshes": {}}', b'{"dev": null}',
        b'{"a": ' + b"[" * 150 + b"]" * 150 + b"}", b"[" * 100_000,
    ],
)  # fmt: skip
def test_metrics_of_another_shape_are_refused(folder, content):
    (folder / "metrics.json").write_bytes(content)
    sign(folder)
    with pytest.raises(InputError, match=rf"^{folder}/metrics\.json: damaged"):
        Retriever.load(folder, "cpu")


def test_metrics_of_few_words_are_shown(folder):
    (folder / "metrics.json").write_text('{"dev": {"RR@10": [[[1]]]}, "precision": {"a": {}}}')
    sign(folder)
    done = CliRunner().invoke(app, ["inspect", str(folder), "--json"], catch_exceptions=False)
    assert json.loads(done.output)["dev"] == {"RR@10": [[[1]]]}
    done = CliRunner().invoke(app, ["inspect", str(folder)], catch_exceptions=False)
    assert done.exit_code == 0


@pytest.mark.parametrize("name", ["training.png", "MODEL_CARD.md", "train-queries.digests"])
def test_an_attachment_too_large_is_refused(folder, name, monkeypatch):
    monkeypatch.setattr(model_folder, "MAX_ATTACHMENT_BYTES", 1000)
    (folder / name).write_bytes(b"x" * 1001)
    sign(folder)
    with pytest.raises(InputError, match=rf"{name}: larger than 1,000 bytes; restore"):
        Retriever.load(folder, "cpu")


def test_a_manifest_nested_too_deeply_is_refused(folder):
    path = folder / "manifest.json"
    values = json.loads(path.read_text())
    for _ in range(150):
        values["more"] = [values.get("more")]
    path.write_text(json.dumps(values))
    with pytest.raises(InputError, match=rf"^{path}: damaged"):
        Retriever.load(folder, "cpu")
