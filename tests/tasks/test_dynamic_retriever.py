"""DynamicRetriever's passages, terms and n-grams, worked out by hand."""

import pytest
from web import outcomes, pairs

from genir.types import Document

APE = Document("ape", "Big apes eat. They sleep, too.\nNo ape swims.", title="The ape")
BEE = Document("bee", "They fly.", title="The bee")
COW = Document("cow", "They eat. They eat.")


@pytest.mark.parametrize(
    ("options", "sources"),
    [
        # The title's 2 words, then sentences until 7 are full; the cut takes "too." away.
        ({"words": 7}, ["The ape Big apes eat. They sleep,", "The ape No ape swims."]),
        ({"words": 7, "count": 1}, ["The ape Big apes eat. They sleep,"]),
        ({"words": 100}, ["The ape Big apes eat. They sleep, too. No ape swims."]),
    ],
)
def test_passages_begin_with_the_title(options, sources):
    assert pairs([APE], task="passages", **options) == [(source, "ape") for source in sources]


def test_terms_have_the_highest_tf_idf_in_text_order():
    # idf = log(3 / (holders + 1)): "the" in 2 documents log 1 = 0, "they" in 3 below 0, "eat" in 2
    # 0, all others log 1.5. tf of "ape" is 2 of 11. Of equal ones, the first come.
    assert pairs([APE, BEE, COW], task="terms", words=3)[0] == ("ape big ape", "ape")
    assert pairs([APE, BEE, COW], task="terms", words=2)[1] == ("bee fly", "bee")
    # Twice "eat" (0) before twice "they" (below 0).
    assert pairs([APE, BEE, COW], task="terms", words=2)[2] == ("eat eat", "cow")


def test_a_short_document_gives_all_its_terms():
    assert pairs([BEE], task="terms") == [("the bee they fly", "bee")]


def test_random_terms_stand_in_their_order():
    assert outcomes([BEE], task="terms", words=3, by="random") == {
        ("the bee they", "bee"),
        ("the bee fly", "bee"),
        ("the they fly", "bee"),
        ("bee they fly", "bee"),
    }


def test_ngrams_are_of_one_length_from_different_places():
    assert outcomes([COW], task="ngrams", words=3, count=1) == {
        ("They eat. They", "cow"),
        ("eat. They eat.", "cow"),
    }
    both = [("They eat. They", "cow"), ("eat. They eat.", "cow")]
    assert pairs([COW], task="ngrams", words=3, count=5) == both
    assert pairs([COW], task="ngrams", words=9) == [("They eat. They eat.", "cow")]
