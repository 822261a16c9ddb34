"""LTRGR's margin between documents, against the scores of the search it trains."""

from dataclasses import replace
from math import log

import numpy as np
import pytest
import torch
from test_real_models import batch_of
from tiny import QUERIES, tiny_retriever

from genir.config import LossSection, StageConfig
from genir.decoding.row_mask import RowMask
from genir.decoding.strategies.minder import FoundViews, find_views
from genir.errors import InputError
from genir.training.losses.base import LossContext
from genir.training.losses.passage_margin import PassageMargin, _log_odds
from genir.training.losses.registry import check_losses, loss_options

LOW_SCORE = ("low", "score")


@pytest.fixture
def softmax():
    return "trie"


@pytest.fixture
def retriever(softmax, tiny_encoder, tiny_corpus, tmp_path):
    made = tiny_retriever(
        tiny_encoder, tiny_corpus, tmp_path / "x.sqlite", "views",
        strategy="minder", softmax=softmax,
    )  # fmt: skip
    with torch.no_grad():  # scores that differ
        made.model.backbone.net.shared.weight *= 3
    return made


def margin(retriever, tmp_path, **options):
    options = loss_options(LossSection(loss="passage-margin", **options))
    return PassageMargin(options, LossContext(retriever, tmp_path, tmp_path))


def searched(retriever):
    """Scores of the documents that a search finds for each query, by number."""
    decoder = retriever.decoder
    live = RowMask.build([retriever.table.live])
    found = decoder.strategy.search(decoder.stage, QUERIES, live, 4, 4)
    return [{one.document: one.score for one in own} for own in found]


def asked(retriever, answers):
    return replace(batch_of(retriever), answers=torch.tensor(answers)[:, None])


@pytest.mark.parametrize("softmax", ["vocabulary", "trie"])
def test_identifiers_have_the_log_probabilities_of_the_search(retriever, tmp_path):
    stage, live = retriever.decoder.stage, RowMask.build([retriever.table.live])
    options = retriever.decoder.strategy.search_options(stage, live, 4)
    batch, model = batch_of(retriever), retriever.model.eval()
    found = find_views(model, stage.trie, stage.table, batch.inputs, live, options)
    rows, score = (torch.from_numpy(np.stack([getattr(o, n) for o in found])) for n in LOW_SCORE)
    own = margin(retriever, tmp_path)._log_p(model, batch, rows)
    real = score > -torch.inf
    assert real.sum() > 20
    torch.testing.assert_close(own[real].detach(), score[real], rtol=1e-4, atol=1e-4)


def test_a_document_has_the_sum_of_the_weights_of_its_identifiers(retriever, tmp_path):
    scores = searched(retriever)
    answers = [list(own)[-1] for own in scores]  # the document of the lowest score
    loss = margin(retriever, tmp_path, margin=2.0, random_margin=1.0, count=1)
    expected = []
    for own, answer in zip(scores, answers, strict=True):
        gap = max(score for one, score in own.items() if one != answer) - own[answer]
        expected.append((max(0, 2 + gap) + max(0, 3 + gap)) / 2)
    assert max(expected) > 2.5  # some documents differ
    value = loss.compute(retriever.model.eval(), asked(retriever, answers))
    assert float(value.detach()) == pytest.approx(np.mean(expected), rel=1e-4)


def test_sources_whose_answer_is_not_found_are_skipped(retriever, tmp_path):
    scores = searched(retriever)
    missing = next(n for n in range(40) if n not in scores[0])
    answers = [list(own)[-1] for own in scores]
    loss = margin(retriever, tmp_path, count=1)
    alone = asked(retriever, answers)
    alone = replace(alone, weights=torch.tensor([0.0, 1.0, 1.0]))
    expected = loss.compute(retriever.model.eval(), alone)
    value = loss.compute(retriever.model, asked(retriever, [missing, *answers[1:]]))
    torch.testing.assert_close(value, expected)


def test_steps_put_the_answer_first(retriever, tmp_path):
    answers = [list(own)[-1] for own in searched(retriever)]
    loss, batch = margin(retriever, tmp_path, count=1), asked(retriever, answers)
    optimiser = torch.optim.Adam(retriever.model.parameters(), 3e-3)
    before = float(loss.compute(retriever.model, batch).detach())
    for _ in range(8):
        optimiser.zero_grad()
        loss.compute(retriever.model, batch).backward()
        optimiser.step()
    assert float(loss.compute(retriever.model, batch).detach()) < before - 0.5


def test_the_weight_is_the_log_odds_above_those_in_the_corpus():
    assert float(_log_odds(torch.tensor(log(0.5)))) == pytest.approx(0, abs=1e-6)
    assert float(_log_odds(torch.tensor(log(0.1)))) == pytest.approx(-log(9))


def test_answers_and_others_are_chosen_by_the_sums(setting, tmp_path):
    context = setting({})
    loss = PassageMargin(loss_options(LossSection(loss="passage-margin")), context)
    # Rows 0, 1, 2 belong to documents 0, 1, 2; the identifier of rows [0, 2) to two documents.
    low, high = np.array([0, 1, 2, 0]), np.array([2, 2, 3, 1])
    score = np.array([-1.0, -1.0, -1.0, -np.inf], np.float32)
    found = FoundViews(low, high, score, np.ones(4), np.array([2.0, 1.0, 2.5, -np.inf]))
    # Sums: document 0 has 2, document 1 has 3, document 2 has 2.5.
    first, second = [True, False, False, False], [True, True, False, False]
    third = [False, False, True, False]
    pairs = loss._pairs(found, torch.tensor([2, -1])).tolist()
    assert pairs[:3] == [third, second, third] and pairs[3] in (first, second)
    assert loss._pairs(found, torch.tensor([5])) is None
    assert loss._pairs(found, torch.tensor([0, 1, 2])) is None


def test_a_search_without_sums_is_refused():
    stage = {"tasks": [{"task": "queries"}], "losses": [{"loss": "passage-margin"}]}
    with pytest.raises(InputError, match="strategy 'minder' does, not 'beam'"):
        check_losses(StageConfig.model_validate(stage))
