"""CorpusBrain's tasks on a page of seven units, worked out by hand."""

from collections import Counter
from itertools import combinations

import pytest
from web import joined, outcomes, page, pairs

from genir.config import TaskSection
from genir.errors import InputError
from genir.tasks.registry import build_task

TEXT = """Lead goes [[here|x]].

Heading
Second unit [[about|y]] it.
Third [[about|y]] and [[about|y]] it.
Fourth unit it [[is|x]].
Fifth unit it is.
Sixth unit it is.
Seventh [[unit|z]] is it."""
PAGE = page("page", TEXT)
OTHERS = [page(key, "a stub") for key in "xyz"]
CORPUS = [PAGE, *OTHERS]
SHORT = {"page": 3, "shortest": 3}
UNITS = [
    "Lead goes here.",
    "Second unit about it.",
    "Third about and about it.",
    "Fourth unit it is.",
    "Fifth unit it is.",
    "Sixth unit it is.",
    "Seventh unit is it.",
]


def test_iss_takes_the_lead_and_all_later_units_of_a_page_of_up_to_12():
    own = [source for source, target in pairs(CORPUS, task="iss", **SHORT) if target == "page"]
    assert own[0] == UNITS[0]
    assert sorted(own) == sorted(UNITS)


def test_iss_takes_11_random_later_units_of_a_longer_page():
    units = [f"Unit number {n}." for n in range(20)]
    long = page("long", "\n".join(units))
    drawn = [[source for source, _ in pairs([long], n, task="iss", **SHORT)] for n in range(30)]
    assert all(len(sources) == 12 and sources[0] == units[0] for sources in drawn)
    assert {source for sources in drawn for source in sources} == set(units)


def test_lps_takes_three_units_three_times():
    units = [f"Unit number {n}." for n in range(11)]
    long = page("long", "\n".join(units))
    paragraphs = [
        "Unit number 0. Unit number 1. Unit number 2.",
        "Unit number 3. Unit number 4. Unit number 5.",
        "Unit number 6. Unit number 7. Unit number 8.",
    ]
    assert pairs([long], task="lps", **SHORT) == [(source, "long") for source in paragraphs]
    own = [source for source, target in pairs(CORPUS, task="lps", **SHORT) if target == "page"]
    assert own == [" ".join(UNITS[0:3]), " ".join(UNITS[3:6])]  # seven units hold no third


def test_a_source_leads_to_linked_pages_as_often_as_in_the_paper():
    extra = Counter()
    for seed in range(400):
        targets = [target for _, target in pairs(CORPUS, seed, task="lps", **SHORT)]
        extra[len(targets) - 2] += 1
    # Two sources with no link each: 0.7 * 0.7.
    assert abs(extra[0] / 400 - 0.49) < 0.07
    assert outcomes(CORPUS, 200, task="lps", **SHORT) == {
        (" ".join(UNITS[a:b]), target) for a, b in ((0, 3), (3, 6)) for target in ("page", *"xyz")
    }


@pytest.mark.parametrize("task", ["iss", "lps"])
def test_a_joined_target_is_the_page_and_then_pages_that_it_links_to(task):
    one = page("one", "Lead goes [[here|x]].\nSecond unit is it.\nThird unit is [[it|one]].")
    stubs = [page("x", "a stub"), page("other", "a stub")]
    sources = [UNITS[0], "Second unit is it.", "Third unit is it."]
    sources = {"iss": sources, "lps": [" ".join(sources)]}[task]
    drawn = [joined([one, *stubs], n, task=task, join=True, **SHORT) for n in range(60)]
    assert all([source for source, _ in found][:1] == sources[:1] for found in drawn)
    # One link leads away from the page; it is drawn or not, each time anew.
    assert {pair for found in drawn for pair in found} == {
        (source, keys) for source in sources for keys in (("one",), ("one", "x"))
    }


def test_a_joined_target_has_as_many_pages_as_in_the_paper():
    links = ["x", "y", "y", "y", "x", "z"]  # of the seven units
    shares = dict(enumerate((0.70, 0.20, 0.05, 0.03, 0.02)))
    expected = Counter()
    for drawn, share in shares.items():
        ways = list(combinations(links, drawn))
        for way in ways:
            expected[1 + len(set(way))] += share / len(ways)
    found = Counter()
    for seed in range(800):
        for source, keys in joined(CORPUS, seed, task="lps", join=True, **SHORT):
            assert source in (" ".join(UNITS[0:3]), " ".join(UNITS[3:6]))
            assert keys[0] == "page" and len(set(keys)) == len(keys)
            found[len(keys)] += 1 / 1600
    assert found == pytest.approx(expected, abs=0.04)


def test_joined_or_not_the_same_pages_are_drawn():
    for seed in range(20):
        apart = pairs(CORPUS, seed, task="iss", **SHORT)
        together = joined(CORPUS, seed, task="iss", join=True, **SHORT)
        assert apart == [(source, key) for source, keys in together for key in keys]


def test_hip_leads_to_one_page():
    with pytest.raises(InputError, match=r"\[\[tasks\]\] hip: unknown key 'join'"):
        build_task(TaskSection(task="hip", join=True))


def test_hip_puts_a_link_s_unit_between_its_neighbours():
    # Not the lead's link, nor the second unit's (the lead would be its neighbour), nor the last's.
    third, fourth = " ".join(UNITS[1:4]), " ".join(UNITS[2:5])
    for seed in range(5):
        found = pairs(CORPUS, seed, task="hip", **SHORT)
        assert sorted(found) == sorted([(third, "y"), (fourth, "x")])  # y only once


def test_hip_takes_three_links_a_page():
    linked = page("linked", "\n".join(f"Unit {n} with [[a link|x{n}]]." for n in range(9)))
    corpus = [linked, *(page(f"x{n}", "a stub") for n in range(9))]
    drawn = [pairs(corpus, seed, task="hip", **SHORT) for seed in range(40)]
    assert {len(found) for found in drawn} == {3}
    assert {target for found in drawn for _, target in found} == {f"x{n}" for n in range(2, 8)}


def test_pages_and_units_have_a_least_length():
    # 29 words; "Lead goes here." has three.
    assert pairs(CORPUS, task="iss", page=30, shortest=3) == []
    own = {source for source, target in pairs(CORPUS, task="iss", page=29, shortest=5)}
    assert own == {UNITS[2]}


def test_the_authors_lengths_are_the_defaults():
    eleven = "this unit has eleven words in it and so it counts."
    ten = "this one has only ten words and so does not."
    text = "\n".join([eleven] * 8 + [ten] * 4)  # 128 words
    assert pairs([page("p", text)], task="iss") == [(eleven, "p")]
    assert pairs([page("p", text.replace("only ten", "ten", 1))], task="iss") == []
