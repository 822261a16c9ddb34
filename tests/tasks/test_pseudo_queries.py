"""Pseudo-queries from a file, and errors in files."""

import json

import pytest
from web import pairs

from genir.errors import InputError
from genir.types import Document

CORPUS = [Document("a", "x"), Document("b", "y")]


@pytest.fixture
def file(tmp_path):
    return tmp_path / "generated.jsonl"


def test_queries_come_document_by_document(file):
    rows = [("b", "second"), ("a", " a  first "), ("b", "third")]
    file.write_text("".join(
        json.dumps({"_id": str(n), "text": text, "document": key, "score": 1}) + "\n"
        for n, (key, text) in enumerate(rows)
    ))  # fmt: skip
    assert pairs(CORPUS, task="pseudo-queries", file=str(file)) == [
        ("a first", "a"),
        ("second", "b"),
        ("third", "b"),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "q"}', r"generated.jsonl:2: no document; .*the fields given: text"),
        ('{"document": "a"}', r"generated.jsonl:2: no text; "),
        ('{"text": " ", "document": "a"}', r":2: text ' ' is not a text"),
        ('{"text": 3, "document": "a"}', r":2: text 3 is not a text"),
        ('{"text": "q", "document": ["a"]}', r":2: document \['a'\] is not a text"),
        ("query\ta", r":2: malformed JSON"),
        ('["q"]', r":2: not a JSON object"),
        ('{"text": "q", "document": "c"}', r":2: document 'c' is not in the corpus"),
    ],
)
def test_a_bad_line_is_named(file, line, message):
    file.write_text(f'{{"text": "fine", "document": "a"}}\n{line}\n')
    with pytest.raises(InputError, match=message):
        pairs(CORPUS, task="pseudo-queries", file=str(file))


def test_a_file_must_be_there_and_hold_something(file):
    with pytest.raises(InputError, match=r"generated.jsonl: no such file"):
        pairs(CORPUS, task="pseudo-queries", file=str(file))
    file.write_text("\n")
    with pytest.raises(InputError, match=r"generated.jsonl: no queries"):
        pairs(CORPUS, task="pseudo-queries", file=str(file))


def test_a_file_must_be_named():
    with pytest.raises(
        InputError, match=r"\[\[tasks\]\] pseudo-queries: the key 'file' is missing"
    ):
        pairs(CORPUS, task="pseudo-queries")
