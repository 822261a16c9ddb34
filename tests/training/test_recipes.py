"""The papers' recipes: two steps of each on a tiny corpus, up to a model folder that answers.

A recipe that starts from others is trained after them, two steps each.
"""

import json

import pytest
from tiny import SCRATCH, small

from genir.errors import InputError
from genir.retriever import Retriever
from genir.training.job import Job, train

IDLE = {
    "corpusbrain": ["iss", "lps", "hip"],
    "ddro": [],
    "distilled": [],
    "dsi": [],
    "dynamic-retriever-vanilla": [],
    "lines-and-words": [],
    "genre": [],
    "ltrgr": [],
    "minder": [],
    "nci": [],
    "pag": [],
    "ripor": [],
    "seal": [],
    "tome-taught": [],
    "ultron-pq": [],
    "ultron-url": [],
    "url-taught": [],
}
"""The recipes, and which of their tasks find nothing in short pages without links."""


@pytest.mark.parametrize("name", IDLE)
def test_a_paper_s_recipe_trains_and_answers(name, tiny_encoder, tiny_corpus, tmp_path, capsys):
    settings = small(name, tiny_encoder, tmp_path)
    train(Job(name, tiny_corpus, tmp_path / "model", settings=settings))
    told = f"tasks without any example here: {', '.join(IDLE[name])}\n"
    assert (told in capsys.readouterr().err) == bool(IDLE[name])
    retriever = Retriever.load(tmp_path / "model")
    assert retriever.recipe.name == name
    hits = retriever.search(["how do i clone a text?", "erase"], k=5)
    keys = {document.key for document in retriever.documents}
    for found in hits:
        assert len({hit.key for hit in found}) == 5
        assert {hit.key for hit in found} <= keys
        assert [hit.score for hit in found] == sorted((hit.score for hit in found), reverse=True)


def test_a_model_without_words_refuses_text_targets(make_job):
    with pytest.raises(InputError, match=r"a 'bridge' model cannot write text.*kind = 'seq2seq'"):
        train(make_job("tasks.1.task=ict", "tasks.1.target=rest"))


def test_a_model_with_words_takes_text_and_identifiers_in_one_training(tiny_corpus, tmp_path):
    file = tmp_path / "both.toml"
    file.write_text(
        '[identifiers]\nscheme = "title"\n[[tasks]]\ntask = "queries"\n'
        '[[tasks]]\ntask = "ict"\ntarget = "rest"\n[training]\nmax_steps = 6\nprecision = "fp32"\n'
        "[model]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in SCRATCH.items())
    )
    retriever = train(Job(str(file), tiny_corpus, tmp_path / "model"))
    assert len(retriever.search(["copy"], k=3)[0]) == 3


def test_random_rows_are_for_atomic_identifiers(make_job):
    settings = ("identifiers.scheme=residual", "identifiers.levels=2", "identifiers.codes=8")
    with pytest.raises(InputError, match="rows = 'random' is for the scheme 'atomic'"):
        train(make_job(*settings, "model.rows=random"))
