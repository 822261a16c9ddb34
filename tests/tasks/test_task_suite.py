"""One suite over every task: the promises in `Task`'s docstring, and how the registry answers."""

from random import Random

import pytest

from genir.config import TaskSection
from genir.errors import InputError
from genir.tasks.registry import TASKS, build_task

WRITING = {"write-queries"}
"""Tasks whose targets are texts."""


@pytest.fixture(params=sorted(TASKS))
def task(request):
    return build_task(TaskSection(task=request.param))


@pytest.fixture(params=sorted(TASKS.keys() - WRITING))
def finding(request):
    """A task whose targets are identifiers."""
    return build_task(TaskSection(task=request.param))


def test_equal_generators_give_equal_examples(task, corpus, table, queries):
    first = list(task.examples(corpus, table, queries, Random(3)))
    assert first
    assert first == list(task.examples(corpus, table, queries, Random(3)))


def test_sources_are_clean_and_not_empty(task, corpus, table, queries):
    for example in task.examples(corpus, table, queries, Random(1)):
        assert example.source
        assert example.source == " ".join(example.source.split())


def test_targets_are_the_document_s_identifiers_in_corpus_order(finding, corpus, table, queries):
    examples = list(finding.examples(corpus, table, queries, Random(2)))
    documents = [int(table.documents[table.row_of(example.target)]) for example in examples]
    assert documents == sorted(documents)
    assert set(documents) == {0, 1}  # the bare document has nothing to say


def test_every_identifier_of_a_document_is_drawn(finding, corpus, table, queries):
    rng = Random(0)
    drawn = {e.target for _ in range(30) for e in finding.examples(corpus, table, queries, rng)}
    assert drawn == {(0, 1), (1, 0), (1, 1)}


def test_an_unknown_task_is_answered_with_the_nearest():
    with pytest.raises(InputError, match=r"unknown task 'title_lead'; did you mean 'title-lead'\?"):
        build_task(TaskSection(task="title_lead"))


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (
            {"task": "lead", "word": 3},
            r"\[\[tasks\]\] lead: unknown key 'word'; did you mean 'words'",
        ),
        ({"task": "lead", "words": 0}, r"words = 0: .*greater than or equal to 1"),
        ({"task": "spans", "shortest": 9}, "shortest = 9 is above longest = 8"),
        ({"task": "chunks", "words": 8, "overlap": 8}, "overlap = 8 must be below words = 8"),
        ({"task": "queries", "count": 1}, "unknown key 'count'"),
    ],
)
def test_a_bad_option_is_named_with_its_mend(section, message):
    with pytest.raises(InputError, match=message):
        build_task(TaskSection(**section))
