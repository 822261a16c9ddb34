"""Every mistake in a collection is one InputError that names file, line, value and remedy."""

import gzip
import re

import pytest

from genir.corpus.readers import (
    read_corpus,
    read_qrels,
    read_queries,
    read_train_queries,
)
from genir.corpus.serialization import document_of
from genir.corpus.writer import write_corpus
from genir.errors import InputError
from genir.types import Document, Qrel, Query

GOOD = b'{"_id": "a", "text": "one"}\n'
QUERIES = b'{"_id": "q", "text": "which?"}\n'
HEADER = b"query-id\tcorpus-id\tscore\n"
LINK = b'{"_id": "a", "text": "four", "links": [%s]}\n'

CORPORA = {
    "malformed line": (
        GOOD + b'{"_id": "b", "text": }\n',
        r"c\.jsonl:2: malformed JSON .*one JSON",
    ),
    "cut line": (GOOD + b'{"_id": "b", "te', r"c\.jsonl:2: malformed JSON"),
    "no object": (b'["a", "one"]\n', r"c\.jsonl:1: not a JSON object: .*write \{"),
    "digits": (
        b'{"_id": "a", "n": ' + b"9" * 4301 + b"}\n",
        r":1: an integer of more than 4,300 digits at column 19: .*; write it as a text",
    ),
    "not a number of JSON": (b'{"_id": "a", "text": "x", "n": NaN}\n', r":1: NaN is not JSON"),
    "too deep": (
        b'{"_id": "a", "n": ' + b"[" * 99999 + b"\n",
        r":1: nested deeper .* at column 118: .*flatter",
    ),
    "no _id": (b'{"id": "a", "text": "one"}\n', r":1: no _id; add one .*id, text"),
    "_id a number": (b'{"_id": 7, "text": "one"}\n', r":1: _id 7 is not a string; .*quotes"),
    "_id empty": (b'{"_id": " ", "text": "one"}\n', r":1: _id ' ' is empty; give"),
    "_id too long": (b'{"_id": "%s", "text": "x"}\n' % (b"k" * 1025), r":1: _id .* has 1,025 char"),
    "_id twice": (b'{"_id": "a", "_id": "b", "text": "one"}\n', r":1: .*'_id' is given twice"),
    "_id with NUL": (b'{"_id": "a\\u0000", "text": "one"}\n', r":1: _id 'a\\x00' holds a NUL"),
    "_id with tab": (b'{"_id": "a\\tb", "text": "one"}\n', r":1: _id 'a\\tb' holds .*replace"),
    "duplicate _id": (GOOD + b"\n" + GOOD, r"c\.jsonl:3: duplicate _id 'a'.*line 1; give"),
    "empty text": (b'{"_id": "a", "title": "t", "text": " "}\n', r":1: document 'a' has an empty"),
    "invisible text": (
        b'{"_id": "a", "text": "\\u200b\\u00ad"}\n',
        r":1: document 'a' has an empty",
    ),
    "no text": (b'{"_id": "a"}\n', r":1: document 'a' has an empty text; .*remove the line"),
    "null text": (b'{"_id": "a", "text": null}\n', r":1: document 'a' has an empty text"),
    "text a list": (
        b'{"_id": "a", "text": ["one"]}\n',
        r"text \['one'\] is not a string; join its",
    ),
    "text an object": (b'{"_id": "a", "text": {"b": 1}}\n', "is not a string; give it a string"),
    "title a number": (b'{"_id": "a", "text": "x", "title": 3}\n', r":1: title 3 is not a string"),
    "no documents": (b"", r"c\.jsonl: no documents"),
    "only blank lines": (b"\n \n", r"c\.jsonl: no documents"),
    "not UTF-8": (GOOD + b'{"_id": "\xff"}\n', r":2: not UTF-8 \(byte 0xff at 9\); .*convert it"),
    "half a character": (b'{"_id": "a", "text": "\\ud83d"}\n', r":1: an unpaired surrogate"),
    "links no list": (b'{"_id": "a", "text": "x", "links": {}}\n', r":1: document 'a': links \{\}"),
    "link without target": (LINK % b'{"start": 0, "end": 2}', r":1: .* lacks a field; write"),
    "link beyond text": (LINK % b'{"start": 0, "end": 5, "target": "b"}', r":1: .*no span of"),
    "link backwards": (LINK % b'{"start": 2, "end": 2, "target": "b"}', r":1: .*no span of"),
    "link of truths": (LINK % b'{"start": false, "end": true, "target": "b"}', r"no span of"),
    "link to nothing": (LINK % b'{"start": 0, "end": 2, "target": ""}', r"target is not a key"),
}


