"""Spelling correction with the words of a corpus."""

import time
from unicodedata import normalize

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rapidfuzz.distance import OSA

from genir.corpus.spelling import MAX_CORRECTIONS, MAX_LETTERS, SpellingCorrector
from genir.errors import InputError

TEXTS = ["list files of the branch", "list branch", "broach kubectl tool"]
CORRECTOR = SpellingCorrector.fit(TEXTS)


def test_words_are_the_frequent_ones_of_four_letters_or_more():
    assert CORRECTOR.words == ["branch", "list", "broach", "files", "kubectl", "tool"]


@pytest.mark.parametrize(
    ("query", "corrected"),
    [
        ("list the barnch", "list the barnch branch"),  # a swap
        ("lst kubectll now", "lst kubectll kubectl now"),  # three letters are not corrected
        ("BRANHC", "BRANHC branch"),
        ("braach?", "braach branch?"),  # the more frequent of two
        ("files", "files"),
        ("fies2 f1les", "fies2 f1les"),  # words with digits
        ("unrelated words", "unrelated words"),
        ("", ""),
        ("猫在沙发上睡觉", "猫在沙发上睡觉"),
    ],
)
def test_the_nearest_word_follows_an_unknown_one(query, corrected):
    assert CORRECTOR.correct(query) == corrected


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize(
    ("query", "nearest"),
    [("résumé", ""), ("université", ""), ("univresité", "université"), ("notes résume", "résumé"),
     ("समझदारी", ""), ("समझदरी", "समझदारी"), ("नगरपालक", "")],
)  # fmt: skip
def test_words_have_their_combining_marks(query, nearest, form):
    known = ["Un résumé de l'université, notes", "समझदारी नगरपालिका", "some time"]
    corrector = SpellingCorrector.fit([normalize(form, text) for text in known])
    for own in ("NFC", "NFD"):
        asked = normalize(own, query)
        assert corrector.correct(asked) == f"{asked} {nearest}".rstrip()


def test_words_of_many_marks_take_linear_time():
    began = time.process_time()
    CORRECTOR.correct("e\u0301\u0301" * 100_000 + "ー" * 100_000)
    assert time.process_time() - began < 2


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="abcd", min_size=4, max_size=7), st.lists(st.text("abcd", min_size=4)))
def test_it_is_the_first_known_word_at_one_edit(word, known):
    known = list(dict.fromkeys(one for one in known if len(one) <= MAX_LETTERS))
    near = [one for one in known if OSA.distance(word, one) == 1]
    expected = f"{word} {near[0]}" if near and word not in known else word
    assert SpellingCorrector(known).correct(word) == expected


def test_few_words_of_a_query_are_corrected():
    found = CORRECTOR.correct("barnch " * 9).split()
    assert found.count("branch") == MAX_CORRECTIONS


def test_a_saved_corrector_is_read_back(tmp_path):
    CORRECTOR.save(tmp_path)
    assert SpellingCorrector.load(tmp_path).words == CORRECTOR.words


@pytest.mark.parametrize("content", ['{"words": 3}', '{"words": [3]}', "[]", "{}"])
def test_a_damaged_file_is_named(content, tmp_path):
    (tmp_path / "spelling.json").write_text(content)
    with pytest.raises(InputError, match=r"spelling.json: no list of words; restore"):
        SpellingCorrector.load(tmp_path)
