import pytest

from genir.tasks.chunking import (
    fill,
    first_section,
    paragraph_places,
    sentence_places,
    sentences,
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("One two.  Three? Four", ["One two.", "Three?", "Four"]),
        ("A heading\n\nIt is, e.g. this. Yes!\n", ["A heading", "It is, e.g. this.", "Yes!"]),
        ("第一句。第二句。", ["第一句。", "第二句。"]),
        (" \n ", []),
    ],
)
def test_sentences(text, found):
    assert sentences(text) == found
    for start, end in sentence_places(text):
        assert 0 <= start < end <= len(text)


def test_paragraphs_are_lines():
    text = "one\n\n two \nthree"
    assert [text[a:b].strip() for a, b in paragraph_places(text)] == ["one", "two", "three"]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("\n\nOne.\nTwo.\n \nThree.", "One.\nTwo."),
        ("One.\nTwo.", "One."),
        ("One. Two.", "One. Two."),
        ("", ""),
    ],
)
def test_the_first_section(text, first):
    assert first_section(text) == first


def test_fill_closes_a_group_once_it_is_long_enough():
    assert fill(["a b", "c", "d e f g", "h"], 3) == [["a b", "c"], ["d e f g"], ["h"]]
    assert fill([], 3) == []
