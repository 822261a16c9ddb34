import os
import pickle
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genir.corpus.overlay import MemoryStore, OverlayStore
from genir.corpus.serialization import document_of
from genir.corpus.store import DocumentStore, Preview
from genir.errors import FolderError, InputError
from genir.types import Document, Link

DOCUMENTS = [
    Document("a", "one", "A", "u/a", (Link(0, 3, "b"),), {"lang": "en", "year": 1999, "ok": True}),
    Document("b", "two", metadata={"lang": "de", "tags": ["x", "y"], "deep": {"z": 1}}),
    Document("ü\n", "three", metadata={"lang": "en", "year": 2001.5, "none": None}),
    Document("d", "nul \0 and \u2028"),
]


@pytest.fixture
def store(tmp_path):
    with_store = DocumentStore.create(tmp_path / "documents.sqlite", iter(DOCUMENTS))
    yield with_store
    with_store.close()


def test_it_is_the_sequence_it_was_made_of(store):
    assert len(store) == 4
    assert list(store) == DOCUMENTS
    assert [store[i] for i in range(-4, 4)] == DOCUMENTS * 2
    assert store[np.int64(1)] == DOCUMENTS[1]
    assert store[::-2] == DOCUMENTS[::-2]
    assert store.keys() == ["a", "b", "ü\n", "d"]
    with pytest.raises(IndexError):
        store[4]


def test_documents_by_key(store):
    assert store.find("b") == DOCUMENTS[1]
    assert store.find("none") is None
    assert store.number("ü\n") == 2
    assert store.fetch(["d", "nope", "a"]) == {"d": DOCUMENTS[3], "a": DOCUMENTS[0]}
    assert list(store.fetch(["d", "a"])) == ["d", "a"]
    with pytest.raises(InputError, match="no document with key 'c'"):
        store.number("c")


@pytest.mark.parametrize(
    ("where", "passing"),
    [
        ({}, [0, 1, 2, 3]),
        ({"lang": "en"}, [0, 2]),
        ({"lang": ["en", "de"]}, [0, 1, 2]),
        ({"lang": "en", "year": 1999}, [0]),
        ({"year": "1999"}, []),
        ({"year": 2001.5}, [2]),
        ({"ok": True}, [0]),
        ({"ok": False}, []),
        ({"tags": "y"}, [1]),
        ({"lang": []}, []),
    ],
)
def test_filters(store, where, passing):
    mask = store.matching(where)
    assert mask.dtype == bool
    assert np.flatnonzero(mask).tolist() == passing


def test_bad_filters(store):
    assert store.metadata_fields() == ["lang", "ok", "tags", "year"]
    with pytest.raises(InputError, match=r"unknown metadata field 'lnag'; did you mean 'lang'"):
        store.matching({"lnag": "en"})
    with pytest.raises(
        InputError, match=r"field 'titel'; did you mean 'title'\? Known: .*, url, y"
    ):
        store.matching({"titel": "x"})
    with pytest.raises(InputError, match=r"filter 'lang': None cannot be compared"):
        store.matching({"lang": None})


values = st.sampled_from(["", "a", "A", 0, 1, 2.5])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(["x", 'y"$.', "z"]), values), min_size=1), values)
def test_a_filter_is_equality(tmp_path_factory, metadata, value):
    path = tmp_path_factory.mktemp("store") / "d.sqlite"
    store = DocumentStore.create(
        path, (Document(str(i), "x", metadata=m) for i, m in enumerate(metadata))
    )
    assert store.metadata_fields() == sorted({name for m in metadata for name in m})
    for name in store.metadata_fields():
        expected = [m.get(name) == value for m in metadata]
        assert store.matching({name: value}).tolist() == expected
    store.close()


