"""Each loss on three documents, computed by hand, and a few training steps."""

from dataclasses import replace
from math import exp, log

import pytest
import torch
from three import A, B, C, Fixed, batch, join

from genir.config import LossSection, StageConfig
from genir.decoding.trie import Trie
from genir.errors import InputError
from genir.identifiers.table import IdentifierTable
from genir.training.losses.candidates import is_negative
from genir.training.losses.log_probs import log_p
from genir.training.losses.registry import LOSSES, check_losses, loss_options

LEGAL = {"loss": "cross-entropy", "softmax": "trie"}
GENERATED = {"loss": "margin", "count": 2}
PREFIXES = {"loss": "prefix-margin", "lengths": [1], "decay": 0.5}


def value(losses, one, model=None):
    return float((model or Fixed()).forward(one, losses).detach())


# --- by hand -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("normalise", "expected"),
    [("vocabulary", (3 / 16, 9 / 16, 1 / 16)), ("trie", (3 / 16, 9 / 16, 4 / 16))],
)
def test_identifiers_have_the_log_p_of_the_formula(setting, normalise, expected):
    inputs = torch.zeros(1, 1, dtype=torch.long), torch.ones(1, 1)
    found = log_p(Fixed(), setting({}).trie, inputs, torch.tensor([[A, B, C]]), normalise)
    assert found.shape == (1, 3, 2)
    torch.testing.assert_close(found.sum(dim=2)[0].exp(), torch.tensor(expected))


def test_cross_entropy_over_legal_symbols(losses):
    assert value(losses(LEGAL), batch(C)) == pytest.approx(log(4) / 2)  # its second code is forced
    assert value(losses(LEGAL), batch(B)) == pytest.approx(-log(9 / 16) / 2)
    weighted = join(batch(C), batch(B, weight=3.0))
    assert value(losses(LEGAL), weighted) == pytest.approx((log(4) - 3 * log(9 / 16)) / 8)


def test_forced_symbols_are_not_scored(losses):
    model = Fixed()
    for one, depths in ((batch(C), 1), (batch(A), 2), (join(batch(C), batch(A)), 2)):
        losses(LEGAL)(model, one)
        assert model.asked == depths


def test_label_smoothing_is_over_the_legal_symbols(losses):
    smooth = losses(LEGAL, training={"label_smoothing": 0.2})
    first = 0.8 * log(4) - 0.2 * (log(3 / 4) + log(1 / 4)) / 2
    assert value(smooth, batch(C)) == pytest.approx(first / 2)


def test_the_margin_is_to_the_first_of_a_generated_list_and_to_all_of_it(losses):
    # log p of b is log 3 above that of a, of c log 3 below.
    worst = 1 + log(3)
    assert value(losses(GENERATED), batch(A)) == pytest.approx(worst + (worst + 0) / 2)
    wide = losses(GENERATED | {"margin": 2.0})
    assert value(wide, batch(A)) == pytest.approx(2 + log(3) + (2 + log(3) + 2 - log(3)) / 2)
    assert value(losses(GENERATED | {"count": 1}), batch(A)) == pytest.approx(2 * worst)


def test_scores_equal_the_search_scores(losses):
    legal = losses(GENERATED | {"margin": 2.0}, decoding={"softmax": "trie"})
    far, near = 2 + log(3), 2 + log(4 / 3)  # c has 4/16 where a has 3/16
    assert value(legal, batch(A)) == pytest.approx(far + (far + near) / 2)


def test_another_answer_is_not_a_negative(losses):
    assert value(losses(GENERATED), batch(A, B)) == 0  # c is below the margin
    beside = join(batch(A, B), batch(A, A, weight=3.0))
    assert value(losses(GENERATED), beside) == pytest.approx(3 / 4 * 1.5 * (1 + log(3)))


def test_without_any_negative_there_is_nothing_to_learn(losses):
    model, nothing = Fixed(), join(batch(A, B, C), batch(A, B, C))
    loss = losses(GENERATED)(model, nothing)
    loss.backward()
    assert loss == 0 and all(not level.grad.any() for level in model.levels)


def test_negatives_come_from_a_run_as_well(losses, run):
    given = losses({"loss": "margin", **run(c=2, a=1)})
    assert value(given, batch(C)) == pytest.approx(2 * (1 + log(3)))
    beside = join(batch(C), batch(C, source="not in the run", weight=9.0))
    assert value(given, beside) == pytest.approx(2 * (1 + log(3)))


