import pytest
from hypothesis import given
from hypothesis import strategies as st

from genir.corpus.typos import misspell
from genir.types import Query

ALPHABET = st.characters(min_codepoint=32, max_codepoint=0x6FF)


def is_one_edit(before, after):
    """Return whether one insertion, deletion, replacement or swap of neighbours leads there."""
    if len(before) == len(after):
        apart = [i for i, (x, y) in enumerate(zip(before, after, strict=True)) if x != y]
        swapped = len(apart) == 2 and apart[1] == apart[0] + 1
        i = apart[0] if apart else 0
        return len(apart) == 1 or (swapped and before[i : i + 2] == after[i : i + 2][::-1])
    long, short = sorted([before, after], key=len, reverse=True)
    return any(long[:i] + long[i + 1 :] == short for i in range(len(long)))


@given(st.lists(st.text(ALPHABET, max_size=12), max_size=5), st.integers(0, 99))
def test_each_query_with_a_letter_is_one_edit_away(texts, seed):
    queries = [Query(str(i), text) for i, text in enumerate(texts)]
    for query, wrong in zip(queries, misspell(queries, seed), strict=True):
        assert wrong.key == query.key
        if any(c.isalpha() for c in query.text):
            assert is_one_edit(query.text, wrong.text)
        else:
            assert wrong.text == query.text


def test_all_four_edits_happen():
    queries = [Query(str(i), "retrieval") for i in range(200)]
    wrong = [query.text for query in misspell(queries, 0)]
    assert {len(text) for text in wrong} == {8, 9, 10}
    sorted_letters = [sorted(text) == sorted("retrieval") for text in wrong if len(text) == 9]
    assert True in sorted_letters
    assert False in sorted_letters


@pytest.mark.parametrize("text", ["find files", "ابحث عن الملفات"])
def test_seed_and_key_decide(text):
    queries = [Query("a", text), Query("b", text)]
    assert misspell(queries, 1) == misspell(queries, 1)
    assert misspell(queries, 1)[0] == misspell(queries[:1], 1)[0]
    assert len({misspell(queries, seed)[0].text for seed in range(20)}) > 5
    assert len({misspell(queries, seed)[1].text for seed in range(20)}) > 5
    used = {c for query in misspell(queries, 3) for c in query.text}
    assert used <= set(text.lower()) | set(text)


def test_a_single_letter_is_never_lost():
    assert all(misspell([Query("q", "a")], seed)[0].text == "aa" for seed in range(20))
