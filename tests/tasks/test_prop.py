"""PROP and B-PROP: the models they draw from, worked out by hand."""

from collections import Counter
from math import log, log2, sqrt
from random import Random

import pytest
from web import numbered, outcomes, pairs

from genir.config import TaskSection
from genir.tasks.prop import Background
from genir.tasks.registry import build_task
from genir.tasks.term_stats import UnigramModel, draw_distinct, poisson
from genir.types import Document

CORPUS = [Document("d", "red red blue"), Document("e", "green green green green blue")]
# Of 8 words: red 2, blue 2, green 4. A document has 4 on average.


def sampler(task="prop", document=CORPUS[0], **options):
    made = build_task(TaskSection(task=task, **options))
    facts = made.fit(CORPUS, numbered(CORPUS))
    return made.sampler(Counter(document.text.split()), facts), facts


def test_prop_scores_by_the_dirichlet_smoothed_model():
    drawn, _ = sampler()
    # mu = 4: (tf + 4 P(w | corpus)) / (3 + 4)
    assert drawn.score("red") == pytest.approx(log((2 + 1) / 7))
    assert drawn.score("blue") == pytest.approx(log((1 + 1) / 7))
    assert drawn.score("green") == pytest.approx(log((0 + 2) / 7))
    assert drawn.likelihood(["red", "green"]) == pytest.approx(log(3 / 7 * 2 / 7))


def test_prop_draws_by_the_model_it_scores_by():
    drawn, _ = sampler(frequent=1)
    counts = Counter(drawn.draw(14000, Random(0)))
    assert counts["red"] == pytest.approx(6000, abs=250)
    assert counts["blue"] == pytest.approx(4000, abs=250)
    assert counts["green"] == pytest.approx(4000, abs=250)


def test_prop_draws_common_words_less_often():
    drawn, facts = sampler(frequent=0.01, mu=2.0)
    assert isinstance(facts, Background)
    assert facts.kept["red"] == pytest.approx(sqrt(0.04) + 0.04)  # 0.01 / (2 / 8)
    assert facts.kept["green"] == pytest.approx(sqrt(0.02) + 0.02)
    weights = {
        "red": (2 + 2 / 4) * facts.kept["red"],
        "blue": (1 + 2 / 4) * facts.kept["blue"],
        "green": (0 + 2 / 2) * facts.kept["green"],
    }
    counts, total = Counter(drawn.draw(10000, Random(0))), sum(weights.values())
    for word, weight in weights.items():
        assert counts[word] == pytest.approx(10000 * weight / total, abs=200)


def test_prop_takes_the_likelier_of_two_sets():
    # A pair of one word each: green wins only against green, once in (2/7)^2.
    counts = Counter(pairs(CORPUS, task="prop", mean=1e-9, frequent=1, pairs=3000))
    assert counts["red", "d"] == pytest.approx(3000 * (1 - (4 / 7) ** 2), abs=100)
    # Blue and green are equally likely, and the first of equals is taken.
    assert counts["blue", "d"] == pytest.approx(3000 * (4 / 7) ** 2 / 2, abs=100)


def test_word_sets_have_the_requested_size():
    sizes = {len(source.split()) for source, _ in pairs(CORPUS, task="prop", pairs=250)}
    assert sizes >= {1, 2, 3, 4, 5}
    assert len(pairs(CORPUS, task="prop", pairs=3)) == 6


def test_b_prop_contrasts_the_document_with_the_corpus():
    drawn, _ = sampler("b-prop", CORPUS[1], fewest=1)
    # green: 4 of 5 words here, 4 of 8 in the corpus. blue: 1 of 5, 2 of 8: nothing special.
    assert drawn.score("green") == pytest.approx(0.8 * log2(0.8 / 0.5))
    assert drawn.score("blue") == 0


def test_b_prop_draws_no_word_twice_and_none_without_contrast():
    assert outcomes([CORPUS[1], *CORPUS[:1]], task="b-prop", fewest=1) == {
        ("green", "e"),
        ("red", "d"),
        ("blue", "d"),  # 1 of 3 words here, 2 of 8 in the corpus
        ("blue red", "d"),
        ("red blue", "d"),
    }


def test_b_prop_leaves_out_documents_of_few_words():
    assert pairs(CORPUS, task="b-prop", fewest=3) == []


def test_b_prop_leaves_out_documents_without_any_contrast():
    alone = Document("a", "red green blue")
    numbers = Document("n", "red green blue 1 2 3 4 5 6")
    assert pairs([alone], task="b-prop", fewest=3) == []
    assert {key for _, key in pairs([alone, numbers], task="b-prop", fewest=3)} == {"a"}


def test_distinct_words_are_drawn_by_the_remaining_weights():
    rng = Random(0)
    orders = Counter(tuple(draw_distinct({"a": 3, "b": 1, "c": 0}, 2, rng)) for _ in range(4000))
    assert set(orders) == {("a", "b"), ("b", "a")}
    assert orders["a", "b"] == pytest.approx(3000, abs=120)


def test_a_poisson_number_is_never_0():
    drawn = Counter(poisson(3.0, rng) for rng in [Random(0)] for _ in range(4000))
    assert 0 not in drawn
    # P(3) / (1 - P(0)) = 0.2240 / 0.9502
    assert drawn[3] == pytest.approx(4000 * 0.2358, abs=120)


def test_statistics_count_words_of_titles_too():
    language = UnigramModel([Document("a", "One two, two.", title="Two"), Document("b", "one")])
    assert language.counts == {"two": 3, "one": 2}
    assert language.document_frequency == {"two": 1, "one": 2}
    assert language.self_information("two") == pytest.approx(-log2(3 / 5))
    assert language.self_information("never") == pytest.approx(-log2(1 / 5))
    assert language.idf("two") == pytest.approx(log(2 / 2))