def test_prefixes_get_a_share_of_the_teachers_margin(losses, run):
    given = losses(PREFIXES | run(a=3, b=1, c=0))
    # a_1 = (1 - .5 / 1) / (1 - .5 / 2) = 2/3. The teacher has a 2 above b and 3 above c, the model
    # (0, log 3) after one symbol, (-log 3, log 3) after both.
    first = ((0 - 4 / 3) ** 2 + (log(3) - 2) ** 2) / 2
    whole = ((-log(3) - 2) ** 2 + (log(3) - 3) ** 2) / 2
    assert value(given, batch(A)) == pytest.approx((first + whole) / 2)
    scaled = losses(PREFIXES | {"scale": 0.5, "count": 1} | run(a=3, b=1, c=0))
    assert value(scaled, batch(A)) == pytest.approx(((-2 / 3) ** 2 + (-log(3) - 1) ** 2) / 2)


def test_the_shares_of_ripor_are_as_published(losses, run, table):
    ((_, loss),) = losses({"loss": "prefix-margin"} | run(a=1)).parts
    assert loss._shares() == [(2, 1.0)]  # prefixes longer than the identifiers are dropped
    loss.context.retriever.table = type("Long", (), {"depth": 32})
    assert loss._shares() == [
        (4, pytest.approx(0.5 / 0.9375)), (8, pytest.approx(0.75 / 0.9375)),
        (16, pytest.approx(0.875 / 0.9375)), (32, 1.0),
    ]  # fmt: skip


def test_a_tie_breaking_level_is_no_code(losses, run):
    residual = {"scheme": "residual"}
    ((_, loss),) = losses({"loss": "prefix-margin"} | run(a=1), identifiers=residual).parts
    loss.context.retriever.table = type("Long", (), {"depth": 33})  # 32 codes and a tie
    assert loss._shares()[-2:] == [(16, pytest.approx(0.875 / 0.9375)), (32, 1.0)]


def test_without_a_softmax_identifiers_have_the_sum_of_their_logits(setting):
    inputs = torch.zeros(1, 1, dtype=torch.long), torch.ones(1, 1)
    found = log_p(Fixed(), setting({}).trie, inputs, torch.tensor([[A, B, C]]), "none")
    expected = torch.tensor([[log(3), 0.0], [log(3), log(3)], [0.0, 0.0]])
    torch.testing.assert_close(found[0], expected)
    first = log_p(Fixed(), setting({}).trie, inputs, torch.tensor([[A, B, C]]), "none", 1)
    torch.testing.assert_close(first[0], expected[:, :1])


UNNORMALISED = {"decoding": {"softmax": "none"}}


def test_stages_train_the_shortest_prefix_first(losses, run):
    given = losses(PREFIXES | {"staged": True} | run(a=3, b=1, c=0), **UNNORMALISED)
    # One code: a and b share theirs, below which the teacher's best is 3; c's best is 0. The target
    # of c is a_1 * 3 = 2, the model's margin log 3. The pair of a and b has margin and target 0.
    assert value(given, batch(A)) == pytest.approx((log(3) - 2) ** 2 / 2)
    given.set_progress(0.49)
    assert value(given, batch(A)) == pytest.approx((log(3) - 2) ** 2 / 2)
    # Two codes: the logits of a, b and c sum up to log 3, 2 log 3 and 0.
    given.set_progress(0.5)
    first = ((0 - 4 / 3) ** 2 + (log(3) - 2) ** 2) / 2
    whole = ((-log(3) - 2) ** 2 + (log(3) - 3) ** 2) / 2
    assert value(given, batch(A)) == pytest.approx((first + whole) / 2)
    given.set_progress(1.0)
    assert value(given, batch(A)) == pytest.approx((first + whole) / 2)


def test_mined_negatives_are_the_models_best_other_prefixes(losses, run):
    options = PREFIXES | {"staged": True, "mined": 1} | run(a=3, b=1)
    given = losses(options, **UNNORMALISED)
    # One code: the teacher's b (margin and target 0), and the mined prefix of c, below which the
    # teacher ranks nothing: its lowest score is 1, so the target is 2/3 * (3 - 1).
    assert value(given, batch(A)) == pytest.approx((log(3) - 4 / 3) ** 2 / 2)
    # Two codes: the model's best is b; the teacher gives it 1.
    given.set_progress(1.0)
    first, whole = (0 - 4 / 3) ** 2, (-log(3) - 2) ** 2
    assert value(given, batch(A)) == pytest.approx((first + whole) / 2)
    # Of the answer b, the best others are a (the teacher's and mined): the margin is log 3.
    first, whole = (0 + 4 / 3) ** 2, (log(3) + 2) ** 2
    assert value(given, batch(B)) == pytest.approx((first + whole) / 2)