def test_previews_equal_the_fields_of_hits(store, monkeypatch):
    keys = [document.key for document in DOCUMENTS]
    shown = store.previews([*keys, "nowhere", "a"])
    assert shown == {one.key: Preview(one.title, one.url, one.text) for one in DOCUMENTS}
    layered = OverlayStore(store.path)
    layered.upsert({1: Document("b", "two anew", "B"), 4: Document("e", "five")})
    assert layered.previews(["b", "e", "a"]) == {
        "a": Preview("A", "u/a", "one"),
        "b": Preview("B", "", "two anew"),
        "e": Preview("", "", "five"),
    }  # fmt: skip
    monkeypatch.setattr("genir.corpus.store.PREVIEW_CHARACTERS", 2)
    assert [layered.previews([key])[key].text for key in "abe"] == ["on", "tw", "fi"]
    layered.upsert({4: Document("e", " \n five")})
    assert layered.previews(["e"])["e"].text == "fi"  # from the first word on
    layered.close()


def test_threads_and_processes(store):
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda i: store[i % 4], range(200))
        assert list(found) == DOCUMENTS * 50
    copy = pickle.loads(pickle.dumps(store))
    assert list(copy) == DOCUMENTS
    copy.close()
    store.close()
    assert store[0] == DOCUMENTS[0]  # a closed store opens again


def test_it_cannot_be_written(store):
    with pytest.raises(InputError, match="readonly"):
        list(store._rows("DELETE FROM documents"))


def _sqlite(path):
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE other (x)")
    connection.close()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "no document store here"),
        (lambda path: path.write_bytes(b"no database at all" * 99), "damaged, or not a doc"),
        (lambda path: path.write_bytes(b""), "not a document store"),
        (_sqlite, "not a document store"),
    ],
)
def test_foreign_files(tmp_path, make, message):
    make(tmp_path / "d.sqlite")
    with pytest.raises(InputError, match=rf"d\.sqlite: {message}"):
        DocumentStore(tmp_path / "d.sqlite")


ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"


@pytest.mark.parametrize(
    "script",
    [
        f"CREATE VIEW other AS {ENDLESS}",
        f"DROP TABLE fields; CREATE VIEW fields AS SELECT 'a' AS field, i AS value, i AS number "
        f"FROM ({ENDLESS})",
        "CREATE TRIGGER other AFTER INSERT ON documents BEGIN DELETE FROM fields; END",
    ],
)
def test_views_and_triggers_are_refused_before_they_are_read(store, script):
    store.close()
    with closing(sqlite3.connect(store.path)) as connection, connection:
        connection.executescript(script)
    with pytest.raises(
        InputError, match=r"not a document store of this genir \(other tables, or v"
    ):
        DocumentStore(store.path)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_truncated_files(tmp_path, share):
    documents = [Document(str(i), "text " * 50) for i in range(200)]
    DocumentStore.create(tmp_path / "d.sqlite", documents).close()
    content = (tmp_path / "d.sqlite").read_bytes()
    (tmp_path / "d.sqlite").write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match=r"d\.sqlite: damaged"):
        DocumentStore(tmp_path / "d.sqlite")


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ([], "no documents to store"),
        ([DOCUMENTS[0], DOCUMENTS[1], DOCUMENTS[0]], "document 2 has the key of document 0"),
        ([Document("a", "\ud800")], "'a' cannot be stored"),
        ([Document("a", "x", metadata={"n": float("nan")})], "'a' cannot be stored"),
    ],
)
def test_a_failed_creation_leaves_nothing(tmp_path, documents, message):
    with pytest.raises(InputError, match=message):
        DocumentStore.create(tmp_path / "d.sqlite", documents)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_kept(tmp_path):
    (tmp_path / "d.sqlite").write_text("mine")
    with pytest.raises(InputError, match="exists"):
        DocumentStore.create(tmp_path / "d.sqlite", DOCUMENTS)
    assert (tmp_path / "d.sqlite").read_text() == "mine"


def test_a_file_that_took_the_place_of_an_open_one_is_not_read(store, tmp_path):
    other = DocumentStore.create(tmp_path / "other.sqlite", iter(DOCUMENTS[1:]))
    other.close()
    os.replace(other.path, store.path)
    assert store.find("a") == DOCUMENTS[0]  # this thread has the old one open
    with ThreadPoolExecutor(1) as pool, pytest.raises(InputError, match="replaced by another file"):
        pool.submit(store.find, "a").result()


