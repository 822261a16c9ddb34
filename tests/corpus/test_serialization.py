"""Records from files and from Python are stored and read back alike, or refused by field."""

import json
from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genir.corpus.readers import read_corpus
from genir.corpus.serialization import document_of, documents_of, record_of
from genir.errors import InputError
from genir.types import Document, Link

KEPT = {
    "metadata a string": ({"metadata": "a string"}, {"metadata": "a string"}),
    "metadata a list": ({"metadata": [1, "x"]}, {"metadata": [1, "x"]}),
    "metadata a number": ({"metadata": 0}, {"metadata": 0}),
    "metadata an object": ({"metadata": {"a": 1, "b": None}}, {"a": 1}),
    "metadata an empty object": ({"metadata": {}}, {}),
    "metadata in another order": (
        {"o": {"a": 1, "b": 2}, "metadata": {"o": {"b": 2, "a": 1}}},
        {"o": {"a": 1, "b": 2}},
    ),
    "metadata that agrees": ({"year": 1, "metadata": {"year": 1}}, {"year": 1}),
    "addresses": ({"links": ["https://x.org/1"]}, {"links": ["https://x.org/1"]}),
    "one address": ({"links": "https://x.org/1"}, {"links": "https://x.org/1"}),
    "no links": ({"links": []}, {}),
    "null links": ({"links": None}, {}),
    "nested values": ({"x": {"y": [1, {"z": None}]}}, {"x": {"y": [1, {"z": None}]}}),
}


@pytest.mark.parametrize("name", KEPT)
def test_metadata_is_kept_and_reads_back(name):
    fields, metadata = KEPT[name]
    document = document_of({"_id": "a", "text": "x", **fields}, "here")
    assert (dict(document.metadata), document.links) == (metadata, ())
    assert document_of(record_of(document), "here") == document


REFUSED = {
    "metadata of another type": ({"a": 1, "metadata": {"a": True}}, "'a' is 1 in .* but True"),
    "a list of another type": ({"a": [1], "metadata": {"a": [True]}}, r"'a' is \[1\] in"),
    "metadata that disagrees": ({"year": 1, "metadata": {"year": 2}}, "'year' is 1 in .* but 2"),
    "a text in metadata": ({"metadata": {"text": "y"}}, "'text' is 'x' in the record, but 'y'"),
    "metadata twice nested": ({"metadata": {"metadata": {"a": 1}}}, "another field 'metadata'"),
    "addresses and spans": ({"links": ["u", {"start": 0}]}, "link 'u' lacks a field"),
    "a span with more": (
        {"links": [{"start": 0, "end": 1, "target": "b", "rel": "x"}]},
        "has further fields; write",
    ),
    "NaN": ({"x": float("nan")}, "the field 'x': nan cannot be stored: JSON has no NaN"),
    "an infinity inside": ({"x": [float("inf")]}, "the field 'x': inf cannot"),
    "a date": ({"x": date(2020, 1, 1)}, "JSON has no date; write it as a string"),
    "a set": ({"x": {1}}, "JSON has no set"),
    "a name that is no string": ({"x": {1: 2}}, "the field name 1 is not a string"),
    "a field that is no string": ({1: 2}, "the field name 1 is not a string"),
    "a huge integer": ({"x": 10**5000}, "an integer of more than 308 digits"),
    "half a character in a title": (
        {"title": "\ud800"},
        "title: '.ud800' cannot be stored: an unpaired",
    ),
    "in a url": ({"url": "x\udfff"}, "url: 'x.udfff' cannot be stored: an unpaired"),
    "in a value": ({"x": ["\ud800"]}, "the field 'x': '.ud800' cannot be stored: an unpaired"),
    "in a name": ({"\ud800": 1}, "cannot be stored: an unpaired"),
    "in a nested name": (
        {"x": {"\ud800": 1}},
        "the field 'x': '.ud800' cannot be stored: an unpaired",
    ),
    "in a target": ({"links": [{"start": 0, "end": 1, "target": "\ud800"}]}, "target of a link"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_unstorable_values_are_refused(name):
    fields, message = REFUSED[name]
    with pytest.raises(InputError, match=f"^here: .*{message}"):
        document_of({"_id": "a", "text": "x", **fields}, "here")
    with pytest.raises(InputError, match=message):
        documents_of([{"_id": "a", "text": "x", **fields}])


def test_deep_values_are_refused():
    deep = []
    for _ in range(100):
        deep = [deep]
    with pytest.raises(InputError, match=r"the field 'x': more than .* 64 levels"):
        document_of({"_id": "a", "text": "x", "x": deep}, "here")


@given(
    st.dictionaries(
        st.sampled_from(["title", "url", "links", "metadata", "year", "x"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=3),
            lambda inner: (
                st.lists(inner, max_size=2)
                | st.dictionaries(st.sampled_from(["title", "year", "metadata"]), inner, max_size=2)
            ),
            max_leaves=4,
        ),
    )
)
def test_a_record_that_is_taken_reads_back(fields):
    try:
        document = document_of({"_id": "a", "text": "xyz", **fields}, "here")
    except InputError:
        return
    assert document_of(json.loads(json.dumps(record_of(document))), "here") == document


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"_id": "a", "text": "x", "text": "y"}', "c.jsonl:1: the field 'text' is given twice"),
        ('{"_id": "a", "text": "x", "m": {"b": 1, "b": 2}}', "the field 'b' is given twice"),
        ('{"_id": "a", "text": "x", "\\ud800": 1}', "c.jsonl:1: an unpaired surrogate"),
    ],
)
def test_bad_lines(tmp_path, line, message):
    (tmp_path / "c.jsonl").write_text(line + "\n")
    with pytest.raises(InputError, match=message):
        list(read_corpus(tmp_path / "c.jsonl"))


