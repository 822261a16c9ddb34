"""Fixtures of trainings that take a second."""

import json
from dataclasses import replace

import pytest

from genir.corpus.readers import read_corpus, read_train_queries
from genir.corpus.store import DocumentStore
from genir.training.pipeline import TrainingJob, train

RECIPE = """
name = "tiny"
[identifiers]
scheme = "atomic"
[[tasks]]
task = "queries"
[[tasks]]
task = "title-lead"
[model]
encoder = {encoder}
word_set_size = 8
[training]
epochs = 4
batch_size = 16
learning_rate = 0.01
head_learning_rate = 0.05
num_dev_evals = 4
"""


@pytest.fixture(scope="session")
def tiny_recipe(tiny_encoder):
    """The text of a recipe of 28 steps on the tiny corpus, with dropout."""
    return RECIPE.format(encoder=json.dumps(str(tiny_encoder)))


@pytest.fixture(scope="session")
def whole(tiny_recipe, tiny_corpus, tmp_path_factory):
    """The model folder of an uninterrupted training. Copy it before changing it."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "tiny.toml").write_text(tiny_recipe)
    train(TrainingJob(str(folder / "tiny.toml"), tiny_corpus, folder / "model"))
    return folder / "model"


@pytest.fixture
def recipe_file(tiny_recipe, tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(tiny_recipe)
    return path


@pytest.fixture
def make_job(recipe_file, tiny_corpus, tmp_path):
    """Return a factory of jobs: settings in the form of `--set`, and fields of `TrainingJob`."""

    def make(*settings, **fields):
        return replace(
            TrainingJob(str(recipe_file), tiny_corpus, tmp_path / "model", None, None, settings),
            **fields,
        )

    return make


@pytest.fixture
def documents(tiny_corpus, tmp_path):
    return DocumentStore.create(tmp_path / "documents.sqlite", read_corpus(tiny_corpus))


@pytest.fixture
def queries(tiny_corpus, documents):
    """The train queries of each document."""
    qrels = tiny_corpus / "qrels" / "train.tsv"
    return read_train_queries(tiny_corpus / "queries.jsonl", qrels, set(documents.keys()))