def test_a_teacher_that_misses_the_answer_says_nothing(losses, run):
    given = losses(PREFIXES | run(b=1, c=0))
    assert value(given, batch(A)) == 0
    short = losses(PREFIXES | {"depth": 2} | run(b=2, c=1, a=0))
    assert value(short, batch(A)) == 0 and value(short, batch(B)) > 0


def preferring(losses, **options):
    made = losses({"loss": "preference", **options}, model={"init_from": "somewhere"})
    made.parts[0][1].reference = Fixed((0.0, 0.0), (0.0, 0.0))  # 4/16 for each
    return made


@pytest.fixture(autouse=True)
def _no_folder(monkeypatch):
    """A frozen model of three documents has no folder."""
    monkeypatch.setattr("genir.training.losses.ranking.load_reference_model", lambda setting: None)


def test_preferences_are_odds_against_the_frozen_model(losses, run):
    given = preferring(losses, **run(b=2, c=1, a=0))
    # The odds of the frozen model cancel out: a is log 3 below b and above c.
    expected = (softplus(0.4 * log(3)) + softplus(-0.4 * log(3))) / 2
    assert value(given, batch(A)) == pytest.approx(expected)
    given.parts[0][1].reference = Fixed()
    assert value(given, batch(A)) == pytest.approx(log(2))


def softplus(x):
    return log(1 + exp(x))


def test_distillation_is_the_divergence_from_the_teacher(losses, run):
    # Of a and b alone, the model gives b 3/4.
    given = {"loss": "distillation"} | run(a=log(3), b=0)
    expected = 3 / 4 * log(3) + 1 / 4 * log(1 / 3)
    assert value(losses(given), batch(A)) == pytest.approx(expected)
    assert value(losses(given), batch(C)) == pytest.approx(expected)  # independent of the target
    agreed = {"loss": "distillation", "temperature": 2.0} | run(b=2 * log(3), a=0)
    assert value(losses(agreed), batch(A)) == pytest.approx(0, abs=1e-6)


def test_one_candidate_is_nothing_to_compare(losses, run):
    assert value(losses({"loss": "distillation"} | run(a=1)), batch(A)) == 0


def test_choices_are_distilled_from_the_mass_below_each_edge(losses, run):
    # Of the target, the teacher's half is 3/4 a and 1/4 b.
    given = losses({"loss": "prefix-distillation", "temperature": 1.0} | run(a=log(3), b=0))
    second = -7 / 8 * log(1 / 4) - 1 / 8 * log(3 / 4)
    assert value(given, batch(A)) == pytest.approx((-log(3 / 4) + second) / 2)
    # c has the other half, and its second code is forced.
    assert value(given, batch(C)) == pytest.approx(-(log(3 / 4) + log(1 / 4)) / 2 / 2)
    weighted = join(batch(A), batch(C, weight=3.0))
    expected = -log(3 / 4) + second - 3 * (log(3 / 4) + log(1 / 4)) / 2
    assert value(given, weighted) == pytest.approx(expected / 8)


def test_without_a_teacher_s_word_the_answer_is_the_target(losses, run):
    given = losses({"loss": "prefix-distillation"} | run(a=1))
    beside = batch(B, source="not in the run")
    assert value(given, beside) == pytest.approx(value(losses(LEGAL), beside))


def test_all_of_the_target_may_be_the_teacher_s(losses, run):
    given = losses({"loss": "prefix-distillation", "share": 1.0} | run(b=1))
    assert value(given, batch(A)) == pytest.approx(-2 * log(3 / 4) / 2)  # b shares a's prefix
    # There is no legal choice below c's first code, the rest of the teacher's mass.
    assert value(given, batch(C)) == pytest.approx(-log(3 / 4) / 2)


def test_losses_are_added_by_weight(losses):
    both = losses(LEGAL | {"weight": 2.0}, GENERATED | {"weight": 0.5})
    expected = 2 * value(losses(LEGAL), batch(A)) + 0.5 * value(losses(GENERATED), batch(A))
    assert value(both, batch(A)) == pytest.approx(expected)


