"""Chang et al.'s tasks on two small pages, worked out by hand."""

from web import outcomes, page, pairs

CAT = page(
    "cat", "Cats are small hunters here. They sleep.\n\nA cat hunts [[small mice|mouse]] often."
)
MOUSE = page(
    "mouse", "Mice are small rodents too. Some eat grain all day.\n\nThe mouse fears the cat."
)
DOG = page("dog", "A dog [[chases cats|cat]] and [[never mice|mouse]]. See [[itself|dog]].")
CORPUS = [CAT, MOUSE, DOG]


def test_ict_draws_a_long_sentence_of_each_passage():
    assert outcomes([CAT], task="ict", words=100) == {
        ("Cats are small hunters here.", "cat"),
        ("A cat hunts small mice often.", "cat"),
    }


def test_ict_has_an_example_a_passage():
    # 5 + 2 words fill the first passage; the second paragraph is the second one.
    assert pairs([CAT], task="ict", words=6) == [
        ("Cats are small hunters here.", "cat"),
        ("A cat hunts small mice often.", "cat"),
    ]


def test_ict_leads_to_the_rest_which_lacks_the_sentence():
    assert outcomes([CAT], task="ict", words=100, target="rest", keep=0.0) == {
        ("Cats are small hunters here.", "They sleep. A cat hunts small mice often."),
        ("A cat hunts small mice often.", "Cats are small hunters here. They sleep."),
    }


def test_ict_keeps_the_sentence_in_a_tenth_of_the_cases():
    whole = "Cats are small hunters here. They sleep. A cat hunts small mice often."
    found = [pairs([CAT], seed, task="ict", target="rest")[0][1] for seed in range(1000)]
    assert 70 < found.count(whole) < 130


def test_ict_says_nothing_of_a_passage_of_one_sentence_but_its_document():
    lone = page("lone", "Only this one sentence here.")
    assert pairs([lone], task="ict", target="rest", keep=1.0) == []
    assert pairs([lone], task="ict") == [("Only this one sentence here.", "lone")]


def test_bfs_draws_from_the_first_section_only():
    assert outcomes([MOUSE], task="bfs") == {
        ("Mice are small rodents too.", "mouse"),
        ("Some eat grain all day.", "mouse"),
    }
    assert pairs([MOUSE], task="bfs", count=9) == [
        ("Mice are small rodents too.", "mouse"),
        ("Some eat grain all day.", "mouse"),
    ]


def test_wlp_leads_to_the_pages_that_link_here():
    # The cat is linked from the dog; the mouse from both; the dog only from itself.
    assert outcomes(CORPUS, task="wlp") == {
        ("Cats are small hunters here.", "dog"),
        ("Mice are small rodents too.", "cat"),
        ("Mice are small rodents too.", "dog"),
        ("Some eat grain all day.", "cat"),
        ("Some eat grain all day.", "dog"),
    }


def test_wlp_makes_nothing_without_links():
    assert pairs([MOUSE], task="wlp") == []