def test_a_mask_that_was_being_made_when_documents_changed_is_not_kept(store, monkeypatch):
    layered = OverlayStore(store.path)
    passing = layered._matching_mask

    def slow(where):
        mask = passing(where)
        monkeypatch.undo()
        layered.upsert({0: Document("a", "one", metadata={"lang": "fr"})})
        return mask

    monkeypatch.setattr(layered, "_matching_mask", slow)
    assert layered.matching({"lang": "en"}).tolist() == [True, False, True, False]
    assert layered.matching({"lang": "en"}).tolist() == [False, False, True, False]
    layered.close()


@pytest.mark.parametrize("value", [10**308, -(10**308), 1.7e308, 2**63, 0.1])
def test_large_numbers_are_stored_and_found(tmp_path, value):
    documents = [Document("a", "text", metadata={"n": value}), Document("b", "text")]
    store = DocumentStore.create(tmp_path / "d.sqlite", documents)
    assert store.find("a").metadata["n"] == value
    assert store.matching({"n": {"gte": value}}).tolist() == [True, False]
    with pytest.raises(InputError, match="cannot be compared"):
        store.matching({"n": {"gt": 10**309}})
    layered = OverlayStore(tmp_path / "d.sqlite")
    layered.upsert({2: Document("c", "text", metadata={"n": value})})
    assert layered.find("c").metadata["n"] == value


EXACT = [1 / 3, 0.1 + 0.2, 1700000000.1234567, 9007199254740992.0, 2**64 - 1, 5e-324, "a", "a\0",
         "a\0b", "", True]  # fmt: skip


@pytest.mark.parametrize("layered", [False, True])
def test_a_filter_finds_exactly_the_value_it_names(tmp_path, layered):
    documents = [Document(str(n), "x", metadata={"v": [v], "w": v}) for n, v in enumerate(EXACT)]
    path = tmp_path / "d.sqlite"
    store = DocumentStore.create(path, [Document("none", "x")] if layered else documents)
    if layered:
        store = OverlayStore(path)
        store.upsert(dict(enumerate(documents)))
    for number, value in enumerate(EXACT):
        ranges = [] if value is True else [{"gte": value, "lte": value}]
        for condition in [value, [value, "other"], *ranges]:
            assert np.flatnonzero(store.matching({"v": condition, "w": condition})) == [number]
    assert np.flatnonzero(store.matching({"v": {"prefix": "a\0"}})).tolist() == [7, 8]
    assert store.field_types("v") == {"text", "number", "boolean"}
    assert {1 / 3, 0.1 + 0.2, "a\0b", True} < {value for value, _ in store.field_values("w", 20)}
    store.close()


TOP = "\U0010ffff"
TEXTS = ["", "a", TOP, f"{TOP}x", f"{TOP}{TOP}x", f"a{TOP}", f"a{TOP}{TOP}b", "b", "\ud7ff",
         "\ud7ffx", "\ue000", "\ue000x", f"\ud7ff{TOP}", "\uffff", "\U00010000"]  # fmt: skip


def test_a_prefix_finds_all_texts_that_begin_with_it(tmp_path):
    values = [*TEXTS, 1, True, {"a": 1}, [2, "ab"]]
    documents = [Document(str(n), "x", metadata={"v": value}) for n, value in enumerate(values)]
    store = DocumentStore.create(tmp_path / "d.sqlite", documents)
    for prefix in {text[:length] for text in TEXTS for length in range(len(text) + 1)}:
        found = np.flatnonzero(store.matching({"v": {"prefix": prefix}})).tolist()
        right = [n for n, text in enumerate(TEXTS) if text.startswith(prefix)]
        assert found == right + [len(values) - 1] * "ab".startswith(prefix), ascii(prefix)
    store.close()


def test_a_filter_may_list_any_number_of_values(store):
    assert store.matching({"year": [*range(2000, 80_000), 1999]}).tolist() == [True] + [False] * 3


MIXED = [True, 1, "true", False, 0, "1", [1, True], [False], 1.0, "false"]


