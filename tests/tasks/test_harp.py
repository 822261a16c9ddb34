"""HARP's tasks on four linked pages, worked out by hand."""

from collections import Counter

import pytest
from web import numbered, outcomes, page, pairs

from genir.tasks.harp import PageSamplers
from genir.tasks.hyperlinks import anchors, linked_from
from genir.tasks.term_stats import UnigramModel

ZOO = page(
    "zoo", "The zoo feeds [[cats|cat]] with fish. Ask [[Java|coffee]] or [[python|snake]] now."
)
CAFE = page(
    "cafe", "Try [[java|coffee]]. Code in [[Java|lang]] quickly. Both [[cats|cat]] [[Cats|cat]]!"
)
CAT, COFFEE, SNAKE, LANG = (
    page("cat", "whiskers"),
    page("coffee", "beans"),
    page("snake", "scales"),
    page("lang", "classes"),
)
CORPUS = [ZOO, CAFE, CAT, COFFEE, SNAKE, LANG]


def test_anchors_stand_in_their_sentences():
    found = anchors(ZOO, numbered(CORPUS))
    assert [(a.words, a.target, a.place) for a in found] == [
        ("cats", "cat", 0),
        ("Java", "coffee", 1),
        ("python", "snake", 1),
    ]
    assert found[0].part == "The zoo feeds cats with fish."
    assert found[0].context == "The zoo feeds with fish."


def test_links_to_nowhere_and_to_oneself_are_none():
    lonely = page("lonely", "To [[me|lonely]], [[nobody|gone]] and the [[cat|cat]].")
    found = anchors(lonely, numbered([lonely, CAT]))
    assert [a.target for a in found] == ["cat"]
    assert linked_from([lonely, ZOO], numbered([lonely, CAT])) == {"cat": ["lonely", "zoo"]}


def test_rqp_asks_for_the_page_with_the_anchor_and_words_around_it():
    found = outcomes([ZOO, CAT], seeds=200, task="rqp", mean=1.0, deviation=1e-9)
    # "The" and "with" are stop words.
    assert found == {(f"{word} cats", "cat") for word in ("zoo", "feeds", "fish")}


def test_rqp_without_words_is_anchor_to_page():
    assert pairs(CORPUS, task="rqp", mean=0.0) == [
        ("cats", "cat"),
        ("Java", "coffee"),
        ("python", "snake"),
        ("java", "coffee"),
        ("Java", "lang"),
        ("cats", "cat"),
        ("Cats", "cat"),
    ]


def test_rqp_draws_about_three_words():
    sizes = Counter(len(pairs([ZOO, CAT], seed, task="rqp")[0][0].split()) for seed in range(400))
    assert sizes.most_common(2)[0][0] in (3, 4)
    assert min(sizes) == 2


def test_qdm_asks_only_with_anchors_that_lead_to_several_pages():
    # "java", in any case, leads to coffee and to the language.
    assert pairs(CORPUS, task="qdm", mean=0.0) == [
        ("Java", "coffee"),
        ("java", "coffee"),
        ("Java", "lang"),
    ]


def test_rdp_leads_to_the_page_of_the_rarest_anchor():
    # "python" stands once in the corpus, "java" three times. Cats and Cats are one page.
    assert pairs(CORPUS, task="rdp") == [("Ask Java or python now.", "snake")]


def test_acm_asks_for_the_second_page_with_the_first_one_s_words():
    # The page "coffee" consists of "beans".
    assert pairs(CORPUS, task="acm", mean=1.0, deviation=1e-9) == [("beans Java", "snake")]


@pytest.mark.parametrize("task", ["rqp", "qdm", "rdp", "acm"])
def test_without_links_there_is_nothing_to_say(task):
    assert pairs([CAT, COFFEE], task=task) == []


def test_the_words_of_a_link_are_cut():
    long = page("long", f"[[{'word ' * 1_000}|cat]] and more")
    (found,) = anchors(long, numbered([long, CAT]))
    assert found.words == ("word " * 400).strip()


def test_pages_are_read_once_until_too_many_words_are_kept(monkeypatch):
    monkeypatch.setattr("genir.tasks.harp.MAX_CACHED_WORDS", 3)
    corpus = [page("a", "one two"), page("b", "three"), page("c", "four five")]
    pages = PageSamplers(corpus, UnigramModel(corpus))
    first, second = pages.sampler(0), pages.sampler(1)
    assert (first.words, second.words) == (["one", "two"], ["three"])
    assert (pages.sampler(0), pages.sampler(1)) == (first, second)
    third = pages.sampler(2)  # the others are dropped
    assert pages.sampler(2) is third
    assert pages.sampler(0) is not first
