"""NCI's prefix-aware head: the formula by hand, and the steps of a search."""

import pytest
import torch
from test_seq2seq import SIZES, TABLE, Levels, batch_of, build, inputs

from genir.models.pawa_head import PawaHead
from genir.models.seq2seq import Seq2SeqModel


def hand_made():
    """Two levels of two symbols, H = 2; the corrections of the second level are set."""
    head = PawaHead([2, 2], torch.tensor([[1.0, 0], [0, 1], [1, 1], [2, 0]]))
    with torch.no_grad():
        head.corrections[4:] = torch.tensor([[0.0, 1], [2, 0], [1, 1], [0, 0]])
    return head


def test_the_weights_of_a_level_are_shared_ones_plus_the_prefix_s():
    head = hand_made()
    state, adapted = [3.0, 5.0], [10.0, 7.0]
    hidden = torch.tensor([[[*state, *adapted]]])
    # Symbol 0: E + W a = (1, 1) + (7, 20), times h: 3 * 8 + 5 * 21; symbol 1: (2, 0) + (17, 0).
    assert head.logits(hidden, 1).tolist() == [[[129.0, 57.0]]]
    assert head.logits(hidden, 1, torch.tensor([[[1, 0, 1]]])).tolist() == [[[57.0, 129.0, 57.0]]]
    assert head.logits(hidden, 0).tolist() == [[[3.0, 5.0]]]  # no correction at first


def test_the_adaptor_reads_the_prefix_only():
    torch.manual_seed(0)
    head = PawaHead([3], torch.randn(3, 8)).eval()
    read = torch.randn(1, 3, 8)
    whole = head.with_prefix(torch.zeros(1, 3, 8), read)
    assert whole.shape == (1, 3, 16)
    changed = read.clone()
    changed[:, 2] += 1
    other = head.with_prefix(torch.zeros(1, 3, 8), changed)
    torch.testing.assert_close(other[:, :2], whole[:, :2])
    assert not torch.allclose(other[:, 2], whole[:, 2])
    with torch.no_grad():
        head.memory += 1
    assert not torch.allclose(head.with_prefix(torch.zeros(1, 3, 8), read), whole)


@pytest.fixture
def model():
    made = build(head="pawa").eval()
    made.build_head(Levels(SIZES), TABLE, None)
    torch.nn.init.normal_(made.head.corrections)
    return made


def test_steps_of_a_search_are_those_of_training(model):
    asked, symbols = inputs(model, "create", "list"), torch.tensor([[[2, 1, 1]], [[0, 3, 0]]])
    forced = model.teacher_forced_states(asked, symbols)
    state, hidden = model.step(model.encode(*asked), None, None)
    parents = torch.zeros(2, 2, dtype=torch.long)
    for depth in range(3):
        own = model.level_logits(hidden, depth)[:, :1]
        torch.testing.assert_close(
            own, model.level_logits(forced[depth], depth), rtol=1e-4, atol=1e-4
        )
        if depth < 2:  # two beams: the second one reads another symbol
            read = torch.cat([symbols[:, :, depth], torch.zeros(2, 1, dtype=torch.long)], dim=1)
            state, hidden = model.step(state, parents, read)
            parents = torch.tensor([[0, 1], [0, 1]])
    first = model.states_for_prefixes(model.encode(*asked), torch.tensor([0, 1]), symbols[:, 0, :2])
    for depth in range(3):
        torch.testing.assert_close(first[depth], forced[depth][:, 0], rtol=1e-4, atol=1e-4)


def test_beams_keep_their_own_prefixes(model):
    asked = inputs(model, "create")
    state, _ = model.step(model.encode(*asked), None, None)
    both = torch.zeros(1, 2, dtype=torch.long)
    state, _ = model.step(state, both, torch.tensor([[0, 2]]))
    _, swapped = model.step(state, torch.tensor([[1, 0]]), torch.tensor([[3, 1]]))
    (alone,) = model.states_for_prefixes(
        model.encode(*asked), torch.tensor([0, 0]), torch.tensor([[2, 3], [0, 1]]), 2
    )
    torch.testing.assert_close(swapped[0], alone, rtol=1e-4, atol=1e-4)


def test_corrections_are_learned(model):
    torch.nn.init.zeros_(model.head.corrections)
    batch = batch_of(model, [(0, 3, 1), (2, 0, 0)], [0, 1])
    optimiser = torch.optim.Adam([model.head.corrections], 0.05)
    before = float(model.loss(batch, 0.0).detach())
    for _ in range(30):
        optimiser.zero_grad()
        model.loss(batch, 0.0).backward()
        optimiser.step()
    assert model.loss(batch, 0.0) < before / 4


def test_a_saved_head_is_read_back(model, tmp_path):
    model.save(tmp_path)
    again = Seq2SeqModel.load(tmp_path, Levels(SIZES), TABLE).eval()
    batch = batch_of(model, [(0, 3, 1), (2, 0, 0)], [0, 1])
    assert torch.equal(again.loss(batch, 0.0), model.loss(batch, 0.0))
    assert not again.supports_multi_token and again.prepared_weights() is None
