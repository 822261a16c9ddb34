import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from oracle import PriorDice, ask, exhaustive_oracle, identifiers, seeds

from genir.decoding.beam import beam_search
from genir.decoding.prefix_prior import PrefixMaxPrior, make_prefix_prior
from genir.decoding.row_mask import RowMask
from genir.decoding.search_options import SearchOptions
from genir.errors import InputError
from genir.identifiers.table import IdentifierTable
from genir.models.base import DocidModel


@given(st.integers(1, 40), seeds, st.sampled_from([1.0, 0.5, 0.0]), st.booleans())
def test_every_range_has_its_maximum(rows, seed, share, shared):
    rng = np.random.default_rng(seed)
    prior = rng.normal(size=(2, rows)).astype(np.float32)
    live = rng.random((1 if shared else 2, rows)) < share
    lift = PrefixMaxPrior.build(torch.from_numpy(prior), torch.from_numpy(live))
    masked = np.where(live, prior, -np.inf)
    low, high = np.triu_indices(rows + 1)
    spans = [torch.from_numpy(np.stack([side, side])).view(2, -1, 1) for side in (low, high)]
    expected = [
        [row[a:b].max(initial=-np.inf) for a, b in zip(low, high, strict=True)] for row in masked
    ]
    log_p = torch.full(spans[0].shape, -0.25)
    found = lift(log_p, *spans).squeeze(-1).numpy()
    np.testing.assert_allclose(found, np.array(expected) - 0.25, rtol=1e-6)
    total = PrefixMaxPrior.build(torch.from_numpy(prior), torch.from_numpy(live), is_total=True)
    np.testing.assert_array_equal(total(log_p, *spans).squeeze(-1).numpy(), expected)
    dead = torch.full_like(log_p, -torch.inf)
    assert (total(dead, *spans) == -torch.inf).all()
    queries = torch.tensor([1, 0])
    ends = torch.tensor([rows, rows])
    found = lift.lookup(queries, torch.zeros_like(ends), ends)
    np.testing.assert_array_equal(found.numpy(), masked.max(axis=1)[::-1])


def test_a_narrow_beam_goes_where_the_best_document_is():
    """Symbol 1 is likelier than 2, but the prior is higher below 2."""
    table = IdentifierTable.build([[(1, 1)], [(1, 2)], [(2, 1)], [(2, 2)]], list("abcd"))
    model, live = PriorDice(table, free=False), np.ones((1, 4), bool)
    model.draw = lambda query, prefix: np.array([0, 0, 0, 0]) if prefix else np.array([0, 2, 1, 0])
    model.prior = lambda state: torch.tensor([[0.0, 0.0, 0.0, 3.0]])

    def best(**decoding):
        (found,) = identifiers(
            table, ask(beam_search, model, table, [7], live, beams=1, **decoding)
        )
        return found

    ((plain, score),) = best().items()
    assert plain[0] == 1
    ((led, promised),) = best(lookahead_weight=1.0).items()
    assert led == (2, 2)
    # One unit of logit less at the first symbol, 3 of prior more.
    assert promised == pytest.approx(score - 1 + 3)
    assert best(lookahead_weight=0.1).keys() == {plain}


def test_the_least_weight_changes_ties_alone():
    table = IdentifierTable.build([[(1, 1)], [(1, 2)], [(2, 1)]], list("abc"))
    model, live = PriorDice(table, free=True), np.ones((1, 3), bool)
    (found,) = identifiers(
        table, ask(beam_search, model, table, [7], live, beams=9, lookahead_weight=1e-6)
    )
    assert found == pytest.approx(exhaustive_oracle(model, table, 7, live[0]), abs=1e-4)


def test_without_a_weight_no_prior_is_computed():
    assert make_prefix_prior(None, None, None, None, SearchOptions()) is None


def test_a_model_without_a_prior_says_which_key_is_wrong():
    class Blind(DocidModel):
        kind = "blind"

    Blind.__abstractmethods__ = frozenset()
    with pytest.raises(
        InputError, match=r"\[decoding\] lookahead_weight: a 'blind' model has no document prior"
    ):
        live = RowMask.build([np.ones(4, bool)])
        make_prefix_prior(Blind(), None, None, live, SearchOptions(lookahead_weight=0.5))


class Prior:
    """A model of a fixed prior: float32 [1, rows], log p."""

    def __init__(self, scores):
        self.scores = torch.tensor([scores])

    def prior(self, state):
        return self.scores.log_softmax(dim=-1)


def test_a_closed_prior_does_not_depend_on_rows_that_may_not_be_found():
    mask = np.array([True, False, True, False])
    live = RowMask.build([mask], restrict_scores=True)
    low = torch.arange(4)[None]

    def lifted(*scores):
        options = SearchOptions(lookahead_weight=0.5)
        lift = make_prefix_prior(Prior(scores), None, None, live, options)
        return lift(torch.zeros(1, 4), low, low + 1)[0, mask]

    one, other = lifted(1.0, 7.0, 2.0, -3.0), lifted(1.0, 0.0, 2.0, 9.0)
    assert torch.allclose(one, other)
    assert torch.allclose((one / 0.5).exp().sum(), torch.tensor(1.0))
