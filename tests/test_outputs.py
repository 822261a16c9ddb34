import json
import os

import pytest
from in_process import run

from genir.corpus.page_folder import files_read
from genir.errors import InputError
from genir.evaluation.runner import Outputs
from genir.outputs import check_distinct
from genir.training.identifier_preview import preview_identifiers


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "manifest.json").write_text("{}")
    return folder


@pytest.fixture
def queries(tmp_path):
    file = tmp_path / "q.tsv"
    file.write_text("1\ta query\n")
    return file


@pytest.mark.parametrize("name", ["corpus.jsonl", "queries.jsonl", "qrels/train.tsv"])
def test_identifiers_never_replace_a_file_of_the_corpus(tiny_corpus, name):
    before = (tiny_corpus / name).read_bytes()
    for outputs in [(tiny_corpus / name, None), (None, tiny_corpus / "qrels" / ".." / name)]:
        with pytest.raises(InputError, match=f"CORPUS's {name} and --(plot|json) are both"):
            preview_identifiers(tiny_corpus, "title", [], "none", outputs)
    assert (tiny_corpus / name).read_bytes() == before


def test_a_folder_of_pages_is_known_by_its_pages(tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("a.md", "in/b.html", "style.css"):
        (tmp_path / name).write_text("x")
    assert sorted(files_read(tmp_path)) == ["CORPUS", "CORPUS's a.md", "CORPUS's in/b.html"]
    assert files_read(tmp_path / "a.md") == {"CORPUS": tmp_path / "a.md"}
    assert files_read(tmp_path / "none") == {"CORPUS": tmp_path / "none"}


def test_an_evaluation_writes_nothing_into_a_model_folder(model, queries, tmp_path):
    inputs = {"--previous": model, "--queries": queries}
    for names in ({"run": model / "new"}, {"report": model / "a"}, {"json_file": model / "b"}):
        with pytest.raises(InputError, match=r"inside the model folder .*\(--previous\)"):
            Outputs(**names).check(inputs)
    (tmp_path / "link").symlink_to(model)
    with pytest.raises(InputError, match="inside the model folder"):
        Outputs(run=tmp_path / "link" / "model.json").check(inputs)
    Outputs(run=tmp_path / "run", report=tmp_path / "report").check(inputs)


def test_a_report_replaces_no_input_and_no_other_output(tmp_path):
    report = tmp_path / "queries.tsv"
    with pytest.raises(InputError, match=r"--queries and --report's queries\.tsv are both"):
        Outputs(report=tmp_path).check({"--queries": report})
    with pytest.raises(InputError, match=r"--json and --report's evaluation\.json are both"):
        Outputs(json_file=tmp_path / "evaluation.json", report=tmp_path).check({})


def test_a_report_replaces_an_earlier_report_only(tmp_path):
    output = Outputs(report=tmp_path / "report")
    output.check({})
    (tmp_path / "report").mkdir()
    output.check({})
    for name, content in [("queries.tsv", "q1\tmine"), ("evaluation.json", '{"mine": 1}')]:
        (tmp_path / "report" / name).write_text(content)
        with pytest.raises(InputError, match="neither empty nor an earlier report of genir; give"):
            output.check({})
    own = {"systems": {}, "p_values": {}, "queries": 1}
    (tmp_path / "report" / "evaluation.json").write_text(json.dumps(own))
    output.check({})


def test_a_hard_link_to_an_input_is_not_written(model, queries, tmp_path):
    weights = model / "model.safetensors"
    weights.write_text("weights")
    for name, target in [("to-queries", queries), ("to-weights", weights)]:
        os.link(target, tmp_path / name)
    inputs = {"MODEL": model, "--queries": queries}
    with pytest.raises(InputError, match=r"--queries and --json are both .*to-queries"):
        check_distinct({"--json": tmp_path / "to-queries"}, inputs)
    with pytest.raises(InputError, match=r"MODEL's model\.safetensors and --run are both"):
        check_distinct({"--run": tmp_path / "to-weights"}, inputs)


def test_two_outputs_that_are_one_file_are_refused(tmp_path):
    one, other, link = (tmp_path / name for name in ("one", "other", "link"))
    one.write_text("")
    os.link(one, other)
    link.symlink_to(tmp_path / "new")
    for paths in [(one, other), (tmp_path / "new", link)]:
        with pytest.raises(InputError, match="--run and --json are both"):
            check_distinct(dict(zip(("--run", "--json"), paths, strict=True)), {})
    check_distinct({"--run": one, "--json": tmp_path / "new"}, {})


def test_the_demo_replaces_no_report_of_others(tmp_path, capsys):
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "queries.tsv").write_text("q1\tmine")
    assert run("demo", "--quick", "--out", tmp_path) == 2
    assert "nor an earlier report of genir" in " ".join(capsys.readouterr().err.split())
    assert [path.name for path in tmp_path.iterdir()] == ["report"]
