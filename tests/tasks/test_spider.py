"""Spider's recurring spans on small passages, worked out by hand."""

import pytest
from web import outcomes, pairs

from genir.tasks.spider import Passage, recurring_spans
from genir.types import Document

ONE = "the Black Death came to the port of Genoa in 1347 by ship"
TWO = "from Genoa, the Black Death of 1347 was brought north by land"


def spans(*texts, longest=10):
    passages = [Passage(text.split(), str(n)) for n, text in enumerate(texts)]
    return {
        " ".join(passages[places[0].passage].words[places[0].start : places[0].end]).strip(".(")
        for places in recurring_spans(passages, longest)
    }


def test_spans_that_stand_in_two_passages():
    # "Black" and "Death" stand nowhere but in "Black Death". "port", "ship" are not in both.
    assert spans(ONE, TWO) == {"Black Death", "Genoa", "1347"}


def test_a_part_that_also_occurs_alone_is_its_own_span():
    assert spans(ONE, TWO, "A Death") == {"Black Death", "Death", "Genoa", "1347"}


@pytest.mark.parametrize(
    ("one", "two", "found"),
    [
        # Two places of "rome" lie in "deep rome", and as many "Rome" stand alone.
        ("see deep rome -- Rome", "the deep rome -- Rome", {"deep rome", "Rome"}),
        # All four places lie in "Rome to Rome".
        ("see Rome to Rome -- once", "from Rome to Rome --", {"Rome to Rome"}),
        # Every "Black" lies in one or the other.
        ("Black Death -- Black Sea", "a Black Sea -- Black Death", {"Black Death", "Black Sea"}),
        ("Black Death -- black", "of Black Death -- Black", {"Black Death", "Black"}),
    ],
)
def test_a_part_is_excluded_by_position(one, two, found):
    assert spans(one, two) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("deep common words", {"deep common words"}),
        ("lower", set()),  # a single word starts with a capital
        ("Bank of England", {"Bank of England"}),  # a stop word may stand inside
        ("England of the", {"England"}),  # but not at the end
        ("old Rome. New York", {"old Rome", "New York"}),  # nor is there a mark between words
        ("old (new words", {"new words"}),
        ("12 monkeys", {"12 monkeys"}),
        ("347", set()),
    ],
)
def test_definition_of_a_span(text, found):
    assert spans(f"{text} --", f"-- {text}") == found


def test_a_span_has_a_greatest_length():
    assert spans("Aa Bb Cc", "Aa Bb Cc", longest=2) == {"Aa Bb", "Bb Cc"}


def test_documents_of_one_title_lead_to_each_other():
    corpus = [
        Document("a", "We saw Rome once", title="Rome"),
        Document("b", "all roads lead to Rome", title="Rome"),
        Document("c", "nothing of Rome", title="Other"),
    ]
    section = {"task": "recurring-spans", "passages": "documents", "narrowest": 2, "widest": 2}
    assert outcomes(corpus, keep=1.0, **section) == {
        ("saw Rome", "b"),
        ("Rome once", "b"),
        ("to Rome", "a"),
    }
    assert outcomes(corpus, keep=0.0, **section) == {("saw", "b"), ("once", "b"), ("to", "a")}


def test_windows_of_a_document_lead_to_it():
    document = Document("d", "x y Rome z u v w Rome")
    section = {"task": "recurring-spans", "words": 4, "narrowest": 3, "widest": 3, "keep": 0.0}
    # The windows are "x y Rome z" and "u v w Rome".
    assert outcomes([document], **section) == {("x y", "d"), ("y z", "d"), ("v w", "d")}


def test_count_is_how_many_spans_an_article_gives():
    corpus = [Document("a", ONE, title="t"), Document("b", TWO, title="t")]
    section = {"task": "recurring-spans", "passages": "documents"}
    assert len(pairs(corpus, count=2, **section)) == 2
    assert len(pairs(corpus, count=9, **section)) == 3
    assert pairs(corpus[:1], **section) == []