@pytest.mark.parametrize(
    ("condition", "numbers"),
    [
        (True, [0, 6]), (1, [1, 6, 8]), (1.0, [1, 6, 8]), (False, [3, 7]), (0, [4]), ("1", [5]),
        ("true", [2]), ([True, 0], [0, 4, 6]), ({"not": True}, [1, 2, 3, 4, 5, 7, 8, 9]),
        ({"gte": 0}, [1, 4, 6, 8]), ({"gt": 0, "lt": 2}, [1, 6, 8]), ({"prefix": "t"}, [2]),
        ({"gte": ""}, [2, 5, 9]),
    ],
)  # fmt: skip
def test_booleans_equal_no_numbers_and_no_texts(tmp_path, condition, numbers):
    documents = [Document(str(n), "x", metadata={"b": v}) for n, v in enumerate(MIXED)]
    with closing(DocumentStore.create(tmp_path / "d.sqlite", documents[:5])) as store:
        found = np.flatnonzero(store.matching({"b": condition})).tolist()
        assert found == [n for n in numbers if n < 5]
    with closing(OverlayStore(tmp_path / "d.sqlite")) as layered:
        layered.upsert({n: documents[n] for n in range(1, len(documents))})
        assert np.flatnonzero(layered.matching({"b": condition})).tolist() == numbers


@pytest.mark.parametrize("name", ["gt", "gte", "lt", "lte"])
def test_booleans_have_no_order(store, name):
    with pytest.raises(InputError, match=rf"'lang': true and false have no order, so {name} .*"):
        store.matching({"lang": {name: False}})


@pytest.mark.parametrize("value", [{"a": 1}, [{"a": 1}], [], [[1]], [None]])
@pytest.mark.parametrize("layered", [False, True])
def test_a_field_of_objects_is_known_and_cannot_be_filtered(tmp_path, value, layered):
    documents = [Document("a", "x", metadata={"o": value}), Document("b", "x", metadata={"n": 1})]
    path = tmp_path / "d.sqlite"
    store = DocumentStore.create(path, [Document("c", "x")] if layered else documents)
    if layered:
        store = OverlayStore(path)
        store.upsert(dict(enumerate(documents)))
    with pytest.raises(InputError, match=r"field 'o' has only objects, .*compare; Known: n"):
        store.matching({"o": 1})
    with pytest.raises(InputError, match=r"unknown metadata field 'p'"):
        store.matching({"p": 1})
    assert store.metadata_fields() == ["n"]
    assert not store.matching({"o": 1}, strict=False).any()
    assert (store.field_types("o"), list(store.field_values("o", 9))) == (set(), [])
    store.close()


def test_a_field_of_objects_and_numbers_is_filtered_by_the_numbers(tmp_path):
    documents = [Document(str(n), "x", metadata={"o": v}) for n, v in enumerate([{"a": 1}, 1])]
    with closing(DocumentStore.create(tmp_path / "d.sqlite", documents)) as store:
        assert store.matching({"o": 1}).tolist() == [False, True]
        assert store.matching({"o": {"not": 1}}).tolist() == [True, False]
        assert (store.metadata_fields(), store.field_types("o")) == (["o"], {"number"})


def test_a_store_of_the_former_format_is_refused_by_its_format(tmp_path):
    path = tmp_path / "d.sqlite"
    DocumentStore.create(path, [Document("a", "text")]).close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA user_version = 1")
    with pytest.raises(InputError, match=r"d\.sqlite: .*format 1, .* train the model again"):
        DocumentStore(path)


@pytest.mark.parametrize("value", [10**309, -(10**400), [1, 10**309], {"a": 10**309}])
def test_numbers_beyond_a_double_are_refused_by_name(value):
    with pytest.raises(InputError, match=r"file:3: .*an integer of more than 308 digits; write it"):
        document_of({"_id": "a", "text": "t", "n": value}, "file:3")


