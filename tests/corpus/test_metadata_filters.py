"""Values of filters given as text: read by the types that a field has in the corpus."""

import pytest

from genir.corpus.metadata_filters import read_texts, read_value
from genir.corpus.overlay import OverlayStore
from genir.corpus.store import DocumentStore
from genir.errors import InputError
from genir.types import Document

METADATA = (
    {
        "n": 7,
        "code": "007",
        "flag": True,
        "mixed": 7,
        "version": "1.10",
        "list": ["a", 1],
        "bit": 1,
    },
    {"n": 1.5, "code": "7", "flag": False, "mixed": "007", "hash": "1e5", "list": ["1"], "bit": 3},
    {"n": -2, "code": "true", "date": "2024-01-02", "flags": [False], "either": True, "mixed": "7"},
    {"code": "null", "either": 0, "object": {"a": 1}},
)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "documents.sqlite"
    return DocumentStore.create(path, documents())


def documents():
    return [Document(str(number), "x", metadata=own) for number, own in enumerate(METADATA)]


TYPES = {
    "n": {"number"}, "bit": {"number"}, "code": {"text"}, "version": {"text"}, "hash": {"text"},
    "date": {"text"}, "flag": {"boolean"}, "flags": {"boolean"}, "mixed": {"number", "text"},
    "list": {"number", "text"}, "either": {"boolean", "number"}, "object": set(), "none": set(),
    "title": {"text"}, "url": {"text"},
}  # fmt: skip


@pytest.mark.parametrize("field", TYPES)
def test_types_equal_the_types_of_the_values(store, field):
    assert store.field_types(field) == TYPES[field]


def test_types_of_added_documents_count(store):
    layered = OverlayStore(store.path)
    layered.upsert({4: Document("4", "x", metadata={"flag": "maybe", "new": 3})})
    assert layered.field_types("flag") == {"boolean", "text"}
    assert layered.field_types("new") == {"number"} and layered.field_types("n") == {"number"}
    layered.close()


@pytest.mark.parametrize(
    ("field", "text", "keys"),
    [
        ("n", "7", "0"), ("n", "007", "0"), ("n", "7.0", "0"), ("n", "1.50", "1"), ("n", "-2", "2"),
        ("n", "15e-1", "1"), ("code", "007", "0"), ("code", "7", "1"), ("code", "true", "2"),
        ("code", "null", "3"), ("flag", "true", "0"), ("flag", "FALSE", "1"),
        ("version", "1.10", "0"), ("version", "1.1", ""), ("hash", "1e5", "1"),
        ("hash", "100000", ""), ("date", "2024-01-02", "2"), ("mixed", "7", "02"),
        ("mixed", "007", "1"), ("list", "1", "01"), ("list", "a", "0"), ("flags", "false", "2"),
        ("bit", "1", "0"), ("either", "0", "3"), ("title", "7", ""),
    ],
)  # fmt: skip
def test_a_value_is_parsed_by_the_types_of_the_field(store, field, text, keys):
    found = store.matching({field: read_value(field, text, store.field_types(field))})
    assert "".join(str(number) for number in found.nonzero()[0]) == keys


@pytest.mark.parametrize(
    ("field", "text", "types"),
    [
        ("n", "abc", "not a number"), ("n", "nan", "not a number"), ("n", "1e999", "not a number"),
        ("n", "1_000", "not a number"), ("n", "٣", "not a number"), ("n", "", "not a number"),
        ("n", "true", "not a number"), ("n", "9" * 5000, "not a number"),
        ("flag", "yes", "not true or false"), ("flag", "1", "not true or false"),
        ("either", "x", "not true or false or a number"), ("bit", "true", "not a number"),
    ],
)  # fmt: skip
def test_a_value_of_another_type_is_refused(store, field, text, types):
    with pytest.raises(InputError, match=rf"filter '{field}': .* is {types}, the type of this"):
        read_value(field, text, store.field_types(field))


@pytest.mark.parametrize(
    ("field", "condition", "read"),
    [
        ("n", "7", 7), ("n", ["7", 8], [7, 8]), ("n", {"gte": "1.5", "not": ["7"]},
                                                 {"gte": 1.5, "not": [7]}),
        ("flag", "true", True), ("code", "007", "007"), ("code", {"prefix": "0"}, {"prefix": "0"}),
        ("mixed", "7", "7"), ("n", {"prefix": "7"}, {"prefix": "7"}), ("none", "7", "7"),
    ],
)  # fmt: skip
def test_texts_of_a_field_without_texts_are_read(store, field, condition, read):
    assert read_texts(field, condition, store.field_types(field)) == read
