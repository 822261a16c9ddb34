"""A string is one text or one key where a list of them is accepted; other types are rejected."""

import numpy as np
import pandas as pd
import pytest
from tiny import tiny_retriever

from genir.arguments import as_count, as_counts, as_keys, as_texts
from genir.baselines.bm25 import Bm25
from genir.baselines.dense import Dense
from genir.baselines.fusion import Fusion
from genir.config import load_recipe
from genir.errors import InputError
from genir.evaluation.beam_tree import beam_tree
from genir.evaluation.explain import explain
from genir.evaluation.latency import latencies
from genir.models.encoder import TextEncoder
from genir.retriever import Retriever
from genir.serving.app import create_app
from genir.serving.tokens import TokenSpec, new_token, read_tokens
from genir.types import Selection

QUERY = "clone a text"


@pytest.fixture(scope="module")
def retriever(tiny_encoder, tiny_corpus, tmp_path_factory):
    path = tmp_path_factory.mktemp("arguments") / "documents.sqlite"
    return tiny_retriever(tiny_encoder, tiny_corpus, path, "residual")


@pytest.fixture(scope="module")
def searchers(retriever, tiny_encoder):
    """Every kind of searcher on one corpus."""
    lexical = Bm25.fit(retriever.documents)
    dense = Dense.fit(retriever.documents, TextEncoder.pretrained(str(tiny_encoder)))
    return {
        "model": retriever,
        "bm25": lexical,
        "dense": dense,
        "fusion": Fusion([lexical, dense]),
    }


