"""The notebooks of examples/ run from top to bottom, with a tiny encoder."""

import json

import pytest
from doc_pages import TOP

NOTEBOOKS = sorted((TOP / "examples").glob("*.ipynb"))


def cells(path, kind):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == kind]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path, tiny_encoder, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "notebook"}
    encoder = json.dumps(str(tiny_encoder))
    for cell in cells(path, "code"):
        source = cell.replace('"minilm"', encoder)
        # A recipe's encoder is set where the notebook leaves it at the default.
        source = source.replace('["training.epochs=5"]', f"['model.encoder={encoder}']")
        exec(compile(source, path.name, "exec"), names)
    assert capsys.readouterr().out


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_saved_without_outputs(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in code)
    assert len(cells(path, "markdown")) >= 3


def test_there_are_two_notebooks():
    assert len(NOTEBOOKS) == 2