@pytest.mark.parametrize("name", CORPORA)
def test_bad_corpus(tmp_path, name):
    content, message = CORPORA[name]
    (tmp_path / "c.jsonl").write_bytes(content)
    with pytest.raises(InputError, match=message):
        list(read_corpus(tmp_path / "c.jsonl"))


PLACES = {
    "missing": ("none.jsonl", None, r"none\.jsonl: no such file or folder; check"),
    "no known format": ("c.csv", b"a,b\n", r"c\.csv: not a format genir reads; give"),
    "no gzip": ("c.jsonl.gz", b"\x1f\x8bno", r"c\.jsonl\.gz: damaged gzip .*again"),
    "cut gzip": ("c.jsonl.gz", gzip.compress(GOOD)[:-9], r"c\.jsonl\.gz: damaged"),
    "key too long": (
        "c.tsv",
        b"%s\tone\n" % (b"k" * 1025),
        r"c\.tsv:1: _id .* has 1,025 char",
    ),
    "three columns": ("c.tsv", b"1\ta\tb\n", r"c\.tsv:1: 3 columns, expected 2 .*tabs"),
    "columns change": ("c.tsv", b"1\ta\n2\tb\tc\td\n", r"c\.tsv:2: 4 columns, expected 2"),
    "empty passage": ("c.tsv", b"1\ta\n2\t\n", r"c\.tsv:2: document '2' has an empty text"),
}


@pytest.mark.parametrize("name", PLACES)
def test_bad_file(tmp_path, name):
    file, content, message = PLACES[name]
    if content is not None:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(InputError, match=message):
        list(read_corpus(tmp_path / file))


PAGES = {
    "nothing": ({}, r"no documents; put corpus\.jsonl"),
    "no page": ({"a.png": b"x"}, r"no documents; put corpus\.jsonl"),
    "empty page": ({"a.md": b"# \n"}, r"a\.md: an empty text; write something or remove"),
    "page not UTF-8": (
        {"a.txt": b"x\ny\xff"},
        r"a\.txt:2: not UTF-8 \(byte 0xff at 1\); .*convert it",
    ),
    "invisible page": ({"a.txt": b"\xe2\x80\x8b\n"}, r"a\.txt: an empty text; write"),
    "page no HTML": ({"a.html": b"<![nonsense[ x"}, r"a\.html: (not HTML|an empty text)"),
}


@pytest.mark.parametrize("name", PAGES)
def test_bad_folder(tmp_path, name):
    files, message = PAGES[name]
    for file, content in files.items():
        (tmp_path / file).write_bytes(content)
    with pytest.raises(InputError, match=message):
        list(read_corpus(tmp_path))


QRELS = {
    "no header": (
        b"q\ta\t1\n",
        r"r\.tsv:1: .*neither the BEIR header query-id<tab>.*add the header",
    ),
    "empty": (b"", r"r\.tsv: no judgements"),
    "only a header": (HEADER, r"r\.tsv: no judgements; write one per line"),
    "two columns": (HEADER + b"q\ta\n", r"r\.tsv:2: .*has other columns"),
    "grade a word": (HEADER + b"q\ta\tyes\n", r"r\.tsv:2: grade 'yes' is not a whole number"),
    "grade a fraction": (HEADER + b"q\ta\t0.5\n", r"r\.tsv:2: grade '0\.5'"),
    "two grades": (HEADER + b"q\ta\t1\nq\ta\t2\n", r":3: .*grade 2 here and 1 on line 2; keep"),
    "unknown query": (HEADER + b"x\ta\t1\n", r"r\.tsv:2: query 'x' is unknown; .*the queries"),
    "unknown document": (HEADER + b"q\tz\t1\n", r"r\.tsv:2: document 'z' is unknown; .*corpus"),
    "unknown in TREC": (b"q 0 a 1\nq 0 z 1\n", r"r\.tsv:2: document 'z' is unknown"),
}


@pytest.mark.parametrize("name", QRELS)
def test_bad_qrels(tmp_path, name):
    content, message = QRELS[name]
    (tmp_path / "r.tsv").write_bytes(content)
    (tmp_path / "q.jsonl").write_bytes(QUERIES)
    with pytest.raises(InputError, match=message):
        read_qrels(tmp_path / "r.tsv", {"q"}, {"a"})
    with pytest.raises(InputError, match=message):
        read_train_queries(tmp_path / "q.jsonl", tmp_path / "r.tsv", {"a"})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"q\.jsonl: no queries"),
        (b'{"_id": "q", "text": "\\u200b"}\n', r":1: query 'q' has an empty text"),
        (b'{"_id": "q", "text": ""}\n', r":1: query 'q' has an empty text"),
        (QUERIES + QUERIES, r"q\.jsonl:2: duplicate _id 'q'.*line 1"),
        (b'{"text": "which?"}\n', r":1: no _id"),
    ],
)
def test_bad_queries(tmp_path, content, message):
    (tmp_path / "q.jsonl").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_queries(tmp_path / "q.jsonl")