KINDS = ["model", "bm25", "dense", "fusion"]
SAME = {
    "a string": QUERY,
    "a tuple": (QUERY,),
    "a generator": (text for text in [QUERY]),
    "an array": np.array([QUERY]),
    "an array of objects": np.array([QUERY], dtype=object),
    "a column": pd.Series([QUERY]),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("given", [name for name in SAME if name != "a generator"])
def test_every_searcher_takes_a_string_as_one_query(searchers, kind, given):
    expected = searchers[kind].search([QUERY], 5)
    assert len(expected) == 1 and expected[0]
    assert searchers[kind].search(SAME[given], 5) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_every_searcher_takes_a_generator(searchers, kind):
    texts = [QUERY, "erase"]
    assert searchers[kind].search((one for one in texts), 5) == searchers[kind].search(texts, 5)


WRONG = {
    "bytes": (b"vpn", "bytes"),
    "none": (None, "NoneType"),
    "a number": (7, "int"),
    "a set": ({"vpn"}, "is unordered"),
    "a mapping": ({"q1": "vpn"}, "dict"),
    "a mixed list": (["vpn", None], r"queries\[1\]"),
    "bytes in a list": ([b"vpn"], r"queries\[0\].*bytes"),
    "nested": ([["vpn"]], r"queries\[0\].*list"),
    "not a number": ([float("nan")], "float"),
    "half a character": (["\ud800"], "surrogate"),
    "a scalar array": (np.array("vpn"), "ndarray"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("given", WRONG)
def test_every_searcher_refuses_values_that_are_not_text(searchers, kind, given):
    queries, message = WRONG[given]
    with pytest.raises(InputError, match=message):
        searchers[kind].search(queries, 5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", ["5", 0, -1, 2.5, True, None])
def test_every_searcher_refuses_an_invalid_count(searchers, kind, k):
    with pytest.raises(InputError, match="k = "):
        searchers[kind].search([QUERY], k)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", ["verb=copy", "v", b"verb", 7])
def test_every_searcher_refuses_a_filter_that_is_no_mapping(searchers, kind, where):
    with pytest.raises(InputError, match=r"where: got .*give a mapping"):
        searchers[kind].search([QUERY], 5, where)


def test_counts_may_be_numpys_own(retriever):
    expected = retriever.search([QUERY], 3)
    assert retriever.search(QUERY, np.int64(3)) == expected
    assert retriever.search(QUERY, np.array([3])) == expected
    assert as_counts((1, 2), "k", 2) == [1, 2]
    assert as_count(np.int32(4), "beams") == 4
    with pytest.raises(InputError, match="got 2 numbers for 1 query"):
        retriever.search(QUERY, [3, 4])
    with pytest.raises(InputError, match="beams = 0"):
        retriever.search(QUERY, 3, beams=0)
    with pytest.raises(InputError, match="exact = 'no'"):
        retriever.search(QUERY, 3, exact="no")


def test_encoders_take_a_string_as_one_text(retriever, tiny_encoder):
    encoder = TextEncoder.pretrained(str(tiny_encoder))
    assert encoder.embed(QUERY, "document").shape == (1, 16)
    assert (encoder.embed(QUERY, "document") == encoder.embed([QUERY], "document")).all()
    assert len(retriever.decoder.stage.encode(QUERY)[0]) == 1
    with pytest.raises(InputError, match="texts: got bytes"):
        encoder.embed(b"vpn", "document")
    with pytest.raises(InputError, match="the list is empty"):
        retriever.decoder.stage.encode([])


def test_diagnosis_takes_one_query(retriever):
    for ask in (lambda query: explain(retriever, query, "copy-file"),
                lambda query: beam_tree(retriever, query)):  # fmt: skip
        ask(QUERY)
        with pytest.raises(InputError, match="query: got"):
            ask([QUERY])
    assert latencies({"model": retriever}, QUERY).keys() == {"model"}


def test_a_selection_takes_a_string_as_one_key(retriever):
    assert Selection(allow="abc").allow == (frozenset({"abc"}),)
    assert Selection(allow=("abc", "d")).allow == (frozenset({"abc", "d"}),)
    assert Selection(allow=(frozenset("ab"), ["c"])).allow == (frozenset("ab"), frozenset("c"))
    assert Selection(allow=(frozenset(),)).allow == (frozenset(),)
    assert Selection(deny="abc").deny == frozenset({"abc"})
    assert Selection({"verb": "copy"}) == Selection(({"verb": "copy"},))
    (hits,) = retriever.search(QUERY, 40, Selection(allow="copy-file"))
    assert [hit.key for hit in hits] == ["copy-file"]
    (hits,) = retriever.search(QUERY, 40, Selection(deny="copy-file"))
    assert len(hits) == 39 and "copy-file" not in {hit.key for hit in hits}
    assert Selection(None, None, None) == Selection()
    for wrong in ({"where": 7}, {"where": {7: 1}}, {"allow": 7}, {"allow": b"abc"}):
        with pytest.raises(InputError, match="got"):
            Selection(**wrong)
    for wrong in ({"where": "verb"}, {"where": ("verb",)}, {"deny": 7}, {"allow": (7,)}):
        with pytest.raises(InputError, match="got"):
            Selection(**wrong)


def test_rows_and_documents_are_found_by_one_key(retriever):
    table = retriever.table
    assert table.key_of(int(table.rows_of(table.number("copy-file"))[0])) == "copy-file"
    assert list(retriever.documents.fetch("copy-file")) == ["copy-file"]
    with pytest.raises(InputError, match="keys: got a dict"):
        as_keys({"copy-file": 1})


def test_one_key_is_deleted_and_one_query_belongs_to_a_document(tiny_folder, tmp_path):
    import shutil

    model = Retriever.load(shutil.copytree(tiny_folder("atomic"), tmp_path / "model"))
    document = model.documents.find("copy-file")
    assert model.delete("copy-file") == ["copy-file"]
    assert model.delete(iter(["watch-disk"])) == ["watch-disk"]
    assert "copy-file" not in {hit.key for hit in model.search(QUERY, 40)[0]}
    assert model.add([document], {"copy-file": "how do i copy?"}) == ["copy-file"]
    number = model.table.number("copy-file")
    assert model.index.query_counts[number] == 1  # not one for each letter
    for wrong, message in (("1", "version = '1'"), (-1, "version = -1"), (99, "choose one")):
        with pytest.raises(InputError, match=message):
            model.rollback(wrong)
    with pytest.raises(InputError, match="give a dict from key"):
        model.replace([document], ["how do i copy?"])
    with pytest.raises(InputError, match="queries of 'copy-file'"):
        model.replace([document], {"copy-file": None})


def test_settings_examples_and_tokens_take_a_string_as_one(retriever, tmp_path):
    assert load_recipe("default", "training.max_steps=7").training.max_steps == 7
    assert create_app(retriever, examples="a question").state.examples == ("a question",)
    new_token(tmp_path / "tokens.json", TokenSpec("me", allow="copy-file"))
    assert read_tokens(tmp_path / "tokens.json")[0].allow == ["copy-file"]


def test_texts_keep_their_order_and_become_plain_strings():
    texts = as_texts(np.array(["b", "a", "b"]))
    assert texts == ["b", "a", "b"] and all(type(text) is str for text in texts)
    assert as_texts([]) == [] and as_texts("") == [""]


@pytest.mark.parametrize(
    "given", [pd.DataFrame({"q": ["chess"]}), np.array([["a"]]), np.array("a")]
)
def test_tables_and_arrays_without_dimensions_are_refused(given):
    with pytest.raises(InputError, match=r"dimensions; give one column|give a str or a list"):
        as_texts(given)


def test_an_empty_list_of_allowed_keys_finds_nothing(tiny_folder):
    retriever = Retriever.load(tiny_folder("atomic"), "cpu")
    for allow in ([], set(), frozenset(), iter(())):
        assert retriever.search("x", where=Selection(allow=allow)) == [[]]
    assert len(retriever.search("x", where=Selection())[0]) == 10
    scope = Selection(allow=[]) & Selection()
    assert retriever.search("x", where=scope) == [[]]


@pytest.mark.parametrize("where", ["", [], 0, np.array(["a", "b"])])
def test_a_falsy_filter_is_no_filter_for_all(tiny_folder, where):
    retriever = Retriever.load(tiny_folder("atomic"), "cpu")
    with pytest.raises(InputError, match=r"where: (got|\d filters for 1)"):
        retriever.row_mask(where)