@pytest.mark.parametrize(
    "given",
    [
        {"_id": "a", "text": "one", "year": 1},
        Document("a", "one", metadata={"year": 1}),
        [{"_id": "a", "text": "one", "year": 1}],
        iter([Document("a", "one", metadata={"year": 1})]),
    ],
)
def test_rows_are_dicts_or_documents_or_one_of_them(given):
    given = list(given) if not isinstance(given, dict | list | Document) else given
    expected = [Document("a", "one", metadata={"year": 1})]
    assert list(read_corpus(given)) == expected
    assert documents_of(given) == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("a text", "documents 'a text': not documents; give a list of dicts"),
        (b"bytes", "give a list of dicts"),
        (7, "documents 7: not documents; give a list of dicts"),
        (["a text"], "document 1: 'a text' is not a mapping"),
        ([{"text": "x"}], "document 1: no _id; add one .*given: text"),
        ({"_id": "a"}, "document 1: document 'a' has an empty text"),
        ([Document("a", 7)], "document 1: text 7 is not a string"),
        ([Document("a", "x"), {"_id": "a", "text": "y"}], "document 2: the key 'a' is given twice"),
    ],
)
def test_invalid_documents_are_refused(given, message):
    with pytest.raises(InputError, match=message):
        documents_of(given)


@pytest.mark.parametrize("key", [".", "..", "x" * 1_025])
def test_a_key_that_no_address_can_hold_is_refused_in_every_source(tmp_path, key):
    with pytest.raises(InputError, match=r"^place: _id .* (cannot be a part of an|at most 1,024)"):
        document_of({"_id": key, "text": "x"}, "place")
    (tmp_path / "c.tsv").write_text(f"{key}\tx\n")
    with pytest.raises(InputError, match=r"c\.tsv:1: _id "):
        list(read_corpus(tmp_path / "c.tsv"))
    assert document_of({"_id": "...", "text": "x"}, "").key == "..."


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        *[
            (
                {"links": links},
                r"document 'a': links .* are not a tuple of Link; write Link\(\.\.\.\)",
            )
            for links in ("abc", ("abc",), ((0, 1, "d1"),), 5, None, [{"start": 0}])
        ],
        *[
            ({"metadata": metadata}, r"document 'a': metadata .* is not a mapping")
            for metadata in (None, ["lang"], "abc", 5)
        ],
    ],
)
def test_documents_with_fields_of_other_types_are_refused(fields, message):
    document = Document("a", "some text", **fields)
    for read in (documents_of, lambda one: list(read_corpus([one]))):
        with pytest.raises(InputError, match=message):
            read(document)


def test_links_of_a_document_may_be_a_list():
    (document,) = documents_of(Document("a", "some text", links=[Link(0, 4, "b")]))
    assert document.links == (Link(0, 4, "b"),)


@pytest.mark.parametrize(
    ("value", "fix"),
    [(np.int64(3), "item"), (np.array(3), "item"), (np.array([3]), "tolist")],
)
def test_values_of_numpy_are_refused_with_the_call_that_converts_them(value, fix):
    with pytest.raises(InputError, match=rf"cannot be stored: .*; convert it with \.{fix}\(\)"):
        documents_of({"_id": "a", "text": "x", "n": value})
