"""Every verb on the tiny corpus in this process; train.py and serve.py in processes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from in_process import run

from genir.config import load_recipe, recipe_names
from genir.errors import InputError
from genir.models import precision
from genir.models.encoder_head.model import EncoderHeadModel

TOP = Path(__file__).parents[1]
FIELDS = ["key", "score", "rank", "identifier", "title", "url", "snippet", "anchor",
          "breadcrumb"]  # fmt: skip
MEASURES = {"Success@1", "Success@10", "RR@10", "nDCG@10", "R@100"}


@pytest.fixture
def genir(capsys):
    """Return a function that runs a verb that must succeed, and returns its output."""

    def succeed(*arguments):
        capsys.readouterr()
        code = run(*arguments)
        shown = capsys.readouterr()
        assert code == 0, shown.err
        return shown.out

    return succeed


@pytest.fixture(scope="module")
def model(tiny_encoder, tiny_corpus, tmp_path_factory):
    out = tmp_path_factory.mktemp("cli") / "model"
    settings = (f"model.encoder={tiny_encoder}", "training.batch_size=16", "training.max_steps=30",
                "training.head_learning_rate=0.05", "training.learning_rate=0.01",
                "training.num_dev_evals=1")  # fmt: skip
    flags = [flag for setting in settings for flag in ("--set", setting)]
    assert run("train", "default", "--corpus", tiny_corpus, "--out", out, *flags) == 0
    return out


def test_train_prints_the_next_commands(genir, model, tiny_corpus):
    recipe = model / "recipe.toml"  # a saved model's recipe is a valid recipe
    result = genir("train", recipe, "--corpus", tiny_corpus, "--out", model, "--resume")
    assert result.strip() == f'genir search {model} "your question"'


def test_search_prints_hits(genir, model):
    out = genir("search", model, "how do i copy a file?", "-k", "3")
    lines = [line.split() for line in out.splitlines()]
    assert [line[0] for line in lines[::2]] == ["1", "2", "3"]
    assert all("-" in line[1] and line[3].startswith("https://docs.") for line in lines[::2])


def test_search_as_json_has_the_agreed_shape(genir, model):
    output = json.loads(genir("search", model, "how do i copy a file?", "-k", "5", "--json"))
    assert list(output) == ["hits"] and len(output["hits"]) == 5
    assert all(sorted(hit) == sorted(FIELDS) for hit in output["hits"])
    assert [hit["rank"] for hit in output["hits"]] == [1, 2, 3, 4, 5]
    scores = [hit["score"] for hit in output["hits"]]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        (["verb=copy"], {f"copy-{thing}" for thing in ("file", "folder", "disk")}),
        (["section=0"], {"copy-file", "list-file"}),
        (["verb=copy", "verb=move", "section=1"], {"copy-folder", "move-folder"}),
        (["tags=disk"], {"copy-disk", "watch-disk"}),
        (["verb=nothing"], set()),
    ],
)
def test_every_hit_fulfils_the_conditions(genir, model, conditions, expected):
    flags = [flag for condition in conditions for flag in ("--where", condition)]
    output = json.loads(genir("search", model, "copy", "-k", "40", "--json", *flags))
    keys = {hit["key"] for hit in output["hits"]}
    assert expected <= keys and len(keys) == (len(expected) and matching(conditions))


def matching(conditions):
    """Return how many of the 8 x 5 documents pass."""
    fields = {"verb": 5, "section": 8, "tags": 8}
    names = [condition.split("=")[0] for condition in conditions]
    if set(names) == {"verb", "section"}:
        return names.count("verb")
    return sum(fields[name] for name in names)


def test_a_filter_that_nothing_passes_says_so(genir, model):
    assert "no document matches" in genir("search", model, "copy", "--where", "verb=nothing")


def test_evaluate_measures_all_systems_and_writes_everything(genir, model, tiny_corpus, tmp_path):
    out = genir("evaluate", model, "--queries", tiny_corpus / "queries.jsonl",
                "--qrels", tiny_corpus / "qrels" / "test.tsv", "--json", tmp_path / "e.json",
                "--run", tmp_path / "run.trec", "--report", tmp_path / "report")  # fmt: skip
    assert all(name in out for name in ("genir", "bm25", "dense", "rrf", "convex", "RR@10"))
    output = json.loads((tmp_path / "e.json").read_text())
    assert set(output["systems"]) == {"genir", "bm25", "dense", "rrf", "convex"}
    assert all(set(row) == MEASURES for row in output["systems"].values())
    assert set(output["p_values"]["RR@10"]) == {
        f"genir>{name}" for name in ("bm25", "dense", "rrf", "convex")
    }
    assert output["queries"] == output["seen"]["queries"] + output["unseen"]["queries"] == 20
    assert set(output["latency_ms"]) == {"p50", "p95"}
    rows = [line.split() for line in (tmp_path / "run.trec").read_text().splitlines()]
    assert {len(row) for row in rows} == {6} and {row[0][:5] for row in rows} == {"test-"}
    assert len({(row[0], row[2]) for row in rows}) == len(rows) == 20 * 40
    names = {path.name for path in (tmp_path / "report").iterdir()}
    assert names == {"report.md", "chart.png", "queries.tsv", "evaluation.json"}


def test_the_weight_of_convex_is_chosen_on_dev_queries(capsys, model, tiny_corpus, tmp_path):
    files = ["--queries", tiny_corpus / "queries.jsonl", "--qrels", tiny_corpus / "qrels/test.tsv"]
    options = ["--baselines", "convex", "--no-typos", "--latency-queries", "0"]
    dev = ["--dev-queries", files[1], "--dev-qrels", tiny_corpus / "qrels" / "train.tsv"]
    assert run("evaluate", model, *files, *options, *dev) == 0
    assert "of bm25, chosen on dev queries" in capsys.readouterr().err
    test = [line.split("\t")[0] for line in files[3].read_text().splitlines()[1:]]
    copies = tmp_path / "copies.jsonl"  # the test queries under other ids, and one of their own
    rows = [json.loads(line) for line in files[1].read_text().splitlines()]
    copied = [row | {"_id": f"dev {row['_id']}"} for row in rows if row["_id"] in test]
    copies.write_text("".join(json.dumps(row) + "\n" for row in (*copied, rows[0])))
    judged = files[3].read_text().replace("test-", "dev test-")
    (tmp_path / "dev.tsv").write_text(judged)
    same = ["--dev-queries", copies, "--dev-qrels", tmp_path / "dev.tsv"]
    assert run("evaluate", model, *files, *options, *same) == 2
    assert "all of its queries are among the evaluated ones" in capsys.readouterr().err
    own = dev[3].read_text().splitlines()[1]
    assert own.split("\t")[0] == rows[0]["_id"]
    (tmp_path / "dev.tsv").write_text(f"{judged}{own}\n")
    assert run("evaluate", model, *files, *options, *same) == 0
    assert "20 dev queries are evaluated, too, and left out" in capsys.readouterr().err
    assert run("evaluate", model, *files, *options, *dev[:2]) == 2
    assert "--dev-queries and --dev-qrels: give both, or neither" in capsys.readouterr().err


def test_evaluate_without_baselines(genir, model, tiny_corpus):
    out = genir("evaluate", model, "--queries", tiny_corpus / "queries.jsonl",
                "--qrels", tiny_corpus / "qrels" / "test.tsv", "--baselines", "")  # fmt: skip
    assert "genir" in out and "bm25" not in out


@pytest.mark.parametrize(
    "scheme", ["atomic", "residual", "product", "hierarchical", "url", "title"]
)
def test_identifiers_reports_before_any_training(
    genir, tiny_encoder, tiny_corpus, tmp_path, scheme
):
    codes = ["--set", "levels=2", "--set", "codes=8"] if scheme in ("residual", "product") else []
    out = genir("identifiers", tiny_corpus, "--scheme", scheme, "--encoder", tiny_encoder, *codes,
                "--plot", tmp_path / "i.png", "--json", tmp_path / "i.json")  # fmt: skip
    assert "40" in out
    assert (tmp_path / "i.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((tmp_path / "i.json").read_text())


def test_inspect_shows_the_content_of_a_model(genir, model):
    output = json.loads(genir("inspect", model, "--json"))
    assert output["documents"] == output["live documents"] == output["identifiers"] == 40
    assert (
        output["recipe"] == "default" and output["scheme"] == "atomic" and output["bytes"] > 10_000
    )
    assert set(output["dev"]) == {"RR@10", "Success@10"}
    assert "live documents" in genir("inspect", model)


def test_inspect_shows_the_precision_of_the_training(genir, model):
    output = json.loads(genir("inspect", model, "--json"))["precision"]
    assert output.keys() == {"device", "training", "embedding", "answering", "writing"}
    assert output["device"] == "cpu" and output["training"] in ("bf16", "fp32")


@pytest.mark.parametrize("asked", ["bf16", "fp32"])
def test_the_precision_option_overrides_measurement_and_recipe(
    genir, model, measured, asked, monkeypatch
):
    seen = set()

    def noting(self, *given, **named):
        seen.add("bf16" if torch.is_autocast_enabled("cpu") else "fp32")
        return encode(self, *given, **named)

    encode = EncoderHeadModel.encode
    monkeypatch.setattr(EncoderHeadModel, "encode", noting)
    measured({"answering": 2.0 if asked == "bf16" else 0.5, "embedding": 1.0})
    genir("search", model, "copy a file", "--precision", asked, "--json")
    assert seen == {asked}
    seen.clear()
    monkeypatch.setattr(precision, "_fixed", {})
    genir("search", model, "copy a file", "--precision", "auto", "--json")
    assert seen == {"fp32" if asked == "bf16" else "bf16"}


def test_a_precision_that_is_none_is_refused(capsys, model):
    assert run("search", model, "copy", "--precision", "fp16") == 2
    shown = capsys.readouterr().err
    assert all(part in shown for part in ("--precision", "'fp16'", "'bf16'", "'fp32'"))


def test_train_takes_a_precision(monkeypatch, tmp_path, tiny_corpus):
    jobs = []

    def refuse(job):
        jobs.append(job)
        raise InputError("no training here")

    monkeypatch.setattr("genir.training.pipeline.train", refuse)
    for given in (["--precision", "bf16"], []):
        run("train", "default", "--corpus", tiny_corpus, "--out", tmp_path / "out", *given)
    assert [job.settings for job in jobs] == [["training.precision=bf16"], []]


def test_recipes_lists_them_all_and_all_are_whole(genir):
    out = genir("recipes")
    assert all(name in out for name in recipe_names())
    for name in recipe_names():
        recipe = load_recipe(name)
        assert recipe.name == name and recipe.description, name


def test_corpus_python_docs_makes_a_corpus(genir, tmp_path):
    out = genir("corpus", "python-docs", tmp_path / "docs")
    assert "removed from the documentation" in out
    assert {"corpus.jsonl", "queries.jsonl", "qrels"} <= {
        p.name for p in (tmp_path / "docs").iterdir()
    }


def test_the_doors_answer_without_bringing_torch():
    done = subprocess.run(
        [sys.executable, "train.py", "--help"], cwd=TOP, capture_output=True, text=True
    )
    assert done.returncode == 0 and "--resume" in done.stdout and "recipe" in done.stdout
    light = (
        "import sys; from genir.cli import app, guarded\n"
        "guarded(lambda: app(['recipes'], standalone_mode=False))\n"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", light], cwd=TOP, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_document_may_be_called_anything(genir, tiny_encoder, tmp_path):
    odd = ["[/]", "[bold]", "list[int]", "a b", "\u00e9\u4e2d\U0001f600"]
    lines = [json.dumps({"_id": key, "text": f"text of number {n}"}) for n, key in enumerate(odd)]
    (tmp_path / "odd.jsonl").write_text("\n".join(lines))
    flags = ["--set", f"model.encoder={tiny_encoder}", "--set", "training.max_steps=1"]
    genir("train", "default", "--corpus", tmp_path / "odd.jsonl", "--out", tmp_path / "m", *flags)
    out = genir("search", tmp_path / "m", "number")
    assert all(key in out for key in odd)
