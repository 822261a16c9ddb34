"""`explain`, `search --exact` and `evaluate --diagnose` on a saved model."""

import json

import pytest
from typer.testing import CliRunner

from genir.cli import app
from genir.errors import InputError


@pytest.fixture(scope="session")
def model(tiny_folder):
    return tiny_folder("residual")


def genir(*arguments):
    done = CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_explain_prints_level_by_level(model):
    output = json.loads(genir("explain", model, "clone a text", "copy-file", "--json"))
    assert output["key"] == "copy-file" and output["beams"] == 4
    assert output["verdict"] in ("found", "pruned")
    assert [set(level) for level in output["levels"]] == [
        {
            "symbol",
            "log_p",
            "share",
            "rank",
            "choices",
            "score",
            "place",
            "candidates",
            "threshold",
            "kept",
        }
    ] * 3
    shown = genir("explain", model, "clone a text", "copy-file", "--beams", "40")
    assert "threshold" in shown and "copy-file: found at rank" in shown
    filtered = genir("explain", model, "clone a text", "copy-file", "--where", "verb=move")
    assert filtered.strip() == "copy-file: filtered out, it does not fulfil the conditions"


def test_explain_refuses_an_unknown_key(model):
    with pytest.raises(InputError, match="no document with key 'nothing'"):
        genir("explain", model, "clone a text", "nothing")


def test_an_exact_search_says_that_it_is_proven(model):
    output = json.loads(genir("search", model, "clone", "-k", "3", "--exact", "--json"))
    assert (list(output), output["proven"]) == (["hits", "proven"], True)
    assert list(json.loads(genir("search", model, "clone", "--json"))) == ["hits"]
    assert genir("search", model, "clone", "--exact").splitlines()[-1] == "proven"


def test_evaluate_diagnoses_when_asked(model, tiny_corpus, tmp_path):
    files = ("--queries", tiny_corpus / "queries.jsonl", "--qrels", tiny_corpus / "qrels/test.tsv")
    quick = (
        "--baselines",
        "",
        "--no-typos",
        "--latency-queries",
        0,
        "--json",
        tmp_path / "output.json",
    )
    assert "Beam against exact" in genir("evaluate", model, *files, *quick, "--diagnose")
    output = json.loads((tmp_path / "output.json").read_text())["decoding"]
    assert output["gold"] == 20 and output["beam_against_exact"]["proven"] == 1
    assert output["beams"] == 10  # the recipe's 4 are fewer than the hits


def test_evaluate_diagnoses_the_requested_beams(model, tiny_corpus, tmp_path):
    files = ("--queries", tiny_corpus / "queries.jsonl", "--qrels", tiny_corpus / "qrels/test.tsv")
    quick = (
        "--baselines",
        "",
        "--no-typos",
        "--latency-queries",
        0,
        "--json",
        tmp_path / "output.json",
    )
    shown = genir("evaluate", model, *files, *quick, "--diagnose", "--beams", 40)
    output = json.loads((tmp_path / "output.json").read_text())["decoding"]
    assert "beam 40" in shown and output["beams"] == 40
    assert sum(output["pruned"]) == 0  # with as many beams as documents nothing is pruned
    against = output["beam_against_exact"]
    assert against["beam"] == against["exact"] and against["missed"] == 0
