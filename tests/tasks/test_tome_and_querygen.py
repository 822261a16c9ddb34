"""Worked by hand on the small corpus of this folder."""

from random import Random

import pytest

from genir.config import TaskSection
from genir.tasks.registry import build_task
from genir.tasks.tome_and_querygen import generator_input
from genir.types import Example


@pytest.fixture
def examples(corpus, table):
    def make(queries, task, **options):
        section = TaskSection.model_validate({"task": task, **options})
        return list(build_task(section).examples(corpus, table, queries, Random(0)))

    return make


@pytest.mark.parametrize(
    ("words", "count", "sources"),
    [
        (24, 1, ["tar 1. Archiving utility. Create an archive: `tar cf x.tar a b` List its files"]),
        (3, 1, ["tar 1. Archiving"]),
        (3, 3, ["tar 1. Archiving", "utility. Create an", "archive: `tar cf"]),
    ],
)
def test_passages_lead_to_the_identifier(examples, words, count, sources):
    made = examples({}, "written-passages", words=words, count=count)
    assert [e for e in made if e.target == (0, 1)] == [Example(s, (0, 1)) for s in sources]


def test_a_document_is_read_and_its_queries_are_written(examples, queries):
    made = examples(queries, "write-queries", words=4)
    tar, sed = "tar 1. Archiving utility. Create an", "sed. Edit text in a"
    assert made == [
        Example(tar, "pack files"),  # the blank query of `tar` is left out
        Example(sed, "swap words"),
        Example(sed, "edit a stream"),
        Example(sed, "pack files"),
    ]


def test_a_generator_reads_the_title_alone_where_there_is_no_text(corpus):
    assert generator_input(corpus[0], 2) == "tar 1. Archiving utility."
    assert generator_input(corpus[2], 2) == ""
