"""Built-in recipes: two training steps of each on a tiny corpus, then search.

A recipe that starts from another is trained after it, two steps each.
"""

import json

import pytest
from fastapi.testclient import TestClient
from tiny import SCRATCH, small
from typer.testing import CliRunner

from genir.cli import app
from genir.config import dump_recipe, load_recipe, recipe_names
from genir.errors import InputError
from genir.retriever import Retriever
from genir.serving.app import create_app
from genir.training.pipeline import TrainingJob, train
from genir.types import Document

FINDING = [name for name in recipe_names() if not load_recipe(name).decoding.is_text]
"""All recipes except query generators, which find no documents."""
IDLE = {"corpusbrain": ["iss", "lps", "hip"]}
"""Tasks of a recipe that make no example of short pages without links."""


@pytest.mark.parametrize("name", FINDING)
def test_a_recipe_trains_and_answers(name, tiny_encoder, tiny_corpus, tmp_path, capsys):
    settings = small(name, tiny_encoder, tmp_path)
    train(TrainingJob(name, tiny_corpus, tmp_path / "model", settings=settings))
    output = f"tasks without an example in this corpus: {', '.join(IDLE.get(name, ()))}\n"
    assert (output in capsys.readouterr().err) == (name in IDLE)
    retriever = Retriever.load(tmp_path / "model")
    assert retriever.recipe.name == name
    hits = retriever.search(["how do i clone a text?", "erase"], k=5)
    keys = {document.key for document in retriever.documents}
    for found in hits:
        assert len({hit.key for hit in found}) == 5
        assert {hit.key for hit in found} <= keys
        assert [hit.score for hit in found] == sorted((hit.score for hit in found), reverse=True)


def test_a_document_added_to_decimal_strings_gets_the_next_number(
    tiny_encoder, tiny_corpus, tmp_path
):
    settings = small("dsi-string", tiny_encoder, tmp_path)
    retriever = train(TrainingJob("dsi-string", tiny_corpus, tmp_path / "m", settings=settings))
    retriever.add([Document("first", "copy a drive"), Document("second", "erase a drive")])
    again = Retriever.load(tmp_path / "m")
    again.add([Document("third", "monitor a text")])
    for answering in (again, Retriever.load(tmp_path / "m")):
        named = {hit.key: hit.identifier for hit in answering.search(["erase"], k=43)[0]}
        assert {named[key] for key in ("first", "second", "third")} == {"40", "41", "42"}
        assert len(set(named.values())) == 43


@pytest.mark.parametrize("name", ["tome", "dynamic-retriever-vanilla", "corpusbrain"])
def test_the_founding_systems_are_measured_and_served(name, tiny_encoder, tiny_corpus, tmp_path):
    model, output = tmp_path / "model", tmp_path / "output.json"
    train(TrainingJob(name, tiny_corpus, model, settings=small(name, tiny_encoder, tmp_path)))
    asked = ["--queries", tiny_corpus / "queries.jsonl", "--qrels", tiny_corpus / "qrels/test.tsv"]
    quick = ["--baselines", "", "--no-typos", "--latency-queries", 1, "--json", output]
    words = ["evaluate", model, *asked, *quick]
    assert CliRunner().invoke(app, [str(word) for word in words]).exit_code == 0
    assert json.loads(output.read_text())["systems"]["genir"]["R@100"] == 1  # 40 documents
    found = CliRunner().invoke(app, ["search", str(model), "clone a text", "-k", "3", "--json"])
    retriever = Retriever.load(model)
    with TestClient(create_app(retriever)) as client:
        answer = client.post("/v1/search", json={"query": "clone a text", "k": 3}).json()
    keys = [hit.key for hit in retriever.search(["clone a text"], 3)[0]]
    assert [hit["key"] for hit in json.loads(found.stdout)["hits"]] == keys
    assert [hit["key"] for hit in answer["hits"]] == keys


def test_corpusbrain_is_fine_tuned_on_queries_after_its_pre_training(
    tiny_encoder, tiny_corpus, tmp_path, capsys
):
    before = load_recipe("corpusbrain", small("corpusbrain", tiny_encoder, tmp_path))
    (tmp_path / "before.toml").write_text(dump_recipe(before))
    start = f"model.init_from={tmp_path / 'before.toml'}"
    settings = [*small("genre", tiny_encoder, tmp_path), start]
    tuned = train(TrainingJob("genre", tiny_corpus, tmp_path / "model", settings=settings))
    assert "in this corpus: iss, lps, hip\n" in capsys.readouterr().err  # there are no links
    assert [task.task for task in tuned.recipe.tasks] == ["queries"]
    assert len(tuned.search(["clone a text"], 3)[0]) == 3


def test_a_model_without_words_refuses_text_targets(make_job):
    with pytest.raises(
        InputError, match=r"a 'encoder-head' model cannot generate text.*kind = 'seq2seq'"
    ):
        train(make_job("tasks.1.task=ict", "tasks.1.target=rest"))


def test_a_model_with_words_takes_text_and_identifiers_in_one_training(tiny_corpus, tmp_path):
    file = tmp_path / "both.toml"
    file.write_text(
        '[identifiers]\nscheme = "title"\n[[tasks]]\ntask = "queries"\n'
        '[[tasks]]\ntask = "ict"\ntarget = "rest"\n[training]\nmax_steps = 6\nprecision = "fp32"\n'
        "[model]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in SCRATCH.items())
    )
    retriever = train(TrainingJob(str(file), tiny_corpus, tmp_path / "model"))
    assert len(retriever.search(["copy"], k=3)[0]) == 3


def test_random_rows_are_for_atomic_identifiers(make_job):
    settings = (
        "model.word_set_size=0",
        "identifiers.scheme=residual",
        "identifiers.levels=2",
        "identifiers.codes=8",
    )
    with pytest.raises(InputError, match="row_init = 'random' is for the scheme 'atomic'"):
        train(make_job(*settings, "model.row_init=random"))
