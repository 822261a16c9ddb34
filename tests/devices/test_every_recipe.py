"""Recipes of every kind: train, save, load and search on another device than the CPU."""

from dataclasses import replace

import pytest
from stand_in import DEVICE
from tiny import QUERIES, small

from genir.config import PseudoQueriesSection, load_recipe
from genir.corpus.serialization import document_of
from genir.generation.generator import QueryGenerator
from genir.retriever import Retriever
from genir.training.incremental import RefreshRequest, refresh
from genir.training.pipeline import TrainingJob, train

RECIPES = [
    "default",
    "pag",
    "ripor",
    "ripor-encoder",
    "nci",
    "ltrgr",
    "ltrgr-title",
    "ddro",
    "query-generator",
]
"""A recipe for each model and each loss, and one that generates text."""


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_trains_and_answers_there(name, device, tiny_encoder, tiny_corpus, tmp_path):
    settings = [*small(name, tiny_encoder, tmp_path), "training.max_steps=1"]
    if name == "ltrgr-title":  # its parent is of the same kind as that of `ddro`
        settings.append("model.init_from=")
    train(TrainingJob(name, tiny_corpus, tmp_path / "model", settings=settings))
    if load_recipe(name).decoding.is_text:
        writer = QueryGenerator.open(str(tmp_path / "model"), device)
        options = PseudoQueriesSection(source="any", length=5, noise=0.1)
        assert len(writer.generate(QUERIES, options, seed=7)) == len(QUERIES)
        return
    retriever = Retriever.load(tmp_path / "model")
    assert retriever.model.device == retriever.decoder.stage.trie.symbols.device == DEVICE
    assert [len(found) for found in retriever.search(QUERIES, k=5)] == [5, 5, 5]


def test_a_training_goes_on_there(device, tiny_encoder, tiny_corpus, tmp_path):
    settings = (*small("default", tiny_encoder, tmp_path), "training.checkpoint_seconds=0")
    job = TrainingJob("default", tiny_corpus, tmp_path / "model", settings=settings)
    devices = []

    def second_step(step, loss):
        devices.append(loss.device)
        if step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(replace(job, on_step=[second_step]))
    train(replace(job, resume=True))
    assert set(devices) == {DEVICE}
    assert len(Retriever.load(tmp_path / "model").search(QUERIES, k=5)[0]) == 5


@pytest.mark.parametrize("adapters", [0, 2])
def test_a_refresh_learns_there(adapters, device, tiny_encoder, tiny_corpus, tmp_path):
    settings = small("default", tiny_encoder, tmp_path)
    train(TrainingJob("default", tiny_corpus, tmp_path / "model", settings=settings))
    new = document_of({"_id": "new", "title": "polish wire", "text": "shine a wire or two"}, "")
    Retriever.load(tmp_path / "model").add([new])
    queries, qrels = tmp_path / "q.jsonl", tmp_path / "q.tsv"
    queries.write_text('{"_id": "q", "text": "shine a wire"}\n')
    qrels.write_text("query-id\tcorpus-id\tscore\nq\tnew\t1\n")
    asked = RefreshRequest(tmp_path / "model", queries, qrels, adapters=adapters, tolerance=1.0)
    assert refresh(asked).documents == 1
    assert "new" in [hit.key for hit in Retriever.load(tmp_path / "model").search(["wire"], 41)[0]]
