"""Settings that are chosen on dev queries."""

import pytest

from genir.retriever import Retriever
from genir.training import chosen_settings, loop
from genir.training.chosen_settings import choose_settings
from genir.training.dev_split import DevSplit
from genir.training.pipeline import train


@pytest.fixture
def retriever(make_job):
    """Trained: without dev queries the last weights are kept."""
    return train(make_job("training.max_steps=1", "training.dev_queries=0"))


def test_the_weight_of_words_is_the_best_on_dev_queries(retriever, monkeypatch):
    monkeypatch.setattr(chosen_settings, "MIN_QUERIES", 1)
    tried = []

    def quality(_, questions):
        tried.append(float(retriever.model.word_weight))
        return {"RR@10": 1 - abs(tried[-1] - 0.7)}

    monkeypatch.setattr(chosen_settings, "evaluate_dev", quality)
    split = DevSplit({}, {"clone some text": frozenset({"copy-file"})}, is_synthetic=False)
    choose_settings(retriever, split)
    assert float(retriever.model.word_weight) == pytest.approx(0.7) and len(tried) == 8


def test_of_equally_good_weights_the_nearest_is_taken(retriever, monkeypatch):
    monkeypatch.setattr(chosen_settings, "MIN_QUERIES", 1)
    monkeypatch.setattr(
        chosen_settings,
        "evaluate_dev",
        lambda *_: {"RR@10": float(retriever.model.word_weight) < 2},
    )
    split = DevSplit({}, {"clone some text": frozenset({"copy-file"})}, is_synthetic=False)
    choose_settings(retriever, split)
    assert float(retriever.model.word_weight) == pytest.approx(1.0)


@pytest.mark.parametrize("case", ["few", "made up", "quoted", "given"])
def test_without_suitable_queries_it_stays(case, retriever, monkeypatch):
    monkeypatch.setattr(chosen_settings, "evaluate_dev", lambda *_: pytest.fail("evaluated"))
    monkeypatch.setattr(chosen_settings, "MIN_QUERIES", 2 if case == "few" else 1)
    if case == "given":
        retriever.model.options = retriever.model.options.model_copy(update={"word_weight": 0.5})
    text = retriever.documents.fetch(["copy-file"])["copy-file"].text
    question = f" {text[:20].upper()} " if case == "quoted" else "clone some text"
    split = DevSplit({}, {question: frozenset({"copy-file"})}, is_synthetic=case == "made up")
    before = float(retriever.model.word_weight)
    choose_settings(retriever, split)
    assert float(retriever.model.word_weight) == before


def test_a_trained_encoder_needs_words_less(make_job, tmp_path):
    def weight(*settings):
        train(make_job(*settings, overwrite=True))
        return float(Retriever.load(tmp_path / "model").model.word_weight)

    steps = "training.max_steps=1", "training.dev_queries=0"
    assert weight(*steps) == pytest.approx(1.0)
    assert weight(*steps, "model.word_weight=0.4") == pytest.approx(0.4)


@pytest.mark.parametrize(("best", "kept"), [(0, None), (1, 1.0)])
def test_each_step_is_measured_with_its_own_weight(best, kept, make_job, tmp_path, monkeypatch):
    """Also the untrained model, if it is the best, keeps its weight."""
    used = []

    def quality(retriever, *_):
        used.append(float(retriever.model.word_weight))
        return {"RR@10": float(len(used) == best + 1), "Success@10": 1.0}

    monkeypatch.setattr(loop, "evaluate_dev", quality)
    train(make_job("training.max_steps=2"))
    assert used[0] != pytest.approx(1.0) and used[1:] == pytest.approx([1.0] * len(used[1:]))
    weight = float(Retriever.load(tmp_path / "model").model.word_weight)
    assert weight == pytest.approx(used[0] if kept is None else kept)
