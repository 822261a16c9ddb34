import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from genir.models.engine import length_buckets
from genir.models.engine.length_buckets import LengthBucket

runs = st.lists(st.integers(1, 17), min_size=1, max_size=9)


@given(runs, st.integers(0, 3), st.booleans(), st.booleans())
def test_every_place_asks_once_of_its_own_row_and_gets_its_answer(runs, before, masked, few):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(length_buckets, "MIN_BUCKET_ENTRIES", 1024 if few else 0)
        assert_answered(runs, before, masked)


def assert_answered(runs, before, masked):
    lengths, read = torch.tensor(runs), torch.full((len(runs),), before)
    width = before + max(runs)
    slots = torch.arange(len(runs) * width).view(len(runs), width)
    mask = torch.arange(max(runs) * width).view(1, 1, max(runs), width).float() if masked else None
    places = torch.arange(sum(runs)).float()[:, None]
    answered = torch.full((sum(runs), 2), -1.0)
    for bundle in LengthBucket.split(slots, read, lengths, mask):
        rows, run = bundle.queries
        assert bundle.cached[0] == rows and bundle.cached[1] <= width
        known = bundle.slots.view(bundle.cached)
        assert (known % width == torch.arange(bundle.cached[1])).all()
        if bundle.mask is not None:
            assert torch.equal(bundle.mask, mask[..., :run, : bundle.cached[1]])
        owner = (known[:, 0] // width)[:, None].expand(-1, run).reshape(-1, 1).float()
        bundle.scatter(answered, torch.cat([bundle.gather(places), owner], dim=1))
    assert torch.equal(answered[:, :1], places)
    assert torch.equal(answered[:, 1], torch.arange(len(runs)).repeat_interleave(lengths).float())


def test_runs_of_like_length_go_together_unless_they_are_few(monkeypatch):
    slots, before = torch.zeros(6, 20, dtype=torch.long), torch.zeros(6, dtype=torch.long)
    runs = torch.tensor([1, 15, 2, 9, 16, 1])
    assert [bundle.queries for bundle in LengthBucket.split(slots, before, runs, None)] == [(6, 16)]
    monkeypatch.setattr(length_buckets, "MIN_BUCKET_ENTRIES", 6 * 16 - 1)
    found = LengthBucket.split(slots, before, runs, None)
    assert sorted(bundle.queries for bundle in found) == [(1, 2), (2, 1), (3, 16)]


def test_one_bundle_holds_rows_of_one_length_as_they_are():
    bundle = LengthBucket.whole(torch.arange(6).view(2, 3), 2, None)
    states, found = torch.randn(4, 5), torch.empty(4, 5)
    bundle.scatter(found, bundle.gather(states))
    assert torch.equal(found, states) and bundle.queries == (2, 2) and bundle.cached == (2, 3)
