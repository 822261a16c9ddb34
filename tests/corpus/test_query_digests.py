"""Digests of train queries, of one training or of several."""

from genir.corpus.query_digests import digests_of, known_among, merge_digests


def test_texts_are_found_in_any_case_and_spacing():
    digests = digests_of(["How do I", "other"])
    assert known_among(["how  do i", "not there"], digests) == {"how  do i"}


def test_digests_of_several_trainings_are_merged_without_repeats():
    one, two = digests_of(["a", "b"]), digests_of(["b", "c"])
    assert merge_digests(one, two) == digests_of(["a", "b", "c"])
    assert merge_digests() == b"" and merge_digests(one) == one
