"""Digests of train queries, of one training or of several."""

from genir.corpus.seen import digests_of, merged, seen_among


def test_texts_are_found_in_any_case_and_spacing():
    digests = digests_of(["How do I", "other"])
    assert seen_among(["how  do i", "not there"], digests) == {"how  do i"}


def test_digests_of_several_trainings_are_merged_without_repeats():
    one, two = digests_of(["a", "b"]), digests_of(["b", "c"])
    assert merged(one, two) == digests_of(["a", "b", "c"])
    assert merged() == b"" and merged(one) == one