def test_a_folder_without_queries_says_so(tmp_path):
    with pytest.raises(InputError, match=r"no queries\.jsonl in the folder"):
        read_queries(tmp_path)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"text": "one"}], r"list row 1: no _id; add one \(the fields given: text\)"),
        ([{"_id": "a", "text": "x"}] * 2, r"list row:2: duplicate _id 'a'"),
        ({"train": []}, r"dict row 1: 'train' is not a mapping; give one split"),
        ([], r"list row: no documents"),
    ],
)
def test_bad_rows(rows, message):
    with pytest.raises(InputError, match=message):
        list(read_corpus(rows))


def test_a_base_url_is_for_pages():
    with pytest.raises(InputError, match="rows: a base URL is for a folder of pages; give docum"):
        list(read_corpus([{"_id": "a", "text": "one"}], base_url="http://x"))


A = Document("a", "one")


def judged(*qrels):
    return {"documents": [A], "queries": [Query("q", "x")], "qrels": {"test": qrels}}


BAD_WRITES = {
    "no documents": ({"documents": []}, "no documents to write"),
    "duplicate key": ({"documents": [A, A]}, "corpus: duplicate _id 'a'"),
    "empty text": ({"documents": [Document("a", "")]}, "document 1: document 'a' has an empty"),
    "half a character": (
        {"documents": [Document("a", "\ud800")]},
        "document 1: text: '\\ud800' cannot be stored",
    ),
    "metadata no JSON": (
        {"documents": [Document("a", "x", metadata={"n": {1}})]},
        "'n': {1} cannot be stored",
    ),
    "metadata NaN": (
        {"documents": [Document("a", "x", metadata={"n": float("nan")})]},
        "'n': nan cannot be stored",
    ),
    "metadata of a field": ({"documents": [Document("a", "x", metadata={"text": "y"})]}, "'text'"),
    "empty query": ({"documents": [A], "queries": [Query("q", "")]}, "query 1: query 'q' has an"),
    "unknown query": ({"documents": [A], "qrels": {"test": [Qrel("q", "a")]}}, "qrels test: 'q'"),
    "bad split": ({"documents": [A], "qrels": {"../x": []}}, "'../x' cannot name a split"),
    "a fraction": (judged(Qrel("q", "a", 1.5)), "qrels test:2: grade '1.5' is not a whole number"),
    "a large grade": (judged(Qrel("q", "a", 10**6)), "grade '1000000' is not a whole number"),
    "a boolean": (judged(Qrel("q", "a", True)), "grade 'True' is not a whole number"),
    "two grades": (judged(Qrel("q", "a"), Qrel("q", "a", 2)), "have grade 2 here and 1 on line 2"),
    "no judgement": (judged(("q", "a", 1)), "('q', 'a', 1) is no Qrel; write Qrel(query, "),
    "no key": (judged(Qrel(["q"], "a")), "qrels test: ['q'] is unknown"),
    "documents a text": ({"documents": "abc"}, "documents: got 'abc'; give a list"),
    "documents none": ({"documents": None}, "documents: got None; give a list"),
    "documents numbers": ({"documents": [5]}, "document 1: 5 is not a mapping"),
    "queries a text": ({"documents": [A], "queries": "abc"}, "queries: got 'abc'; give a list"),
    "a single query": ({"documents": [A], "queries": Query("q", "x")}, "queries: got Query("),
    "a query as a dict": (
        {"documents": [A], "queries": [{"_id": "q"}]},
        "is no Query; write Query",
    ),
    "judgements a list": (
        {"documents": [A], "qrels": [Qrel("q", "a")]},
        "by the name of their spl",
    ),
    "a split of a text": (
        {"documents": [A], "qrels": {"test": "abc"}},
        "qrels test: got 'abc'; gi",
    ),
    "a split of a number": ({"documents": [A], "qrels": {5: []}}, "qrels: 5 cannot name a split"),
}


@pytest.mark.parametrize("name", BAD_WRITES)
def test_bad_writes_leave_nothing(tmp_path, name):
    arguments, message = BAD_WRITES[name]
    with pytest.raises(InputError, match=re.escape(message)):
        write_corpus(tmp_path / "out", **arguments)
    assert list(tmp_path.iterdir()) == []


def test_messages_are_short():
    with pytest.raises(InputError) as error:
        document_of({"_id": "a", "text": list(range(10_000))}, "c.jsonl:1")
    assert len(str(error.value)) < 200
