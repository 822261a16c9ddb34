"""Weights, determinism and independence of the mixture."""

import os
import subprocess
import sys
from collections import Counter

import pytest

from genir.config import TaskSection
from genir.errors import InputError
from genir.identifiers.table import IdentifierTable
from genir.tasks.registry import build_mixture
from genir.types import Document

DOCUMENTS = [Document(f"d{i}", " ".join(f"w{i}x{j}" for j in range(20)), f"t{i}") for i in range(8)]
TABLE = IdentifierTable.build([[(i,)] for i in range(8)], [d.key for d in DOCUMENTS])


def epoch(*sections, number=0, seed=0):
    mixture = build_mixture([TaskSection(**section) for section in sections], seed)
    return mixture.epoch(number, DOCUMENTS, TABLE, {})


@pytest.mark.parametrize(
    ("weight", "times"), [(1, {1: 8}), (2, {2: 8}), (0.5, {1: 4}), (1.5, {1: 4, 2: 4})]
)
def test_weight_is_the_number_of_passes(weight, times):
    counts = Counter(e.source for e in epoch({"task": "title", "weight": weight}))
    assert Counter(counts.values()) == times


def test_a_small_weight_gives_its_share_over_many_epochs():
    task = {"task": "title", "weight": 0.05}  # 0.4 examples an epoch
    sizes = [len(epoch(task, {"task": "lead"}, number=n)) - 8 for n in range(400)]
    assert set(sizes) == {0, 1}
    assert 120 < sum(sizes) < 200


def test_another_half_in_another_epoch():
    half = {"task": "title", "weight": 0.5}
    halves = {frozenset(e.source for e in epoch(half, number=n)) for n in range(5)}
    assert len(halves) > 1


def test_spans_differ_between_passes():
    sources = [e.source for e in epoch({"task": "spans", "weight": 2, "count": 1})]
    assert len(set(sources)) > 8


def test_seed_and_epoch_fix_the_examples_and_their_order():
    tasks = [{"task": "spans"}, {"task": "title"}]
    assert epoch(*tasks, number=1, seed=4) == epoch(*tasks, number=1, seed=4)
    assert epoch(*tasks, number=1, seed=4) != epoch(*tasks, number=2, seed=4)
    assert epoch(*tasks, number=1, seed=4) != epoch(*tasks, number=1, seed=5)


def test_tasks_are_mixed():
    is_title = [e.source.startswith("t") for e in epoch({"task": "title"}, {"task": "lead"})]
    assert is_title not in (sorted(is_title), sorted(is_title, reverse=True))


def test_adding_a_task_leaves_the_others_examples_alone():
    spans = {"task": "spans"}
    alone = Counter(e.source for e in epoch(spans))
    for tasks in ([{"task": "title"}, spans], [spans, {"task": "lead", "weight": 0.5}]):
        assert not alone - Counter(e.source for e in epoch(*tasks))


def test_a_task_named_twice_draws_twice():
    assert len({e.source for e in epoch({"task": "spans"}, {"task": "spans"})}) > 16


def test_tasks_without_any_example_are_known():
    mixture = build_mixture([TaskSection(task=t) for t in ("queries", "title", "wlp")], 0)
    mixture.epoch(0, DOCUMENTS, TABLE, {})
    assert mixture.idle == ["queries", "wlp"]
    mixture.epoch(0, DOCUMENTS, TABLE, {"d0": ["asked"]})
    assert mixture.idle == ["wlp"]


def test_no_example_at_all_is_refused():
    with pytest.raises(InputError, match="queries make no example"):
        epoch({"task": "queries"})


PRINT_EPOCH = """
from test_mixture import epoch
print([e.source for e in epoch({"task": "spans"}, {"task": "title", "weight": 1.5}, number=3)])
"""


def test_the_hash_seed_changes_nothing():
    output = subprocess.run(
        [sys.executable, "-c", PRINT_EPOCH],
        env={**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": os.path.dirname(__file__)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    here = [e.source for e in epoch({"task": "spans"}, {"task": "title", "weight": 1.5}, number=3)]
    assert output == f"{here}\n"
