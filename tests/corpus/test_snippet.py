import pytest
from hypothesis import given
from hypothesis import strategies as st

from genir.corpus.snippet import _matches, snippet

TEXT = "alpha " * 40 + "copies a directory tree to another place " + "omega " * 40


def test_a_short_text_is_whole():
    assert snippet("one\n  two", "x") == "one two"


def test_the_window_holds_the_words_of_the_query():
    shown = snippet(TEXT, "how to copy a DIRECTORY tree?", width=80)
    assert "directory tree" in shown
    assert shown.startswith("…alpha") and shown.endswith("…")


def test_beginnings_of_words_count_and_long_words_weigh_more():
    text = "the to a " + "x " * 100 + "directories " + "y " * 100
    assert "directories" in snippet(text, "the to a director", width=40)


def test_without_a_match_the_text_begins():
    assert snippet(TEXT, "nothing", width=20) == "alpha alpha alpha…"


def test_scripts_without_spaces():
    assert "目录" in snippet("前" * 300 + "复制目录" + "后" * 300, "目录", width=40)


@given(st.text(), st.text(), st.integers(1, 60))
def test_it_fits_and_comes_from_the_text(text, query, width):
    shown = snippet(text, query, width)
    assert len(shown) <= max(width, 3)
    assert shown.strip("…").strip() in " ".join(text.split())


@pytest.mark.parametrize("query", ["", "?", "a.*(", "\\"])
def test_odd_queries(query):
    assert snippet(TEXT, query, width=50)


@pytest.mark.parametrize(
    ("text", "query", "found"),
    [
        ("x " * 200 + "cafe\u0301 au lait", "caf\u00e9", "cafe\u0301"),
        ("x " * 200 + "caf\u00e9 au lait", "cafe\u0301", "caf\u00e9"),
        ("\u3042" * 300 + "\uff76\uff9e\uff72\uff84\uff9e", "\u30ac\u30a4\u30c9", "\uff76\uff9e"),
        ("\u3042" * 300 + "\u30ac\u30a4\u30c9", "\uff76\uff9e\uff72\uff84\uff9e", "\u30ac"),
        ("x " * 200 + "\uff21\uff22\uff23", "abc", "\uff21\uff22\uff23"),
        ("x " * 200 + "ABC", "\uff21\uff22\uff23", "ABC"),
        ("x " * 200 + "\u1112\u1161\u11ab", "\ud55c", "\u1112\u1161\u11ab"),
    ],
)
def test_a_term_is_found_in_another_normal_form(text, query, found):
    assert found in snippet(text, query)


def test_ascii_texts_are_not_searched_for_forms_that_they_cannot_hold():
    looked_for = []

    class Text(str):
        def find(self, term, *place):
            looked_for.append(term)
            return super().find(term, *place)

    _matches(Text("the chess game"), "chess")
    assert {*looked_for} == {"chess"}
    looked_for.clear()
    assert _matches(Text("the \uff43\uff48\uff45\uff53\uff53 game"), "chess")
    assert len({*looked_for}) > 1


@pytest.mark.parametrize(
    "character", ["e\u0301", "\U0001f469\u200d\U0001f467", "\U0001f1e9\U0001f1ea", "नि", "각"]
)
def test_characters_are_whole(character):
    for width in range(12, 24):
        for before in ("", "x"):
            cut = snippet(before + character * 300, "nothing", width)
            assert cut.endswith("…") and len(cut) <= width
            body = cut.removesuffix("…").removeprefix(before)
            assert body == character * (len(body) // len(character))
