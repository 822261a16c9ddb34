"""Examples of each task for the small corpus, worked out by hand."""

from collections import Counter
from random import Random

import pytest

from genir.config import TaskSection
from genir.identifiers.table import IdentifierTable
from genir.tasks.chunking import lead, windows
from genir.tasks.registry import build_task
from genir.types import Document, Example


def sources(document, table, queries, **section):
    task = build_task(TaskSection(**section))
    return [e.source for e in task.examples([document], table, queries, Random(0))]


@pytest.mark.parametrize(
    ("section", "tar", "sed"),
    [
        ({"task": "lead"}, ["Archiving utility."], ["Edit text in a script, e.g. replace words."]),
        ({"task": "lead", "words": 2}, ["Archiving utility."], ["Edit text"]),
        ({"task": "title"}, ["tar 1"], ["sed"]),
        ({"task": "title-lead", "words": 2}, ["tar 1. Archiving utility."], ["sed. Edit text"]),
        (
            {"task": "chunks", "words": 7, "overlap": 2},
            [
                "Archiving utility. Create an archive: `tar cf",
                "`tar cf x.tar a b` List its",
                "List its files",
            ],
            ["Edit text in a script, e.g. replace", "e.g. replace words. See also: awk. Fast!"],
        ),
        ({"task": "queries"}, ["pack files"], ["swap words", "edit a stream", "pack files"]),
    ],
)
def test_sources_by_hand(section, tar, sed, corpus, table, queries):
    assert sources(corpus[0], table, queries, **section) == tar
    assert sources(corpus[1], table, queries, **section) == sed


def test_examples_weigh_one_and_carry_the_identifier(corpus, table, queries):
    task = build_task(TaskSection(task="title"))
    assert next(task.examples(corpus, table, queries, Random(0))) == Example("tar 1", (0, 1), 1.0)


@pytest.mark.parametrize("document", [Document("tar", "text"), Document("tar", " ", title="t")])
def test_title_and_lead_need_both(document, table):
    assert sources(document, table, {}, task="title-lead") == []


def test_spans_of_two_words_by_hand(table):
    drawn = {
        source
        for seed in range(60)
        for source in sources_drawn(Document("tar", "pack  all files\nfast"), table, seed)
    }
    assert drawn == {"pack all", "all files", "files fast"}


def sources_drawn(document, table, seed):
    task = build_task(TaskSection(task="spans", shortest=2, longest=2, count=1))
    return [e.source for e in task.examples([document], table, {}, Random(seed))]


def test_spans_are_runs_of_the_text_of_every_length(corpus, table, queries):
    text = " ".join(corpus[0].text.split())
    drawn = sources(corpus[0], table, queries, task="spans", shortest=2, longest=4, count=300)
    assert len(drawn) == 300
    assert {len(source.split()) for source in drawn} == {2, 3, 4}
    assert all(f" {source} " in f" {text} " for source in drawn)
    assert any(text.startswith(source) for source in drawn)
    assert any(text.endswith(source) for source in drawn)


@pytest.mark.parametrize(("text", "spans"), [("two words", ["two words"]), ("  ", [])])
def test_a_text_below_the_shortest_span_comes_whole_once(text, spans, table):
    document = Document("tar", text)
    assert sources(document, table, {}, task="spans", shortest=3, count=5) == spans


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two.", "One."),
        ("What? Yes.", "What?"),
        ("Up to 3.5 times, i.e. a lot. Then more.", "Up to 3.5 times, i.e. a lot."),
        ("第一句。第二句。", "第一句。"),
        ("A line. With two sentences.\nAnother line.", "A line. With two sentences."),
        ("\n\n  only one line  \n", "only one line"),
        ("", ""),
    ],
)
def test_leads(text, expected):
    assert lead(text, 32) == expected


@pytest.mark.parametrize("length", range(1, 12))
def test_windows_cover_every_word_and_none_is_all_overlap(length):
    words = [str(i) for i in range(length)]
    cut = [window.split() for window in windows(words, 4, 1)]
    assert cut[0] + [word for window in cut[1:] for word in window[1:]] == words
    assert all(len(window) > 1 for window in cut[1:])
    assert all(len(window) == 4 for window in cut[:-1])


def test_kinds_of_identifiers_are_drawn_alike_however_many_there_are():
    """One identifier that begins with 1, eight that begin with 2: half of the draws each."""
    table = IdentifierTable.build([[(1, 0), *((2, n) for n in range(8))]], ["d"])
    document, task = Document("d", "a text"), build_task(TaskSection(task="lead"))
    drawn = Counter(
        example.target
        for seed in range(800)
        for example in task.examples([document], table, {}, Random(seed))
    )
    assert len(drawn) == 9
    assert drawn[1, 0] / 800 == pytest.approx(0.5, abs=0.06)
    assert all(drawn[2, n] / 800 == pytest.approx(1 / 16, abs=0.04) for n in range(8))
