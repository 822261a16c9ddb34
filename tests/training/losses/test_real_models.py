"""Losses on untrained models of both kinds: scores equal search scores, and steps reduce them."""

import numpy as np
import pytest
import torch
from tiny import QUERIES, SCHEMES, SCRATCH

from genir.config import LossSection, Recipe
from genir.corpus.readers import read_corpus
from genir.corpus.store import DocumentStore
from genir.decoding.beam import beam_search
from genir.decoding.row_mask import RowMask
from genir.decoding.search_options import SearchOptions
from genir.models.base import Batch
from genir.training.build import build_retriever
from genir.training.losses import log_probs
from genir.training.losses.base import LossContext
from genir.training.losses.log_probs import log_p
from genir.training.losses.registry import LOSSES, Losses
from genir.types import Hit

MODELS = {"encoder-head": "residual", "seq2seq, codes": "residual", "seq2seq, text": "url"}
GOLD = 7


@pytest.fixture(params=MODELS)
def made(request, tiny_encoder, tiny_corpus, tmp_path):
    """An untrained retriever without a lexical channel, and a batch of three sources."""
    scheme = MODELS[request.param]
    bridge = {"kind": "encoder-head", "encoder": str(tiny_encoder), "word_set_size": 0}
    recipe = Recipe.model_validate(
        {
            "name": "tiny",
            "identifiers": {"scheme": scheme} | SCHEMES[scheme],
            "tasks": [{"task": "queries"}],
            "model": bridge
            if request.param == "encoder-head"
            else SCRATCH | {"encoder": str(tiny_encoder)},
            "training": {"precision": "fp32"},
        }
    )
    documents = DocumentStore.create(tmp_path / "documents.sqlite", read_corpus(tiny_corpus))
    retriever = build_retriever(recipe, documents, {}, None)
    return retriever, batch_of(retriever)


def batch_of(retriever):
    table, rows = retriever.table, torch.tensor([GOLD, 0, 39])
    targets = torch.from_numpy(table.symbols[rows.numpy()].astype(np.int64))
    answers = torch.from_numpy(table.documents[rows.numpy()].astype(np.int64))[:, None]
    return Batch(
        *retriever.decoder.stage.encode(QUERIES),
        targets,
        rows,
        torch.ones(3),
        answers,
        tuple(QUERIES),
    )


