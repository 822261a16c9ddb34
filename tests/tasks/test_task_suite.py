"""One suite over every task: the promises in `Task`'s docstring, and how the registry answers."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from web import page

from genir.config import TaskSection
from genir.errors import InputError
from genir.identifiers.table import IdentifierTable
from genir.tasks.registry import TASKS, build_task
from genir.types import Document

TAPE = """A tape keeps what [[tar writes|tar]] for many years.

Each tape has [[one label|label]] and belongs to Archive Room 12, see [[tar|sed]] and [[Tar|tar]].
Old tapes tear. Wind   them [[slowly|label]] before you read them again.
The keys of Archive Room 12 hang at the door, and [[tar|tar]] is written there.
Nobody has counted them."""
CORPUS = [
    Document(
        "tar", "Archiving  utility for tapes.\n\nList its files here, or Extract", title=" tar\t1 "
    ),
    page("tape", TAPE, title="tape"),
    page("sed", "Edits a [[stream|tape]] of text. It is fast! The tape is not.", title="sed"),
    page("label", "The name on a tape, Extract", title=" tar 1"),
    Document("bare", "  \n "),
]
TABLE = IdentifierTable.build(
    [[(0, 1)], [(1, 0)], [(2, 0), (2, 1)], [(3, 0)], [(4, 0)]], [d.key for d in CORPUS]
)
QUERIES = {"tar": ["pack  files", " "], "sed": ["swap words", "edit a stream"]}
LONG = {"page": 20, "shortest": 3}
OPTIONS = {
    "b-prop": {"fewest": 3},
    "iss": LONG,
    "lps": LONG,
    "hip": LONG,
    "recurring-spans": {"words": 25},
}
OF_OTHERS = {"wlp", "rqp", "qdm", "rdp", "acm", "iss", "lps", "hip"}
"""Tasks whose targets are not the documents that their sources come from, or not these alone."""
WRITING = {"write-queries", "overlaps"}
"""Tasks whose targets are texts."""
FILE = [{"text": "an  old tape", "document": "tape"}, {"text": "edit", "document": "sed"}]


def build(name, folder):
    options = OPTIONS.get(name, {})
    if name == "pseudo-queries":
        path = Path(folder) / "queries.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in FILE))
        options = {"file": str(path)}
    return build_task(TaskSection(task=name, **options))


@pytest.fixture(params=sorted(TASKS))
def task(request, tmp_path):
    return build(request.param, tmp_path)


@pytest.fixture(params=sorted(TASKS.keys() - WRITING))
def finding(request, tmp_path):
    """A task whose targets are identifiers."""
    return build(request.param, tmp_path)


def examples(task, seed):
    return list(task.examples(CORPUS, TABLE, QUERIES, Random(seed)))


def test_equal_generators_give_equal_examples(task, tmp_path):
    first = examples(task, 3)
    assert first
    assert first == examples(task, 3)
    assert first == examples(build(task.name, tmp_path), 3)  # independent of earlier statistics


def test_sources_are_clean_and_not_empty(task):
    for seed in range(5):
        for example in examples(task, seed):
            assert example.source
            assert example.source == " ".join(example.source.split())
            assert example.weight == 1.0


def test_targets_stand_in_the_table_in_corpus_order(finding):
    documents = [int(TABLE.documents[TABLE.row_of(e.target)]) for e in examples(finding, 2)]
    assert 4 not in documents  # the bare document has nothing to say
    if finding.name not in OF_OTHERS:
        assert documents == sorted(documents)


def test_every_identifier_of_a_document_is_drawn(finding):
    drawn = {example.target for seed in range(200) for example in examples(finding, seed)}
    if {(2, 0), (2, 1)} & drawn:
        assert {(2, 0), (2, 1)} <= drawn


def test_some_tasks_lead_to_a_document_of_several_identifiers(tmp_path):
    several = [
        n
        for n in TASKS.keys() - WRITING
        if any(e.target[0] == 2 for e in examples(build(n, tmp_path), 0))
    ]
    assert len(several) >= 12


PRINT = """
import sys
from test_task_suite import TASKS, build, examples
print([(name, examples(build(name, sys.argv[1]), 7)) for name in TASKS])
"""


def test_the_hash_seed_changes_nothing(tmp_path):
    output = subprocess.run(
        [sys.executable, "-c", PRINT, str(tmp_path)],
        env={**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    here = [(name, examples(build(name, tmp_path), 7)) for name in TASKS]
    assert output == f"{here}\n"


def test_every_task_is_worked_out_by_hand_somewhere():
    others = [path for path in Path(__file__).parent.glob("test_*.py") if path != Path(__file__)]
    read = "".join(path.read_text(encoding="utf-8") for path in others)
    made = re.findall(r'(?:task=|"task": |examples\([\w{}]+, )"([\w-]+)"', read)
    assert set(made) >= TASKS.keys()


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
        ({"task": "ict", "target": "passage"}, "target = 'passage': .*'identifier' or 'rest'"),
        ({"task": "bfs", "sentences": 2}, "unknown key 'sentences'"),
        ({"task": "wlp", "count": 0}, "count = 0: .*greater than or equal to 1"),
        ({"task": "prop", "mean": 0}, "mean = 0: .*greater than 0"),
        ({"task": "b-prop", "mu": 3}, "unknown key 'mu'"),
        ({"task": "rqp", "mean": -1}, "mean = -1: .*greater than or equal to 0"),
        ({"task": "rdp", "mean": 2}, "unknown key 'mean'"),
        ({"task": "recurring-spans", "narrowest": 40}, "narrowest = 40 is above widest = 30"),
        ({"task": "passages", "count": -1}, "count = -1: .*greater than or equal to 0"),
        ({"task": "terms", "by": "bm25"}, "by = 'bm25': .*'tf-idf' or 'random'"),
        ({"task": "ngrams", "n": 3}, "unknown key 'n'"),
        ({"task": "iss", "unit": "word"}, "unit = 'word': .*'paragraph' or 'sentence'"),
        ({"task": "overlaps", "temperature": 0}, "temperature = 0: .*greater than 0"),
        ({"task": "overlaps", "source": "text"}, "source = 'text': .*'queries' or 'spans'"),
        ({"task": "hip", "pages": 3}, "unknown key 'pages'; did you mean 'page'"),
    ],
)
def test_a_bad_option_error_has_a_remedy(section, message):
    with pytest.raises(InputError, match=message):
        build_task(TaskSection(**section))
