"""R-Drop (NCI): the loss of two views by hand, its views, and what it needs."""

from dataclasses import replace
from math import exp, log

import numpy as np
import pytest
import torch
from test_real_models import batch_of
from tiny import SCRATCH, tiny_retriever

from genir.config import LossSection, StageConfig
from genir.errors import InputError
from genir.training.losses.base import LossContext
from genir.training.losses.consistency import RDrop, random_span
from genir.training.losses.registry import check_losses, loss_options


@pytest.fixture
def retriever(tiny_encoder, tiny_corpus, tmp_path):
    model = SCRATCH | {"encoder": str(tiny_encoder), "head": "pawa"}
    made = tiny_retriever(tiny_encoder, tiny_corpus, tmp_path / "x.sqlite", "hierarchical", model)
    torch.nn.init.normal_(made.model.head.corrections, std=0.1)
    return made


def r_drop(retriever, tmp_path, **options):
    options = loss_options(LossSection(loss="r-drop", **options))
    return RDrop(options, LossContext(retriever, tmp_path, tmp_path))


def test_a_view_is_compared_with_the_other_views_of_the_batch(retriever, tmp_path):
    loss = r_drop(retriever, tmp_path, temperature=2.0)
    # First views (1, 0) and (0, 2), second views (3, 1) and (1, 1).
    states = torch.tensor([[1.0, 0], [0, 2], [3, 1], [1, 1]])
    products = [[0, 3, 1], [0, 2, 2], [3, 2, 4], [1, 2, 4]]  # with all others, in order
    wanted = [3, 2, 3, 2]  # with the other view of the same source
    expected = [
        -log(exp(own / 2) / sum(exp(one / 2) for one in row))
        for own, row in zip(wanted, products, strict=True)
    ]
    assert float(loss._consistency(states)) == pytest.approx(sum(expected) / 4)


def test_equal_views_have_the_cross_entropy_of_one(retriever, tmp_path):
    batch = batch_of(retriever)
    ids, mask = retriever.decoder.stage.encode(["copy", "erase", "text"])
    batch = replace(batch, input_ids=ids, attention_mask=mask, sources=("copy", "erase", "text"))
    loss = r_drop(retriever, tmp_path, alpha=0.0, mask_batches=0.0)
    model = retriever.model.eval()
    torch.testing.assert_close(loss.compute(model, batch), model.loss(batch, 0.0))
    more = r_drop(retriever, tmp_path, alpha=0.5, mask_batches=0.0)
    states = model.teacher_forced_states(batch.inputs, batch.targets.unsqueeze(1))
    own = [
        more._consistency(one[real, 0, :16].repeat(2, 1))
        for one, real in zip(states, (batch.targets >= 0).T, strict=True)
        if real.any()
    ]
    expected = model.loss(batch, 0.0) + 0.5 * torch.stack(own).mean()
    torch.testing.assert_close(more.compute(model, batch), expected)


def test_the_second_view_is_a_span_of_the_source(retriever, tmp_path):
    torch.manual_seed(0)
    loss = r_drop(retriever, tmp_path, mask_batches=0.0)
    batch = replace(batch_of(retriever), sources=("erase", "copy", "clone a text"))
    both = loss._both_views(retriever.model, batch)
    words = retriever.model.tokenizer
    read = [words.decode(row, skip_special_tokens=True) for row in both.input_ids]
    assert read[3:5] == ["erase", "copy"] and read[5] and read[5] in "clone a text"
    assert both.targets.tolist() == batch.targets.tolist() * 2
    assert both.attention_mask.sum(dim=1)[:3].tolist() == batch.attention_mask.sum(dim=1).tolist()


def test_spans_have_all_starts_and_ends():
    torch.manual_seed(0)
    found = {random_span("a b c") for _ in range(200)}
    assert found == {"a", "b", "c", "a b", "b c", "a b c"}
    assert random_span("") == "" and random_span("a") == "a"


def test_some_tokens_of_some_batches_are_masked(retriever, tmp_path):
    torch.manual_seed(0)
    pad = retriever.model.tokenizer.pad_token_id
    batch = batch_of(retriever)
    shares = []
    for options in ({"mask_batches": 1.0, "mask_tokens": 0.3}, {"mask_batches": 0.5}):
        loss = r_drop(retriever, tmp_path, **options)
        batches = [loss._both_views(retriever.model, batch) for _ in range(60)]
        hidden = [((b.input_ids == pad) & (b.attention_mask == 1)).float() for b in batches]
        masked = [
            float(h.sum() / b.attention_mask.sum()) for h, b in zip(hidden, batches, strict=True)
        ]
        shares.append((np.mean(masked), np.mean(np.array(masked) > 0)))
    assert shares[0][0] == pytest.approx(0.3, abs=0.03) and shares[0][1] == 1
    assert shares[1][0] == pytest.approx(0.05, abs=0.03) and 0.25 < shares[1][1] < 0.65


def test_a_model_without_a_decoder_is_refused():
    stage = {"tasks": [{"task": "queries"}], "losses": [{"loss": "r-drop"}]}
    with pytest.raises(InputError, match="decoder states, which a 'encoder-head' model lacks"):
        check_losses(StageConfig.model_validate(stage))