@pytest.mark.parametrize("normalise", ["vocabulary", "trie"])
def test_scores_equal_an_exhaustive_search(made, normalise):
    retriever, batch = made
    model, table = retriever.model.eval(), retriever.table
    options = SearchOptions(beams=40, softmax=normalise)
    live = RowMask.build([table.live])
    found = beam_search(model, retriever.decoder.stage.trie, batch.inputs, live, options)
    steps = log_p(model, retriever.decoder.stage.trie, batch.inputs, found.low.clone(), normalise)
    assert sorted(found.low[0].tolist()) == list(range(40))
    torch.testing.assert_close(steps.sum(dim=2).detach(), found.score.clone(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("together", [0, 300])
def test_depths_are_scored_apart_as_they_are_together(made, monkeypatch, together):
    retriever, batch = made
    gold = (batch.rows[:, None] + torch.arange(2)) % 40
    asked = retriever.model.eval(), retriever.decoder.stage.trie, batch.inputs, gold, "trie"
    expected = log_p(*asked)
    monkeypatch.setattr(log_probs, "MAX_LOGITS_PER_BATCH", together)
    torch.testing.assert_close(log_p(*asked), expected)


def test_where_symbols_are_the_same_one_product_scores_all_depths(made, monkeypatch):
    retriever, batch = made
    products = []
    scored = log_probs.score_edges
    monkeypatch.setattr(log_probs, "score_edges", lambda *a: products.append(1) or scored(*a))
    found = log_p(
        retriever.model, retriever.decoder.stage.trie, batch.inputs, batch.rows[:, None], "trie"
    )
    assert len(products) == (1 if retriever.model.shares_vocabulary else found.shape[2])


def test_legal_cross_entropy_is_the_mean_over_symbols_of_the_legal_scores(made):
    retriever, batch = made
    losses = losses_of(retriever, "cross-entropy", softmax="trie")
    steps = log_p(
        retriever.model.eval(),
        retriever.decoder.stage.trie,
        batch.inputs,
        batch.rows[:, None],
        "trie",
    )
    symbols = (batch.targets >= 0).sum()
    torch.testing.assert_close(losses(retriever.model, batch), -steps.sum() / symbols)


OWN_TESTS = ("passage-margin", "r-drop")
"""Losses that need several identifiers of a document, or an encoder-decoder alone."""


def losses_of(retriever, name, frozen=None, **options):
    sections = (LossSection(loss=name, **options),)
    recipe = retriever.recipe.model_copy(update={"losses": sections})
    return Losses(LossContext(retriever.with_recipe(recipe), frozen, frozen))


@pytest.mark.parametrize("name", [name for name in LOSSES if name not in OWN_TESTS])
def test_a_few_steps_make_it_smaller_and_raise_the_answer(made, name, tmp_path):
    retriever, batch = made
    options = {"teacher": "bm25"} if "teacher" in LOSSES[name].Options.model_fields else {}
    options |= {"cross-entropy": {"softmax": "trie"}}.get(name, {})
    options |= {"margin": {"teacher": "generated"}}.get(name, {})
    retriever.save(tmp_path / "start")
    losses = losses_of(retriever, name, tmp_path / "start", **options)
    (_, loss), *_ = losses.parts
    loss.teacher = Sure(retriever, batch)  # if there is one
    model, first = retriever.model.train(), place(retriever, batch)
    before, after = learn(losses, model, batch)
    assert after < before and place(retriever, batch) < first


class Sure:
    """A teacher that ranks the right document first, before four others."""

    def __init__(self, retriever, batch):
        keys, self.hits = retriever.table.keys, {}
        for text, answer in zip(batch.sources, batch.answers[:, 0].tolist(), strict=True):
            ranked = [keys[(answer + step) % 40] for step in (0, 9, 3, 14, 6)]
            self.hits[text] = [Hit(key, 4.0 - n, n + 1) for n, key in enumerate(ranked)]

    def search(self, texts, count):
        return [self.hits[text][:count] for text in texts]


def learn(losses, model, batch, steps=25):
    """Return the loss before and after a few steps."""
    optimiser = torch.optim.AdamW(model.parameters(), 0.01)
    values = []
    for _ in range(steps + 1):
        optimiser.zero_grad()
        loss = losses(model, batch)
        values.append(float(loss.detach()))
        loss.backward()
        optimiser.step()
    return values[0], values[-1]


@torch.no_grad()
def place(retriever, batch):
    """Return the number of rows that are more likely than the answers, over all three."""
    every = torch.arange(40).expand(3, -1)
    log_probs = log_p(
        retriever.model, retriever.decoder.stage.trie, batch.inputs, every, "vocabulary"
    ).sum(dim=2)
    return int((log_probs > log_probs.gather(1, batch.rows[:, None])).sum())


def test_distillation_makes_the_teacher_s_first_document_the_model_s(made):
    retriever, batch = made
    losses = losses_of(retriever, "distillation", teacher="bm25")
    teacher = losses.parts[0][1].teacher = Sure(retriever, batch)
    learn(losses, retriever.model.train(), batch, 80)
    ranked = [[retriever.table.number(hit.key) for hit in hits]
              for hits in teacher.search(QUERIES, 5)]  # fmt: skip
    rows = torch.tensor([[int(retriever.table.rows_of(n)[0]) for n in own] for own in ranked])
    log_probs = log_p(
        retriever.model, retriever.decoder.stage.trie, batch.inputs, rows, "vocabulary"
    ).sum(dim=2)
    assert log_probs.argmax(dim=1).tolist() == [0, 0, 0]


def test_generating_leaves_random_numbers_and_the_mode_alone(made):
    retriever, batch = made
    losses = losses_of(retriever, "margin")
    model = retriever.model.train()
    state = torch.get_rng_state()
    rows = losses.parts[0][1].negatives(model, batch)
    assert model.training and torch.equal(torch.get_rng_state(), state)
    assert rows.shape == (3, 8) and (rows >= 0).all()
    assert not (rows == batch.rows[:, None]).any()