def test_a_column_that_is_no_text_is_damage(tmp_path):
    path = tmp_path / "d.sqlite"
    DocumentStore.create(path, [Document("a", "text", metadata={"lang": "en"})]).close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE documents SET text = x'ff00'")
        connection.execute("INSERT INTO fields VALUES ('lang', x'ff', 0)")
    store = DocumentStore(path)
    for look in (
        lambda: store.previews(["a"]),
        lambda: store.fetch(["a"]),
        lambda: list(store),
        lambda: list(store.field_values("lang", 5)),
    ):
        with pytest.raises(FolderError, match=r"d\.sqlite: damaged: "):
            look()


def nested(depth):
    condition = "en"
    for _ in range(depth):
        condition = {"not": condition}
    return {"lang": condition}


ODD_FILTERS = {
    "no mapping": ("lang", "where: got 'lang'"),
    "a list": (["lang"], r"where: got \['lang'\]"),
    "deep": (nested(3_000), "filter 'lang': conditions nested deeper than 64; write it flatter"),
    "bytes": ({"lang": b"en"}, r"filter 'lang': b'en' cannot be compared; give text"),
    "a set": ({"lang": {"en"}}, r"filter 'lang': \{'en'\} cannot be compared; give a list"),
    "an array": ({"year": np.array([1])}, r"array\(\[1\]\) cannot be compared; give a list"),
    "a range": ({"year": range(3)}, "cannot be compared; give a list"),
    "a date": ({"lang": date(2020, 1, 1)}, "cannot be compared; give text"),
    "an operator": ({"year": {(1, 2): 3}}, r"filter 'year': unknown operator \(1, 2\)"),
    "a name": ({5: "en"}, "where: name of a field"),
}


@pytest.mark.parametrize("name", ODD_FILTERS)
def test_filters_of_other_types_are_refused(store, name):
    where, message = ODD_FILTERS[name]
    with pytest.raises(InputError, match=message):
        store.matching(where)


def test_a_cached_filter_lets_no_other_value_pass(store):
    for text, value in (("b'en'", b"en"), ("np.int64(1)", b"x"), (repr(date.min), date.min)):
        assert not store.matching({"lang": text}).any()
        with pytest.raises(InputError, match="cannot be compared"):
            store.matching({"lang": value})


def test_values_of_numpy_are_compared_as_numbers(store):
    for year in (np.int64(1999), np.float64(1999), np.array(1999)):
        assert (store.matching({"year": year}) == store.matching({"year": 1999})).all()
    assert (store.matching({"ok": np.bool_(True)}) == store.matching({"ok": True})).all()
    assert store.matching(nested(60)).any()


def test_documents_that_come_while_a_filter_is_compiled_lie_behind_its_mask(tmp_path):
    """Another thread applies a change between the two halves of `having`."""
    below = [Document(str(n), "x", metadata={"t": "a"}) for n in range(3)]
    DocumentStore.create(tmp_path / "s.sqlite", below).close()
    store = OverlayStore(tmp_path / "s.sqlite")
    store.upsert({3: Document("3", "x", metadata={"t": "a"})})
    numbers = store._added.numbers

    def come():
        store._added.upsert({4: Document("4", "x", metadata={"t": "a"})})
        return numbers()

    store._added.numbers = come
    assert store.having("t", "value = ?", ["a"]).tolist() == [True] * 4


def test_metadata_are_read_without_texts(tmp_path):
    documents = [Document(str(n), "x", metadata={"n": n}) for n in range(3)]
    DocumentStore.create(tmp_path / "s.sqlite", documents).close()
    store = OverlayStore(tmp_path / "s.sqlite")
    store.upsert({1: Document("1", "y", metadata={"n": "new"}), 3: Document("3", "x")})
    assert store.metadata_of([0, 1, 3, 9]) == {0: {"n": 0}, 1: {"n": "new"}, 3: {}}


def test_a_number_that_another_thread_reads_lies_below_the_length():
    """A filter was refused as damage where it read rows before the length was set."""
    store, lengths = MemoryStore(), []

    class Watched:
        def __enter__(self):
            pass

        def __exit__(self, *error):
            found = store._memory.execute("SELECT max(number) FROM documents").fetchone()[0]
            lengths.append((found, len(store)))

    store._lock = Watched()
    store.upsert({0: Document("a", "x"), 1: Document("b", "x")})
    assert lengths == [(1, 2)]
    store.close()