def test_a_row_shared_with_the_answer_is_not_a_negative(setting):
    """`a` and `b` share (0, 1), which starts at a row of a's."""
    shared = IdentifierTable.build([[(0, 1)], [(0, 0), (0, 1)], [(1, 0)]], ["a", "b", "c"])
    where = setting({})
    where.retriever.table, where.retriever.decoder.stage.trie = shared, Trie.build(shared)
    rows = [shared.rows_with(own).start for own in ((0, 0), (0, 1), (1, 0))]
    assert shared.key_of(rows[1]) == "a"
    one = batch(A)
    for answers, expected in (([1], [False, False, True]), ([2], [False, True, False]),
                              ([0, -1], [False, False, True])):  # fmt: skip
        result = replace(one, rows=torch.tensor([rows[0]]), answers=torch.tensor([answers]))
        assert is_negative(where, result, torch.tensor([rows])).tolist() == [expected]
    assert is_negative(where, one, torch.tensor([[-1]])).tolist() == [[False]]


# --- a few steps ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", [name for name in LOSSES if name not in ("r-drop", "passage-margin")]
)
def test_a_few_steps_put_the_answer_above_the_others(losses, run, name):
    options = {"softmax": "trie"} if name == "cross-entropy" else run(a=4, b=1, c=0)
    made = losses({"loss": name} | options)
    if name == "preference":
        made.parts[0][1].reference = Fixed()
    model, one = Fixed(), batch(A)
    optimiser, before = torch.optim.SGD(model.parameters(), 0.2), value(made, one, model)
    for _ in range(40):
        optimiser.zero_grad()
        made(model, one).backward()
        optimiser.step()
    assert value(made, one, model) < before
    trie, rows = made.parts[0][1].context.trie, torch.tensor([[A, B, C]])
    scores = log_p(model, trie, one.inputs, rows, "vocabulary").sum(dim=2)[0]
    assert scores.argmax() == A


# --- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "sections", "message"),
    [
        ({"loss": "cross"}, {}, "unknown loss 'cross'; did you mean 'cross-entropy'"),
        ({"loss": "margin", "margn": 1}, {}, "margin: unknown key 'margn'; did you mean 'margin'"),
        (LEGAL, {"identifiers": {"scheme": "atomic"}}, "every symbol of the scheme 'atomic'"),
        ({"loss": "margin"}, {"decoding": {"strategy": "text"}}, "with strategy 'text' generates"),
        ({"loss": "prefix-margin"}, {"identifiers": {"scheme": "views"}}, "share identifiers of"),
        ({"loss": "preference"}, {"model": {"kind": "seq2seq"}}, r"model as \[model\] init_from"),
        (
            {"loss": "margin"},
            {"training": {"label_smoothing": 0.1}},
            "only the losses 'cross-entropy'",
        ),
    ],
)
def test_a_loss_that_makes_no_sense_is_refused(own, sections, message):
    stage = {"tasks": [{"task": "queries"}], "identifiers": {"scheme": "residual"}}
    with pytest.raises(InputError, match=message):
        check_losses(StageConfig.model_validate(stage | {"losses": [own]} | sections))


def files_of(**options):
    return loss_options(LossSection(loss="distillation", **options)).files()


def test_the_files_of_a_run_are_known_and_must_be_there(run, tmp_path):
    assert files_of() == []
    given = run(a=1)
    assert files_of(**given) == [tmp_path / "x.run", tmp_path / "queries.jsonl"]
    with pytest.raises(InputError, match=r"'dens' is not a run file; .* bm25, dense, rrf"):
        files_of(teacher="dens")
    with pytest.raises(InputError, match="give the file with their texts as queries"):
        files_of(teacher=given["teacher"])
    with pytest.raises(InputError, match=r"'no.jsonl': no such file"):
        files_of(**given | {"queries": "no.jsonl"})


def test_a_run_of_other_queries_or_documents_is_refused(losses, run, tmp_path):
    given = run(a=1, z=0)
    with pytest.raises(InputError, match=r"x.run: document 'z' is not in the corpus"):
        losses({"loss": "distillation", **given})
    (tmp_path / "queries.jsonl").write_text('{"_id": "2", "text": "other"}\n')
    with pytest.raises(InputError, match=r"x.run: query '1' is not in .*queries.jsonl"):
        losses({"loss": "distillation", **given})
    (tmp_path / "x.run").write_text("")
    with pytest.raises(InputError, match=r"x.run: no queries; the file is empty"):
        losses({"loss": "distillation", **given})
