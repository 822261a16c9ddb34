"""Typing errors on any task."""

from random import Random

import pytest
from web import outcomes, page

from genir.config import TaskSection
from genir.errors import InputError
from genir.identifiers.table import IdentifierTable
from genir.tasks.mixture import Mixture
from genir.tasks.registry import build_mixture, build_task
from genir.types import Document

DOCUMENTS = [Document(f"d{i}", "text", title=f"find the file {i} a") for i in range(200)]
TABLE = IdentifierTable.build([[(i,)] for i in range(200)], [d.key for d in DOCUMENTS])


def made(seed=0, **section):
    task = build_task(TaskSection(**section))
    return list(task.examples(DOCUMENTS, TABLE, {}, Random(seed)))


@pytest.mark.parametrize(("typos", "least", "most"), [(0, 0, 0), (0.5, 75, 125), (1, 200, 200)])
def test_the_probability_is_that_of_an_error(typos, least, most):
    clean, noisy = made(task="title"), made(task="title", typo_prob=typos)
    wrong = sum(a.source != b.source for a, b in zip(clean, noisy, strict=True))
    assert least <= wrong <= most
    assert [e.target for e in noisy] == [e.target for e in clean]


def test_an_example_keeps_its_source_without_typos():
    clean, noisy = made(task="title"), made(task="title", typo_prob=0.5)
    assert [e.typed_source for e in noisy] == [e.source for e in clean]
    assert {e.clean_source for e in clean} == {""}


def test_the_errors_of_two_letters_by_hand():
    lost, inserted = {"a", "b"}, {"aab", "bab", "abb"}
    replaced, swapped = {"bb", "aa"}, {"ba"}
    expected = {(source, "p") for source in lost | inserted | replaced | swapped}
    assert outcomes([page("p", "text", "ab")], 400, task="title", typo_prob=1.0) == expected


def test_an_error_is_one_edit_with_the_letters_of_the_sources_and_leaves_the_text_clean():
    for example in made(task="title", typo_prob=1):
        assert abs(len(example.source) - len("find the file 100 a")) <= 3
        assert set(example.source) <= set("findthela 0123456789")
        assert example.source == " ".join(example.source.split())


def test_the_examples_equal_those_without_typos():
    # Spans are random: only the same ones differ by one edit at most.
    section = {"task": "spans", "shortest": 1, "longest": 1, "count": 1}
    texts = [Document(f"d{i}", "alpha beta gamma delta") for i in range(200)]
    for clean, noisy in zip(*(
        build_task(TaskSection(**section, typo_prob=p)).examples(texts, TABLE, {}, Random(1))
        for p in (0, 0.3)
    ), strict=True):  # fmt: skip
        assert (
            clean.source[0] in noisy.source[:2]
            or clean.source[1:] == noisy.source[1:]
            or (clean.source[1:] == noisy.source)
        )


def test_errors_are_the_same_for_the_same_seed_and_others_in_another_epoch():
    mixture = build_mixture([TaskSection(task="title", typo_prob=0.5)], 3)
    again = build_mixture([TaskSection(task="title", typo_prob=0.5)], 3)
    first = mixture.epoch(0, DOCUMENTS, TABLE, {})
    assert first == again.epoch(0, DOCUMENTS, TABLE, {})
    assert sorted(e.source for e in first) != sorted(
        e.source for e in mixture.epoch(1, DOCUMENTS, TABLE, {})
    )


def test_a_clean_task_keeps_its_plain_form():
    (task, _) = Mixture([(build_task(TaskSection(task="title")), 1.0)], 0).tasks[0]
    assert type(task).__name__ == "Title"


@pytest.mark.parametrize("typos", [-0.1, 1.5])
def test_a_probability_is_between_0_and_1(typos, tmp_path):
    from genir.config import load_recipe

    file = tmp_path / "r.toml"
    file.write_text(f'[[tasks]]\ntask = "title"\ntypo_prob = {typos}\n')
    with pytest.raises(InputError, match=r"tasks\.0\.typo_prob"):
        load_recipe(file)
