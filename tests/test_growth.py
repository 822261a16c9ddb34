"""Time complexity of text processing: the input is doubled four times, with ordinary and with
adversarial texts.

The measure is CPU time of this thread, the minimum over all rounds for each size, because a busy
machine only adds time. A quadratic function takes twice its linear time at each doubling; the limit
is 1.3 times.
"""

import gc
from contextlib import suppress
from random import Random
from time import thread_time

import pytest

from genir.baselines.bm25 import Bm25
from genir.config import PseudoQueriesSection
from genir.corpus.front_matter import split_front_matter
from genir.corpus.page_parser import parse_html, parse_markdown
from genir.corpus.readers import read_corpus
from genir.corpus.sentence_queries import make_sentence_queries
from genir.corpus.snippet import MAX_SNIPPET_CHARS, snippet
from genir.corpus.store import DocumentStore
from genir.corpus.tokens import characters, index_terms, terms, without_punctuation, words
from genir.corpus.typos import letters_of, misspelt
from genir.generation.queries import prompt
from genir.identifiers.ngram import windows
from genir.identifiers.passage import document_passages
from genir.identifiers.table import IdentifierTable
from genir.tasks import chunking
from genir.tasks.hyperlinks import anchors
from genir.tasks.registry import TASKS
from genir.training.dev_split import make_dev_split
from genir.types import Document, Link

DOUBLINGS = 4
LIMIT = 1.3
ROUNDS = 12
SLOW = 2.0
"""Maximum seconds of a measured run."""


def seconds(work, given):
    best, spent = float("inf"), 0.0
    for _ in range(5):
        began = thread_time()
        work(given)
        took = thread_time() - began
        best, spent = min(best, took), spent + took
        if spent > 0.02:
            break
    return best


def growth(times):
    """Return the factor per doubling beyond twice the time, as a geometric mean."""
    return (times[-1] / times[0]) ** (1 / (len(times) - 1)) / 2


def times_of(make, work, size):
    """Return the seconds at each size, up to the first that is too slow."""
    times = [seconds(work, make(size))]
    for doubling in range(1, DOUBLINGS + 1):
        times.append(seconds(work, make(size * 2**doubling)))
        if times[-1] > SLOW:
            break
    return times


@pytest.fixture(autouse=True)
def _without_collector():
    """Disable garbage collection during a measurement."""
    gc.disable()
    yield
    gc.enable()


def assert_linear(make, work, size):
    best = times_of(make, work, size)
    for _ in range(ROUNDS - 1):
        if growth(best) < LIMIT:
            return
        again = times_of(make, work, size)
        best = [min(pair) for pair in zip(best, again, strict=False)]
    assert growth(best) < LIMIT, f"each doubling takes {growth(best):.2f} times its share: {best}"


def repeated(part):
    return lambda size: (part * (size // len(part) + 1))[:size]


TEXTS = {
    "prose": repeated("Some words, and a few more. Other words follow here! "),
    "lines": repeated("error in worker 7\n"),
    "one word": repeated("a"),
    "blank": repeated(" "),
    "blank lines": repeated("\n \n"),
    "a full stop and blanks": lambda size: "a." + " " * size + "a",
    "exclamation marks": repeated("!"),
    "full stops": repeated(". "),
    "hyphens inside a word": lambda size: "a" + "-" * size + "b",
    "Han": repeated("请提前两周申请休假。"),
    "Han without a full stop": repeated("目录"),
    "Han behind brackets": lambda size: "(" * size + "字",
    "ideographic full stops": repeated("\u3002"),
    "closing quotes": lambda size: "\u3002" + "」" * size,
    "Latin in Han": lambda size: "字" + "a-" * (size // 2),
    "Thai": repeated("ก็ทำ ไม่"),
    "Thai and blanks": lambda size: "ก" + " " * size + "a",
    "Khmer stacks": repeated("ក្"),
    "marks alone": repeated("\u0301"),
    "marks on a letter": lambda size: "字" + "\u0301" * size,
    "letters that get longer": repeated("İ"),
    "emoji": repeated("👩\u200d"),
}  # fmt: skip
PARTS = {
    "words": words,
    "terms": terms,
    "index terms": index_terms,
    "characters": characters,
    "without punctuation": without_punctuation,
    "sentences": chunking.sentences,
    "lead": lambda text: chunking.lead(text, 32),
    "pieces": lambda text: chunking.clauses(text, 10**9, 5),
    "first section": chunking.first_section,
    "misspelt": lambda text: misspelt(text, ["a"], Random(0)),
    "letters": lambda text: letters_of([text]),
    "held out": lambda text: make_sentence_queries([Document("a", text)], 0.5, 0),
    "passages": lambda text: document_passages(Document("a", text), 10, 10**9),
    "prompt": lambda text: prompt(Document("a", text), PseudoQueriesSection(drop=0.5), Random(0)),
}


@pytest.mark.parametrize("part", PARTS)
def test_parts_of_texts(part):
    for text in TEXTS.values():
        assert_linear(text, PARTS[part], 1_000)


QUERIES = {
    "words": "which worker had an error of some words",
    "letters": "a b c d e",
    "Han": "怎么申请休假目录",
    "one word's beginnings": " ".join("a" * length for length in range(1, 40)),
    "Thai": "ก็ทำไม่",
}


@pytest.mark.parametrize("query", QUERIES)
def test_snippets(query):
    for text in TEXTS.values():
        assert_linear(text, lambda given: snippet(given, QUERIES[query]), 1_000)


def test_a_snippet_reads_a_bounded_part_of_a_text():
    found = []
    for size in (2 * MAX_SNIPPET_CHARS, 20 * MAX_SNIPPET_CHARS):
        text = TEXTS["lines"](size)
        found.append(min(seconds(lambda t: snippet(t, QUERIES["words"]), text) for _ in range(5)))
    assert found[1] < 2 * found[0]


def linked(text):
    """Return a page with one link per 40 characters, and the linked page."""
    links = tuple(Link(at, at + 3, "b") for at in range(0, len(text) - 4, 40))
    return [Document("a", text, "a title", links=links), Document("b", "Other words.", "a title")]


@pytest.mark.parametrize("name", [name for name in TASKS if name != "pseudo-queries"])
def test_tasks(name):
    kind = TASKS[name]
    options = {"page": 1, "shortest": 1} if name in ("iss", "lps", "hip") else {}
    table = IdentifierTable.build([[(0, 0)], [(0, 1)]], ["a", "b"])
    queries = {"a": ["some words", "休假"]}

    def work(corpus):
        return list(kind(kind.Options(**options)).examples(corpus, table, queries, Random(0)))

    # These two skip the links of a page's first sentences, which are most links of a short page.
    smallest = 8_000 if name in ("hip", "rqp") else 1_000
    for text in ("prose", "one word", "full stops", "Han", "Latin in Han", "marks alone"):
        assert_linear(lambda size: linked(TEXTS[text](size)), work, smallest)  # noqa: B023


def test_links_that_overlap():
    table = IdentifierTable.build([[(0, 0)], [(0, 1)]], ["a", "b"])

    def document(size):
        text = "word " * size
        links = (Link(at, len(text) - at, "b") for at in range(0, size, 10))
        return Document("a", text, links=tuple(links))

    assert_linear(document, lambda given: anchors(given, table), 1_000)


def test_a_long_page_that_many_links_lead_to():
    table = IdentifierTable.build([[(0, 0)], [(0, 1)], [(0, 2)]], ["a", "b", "c"])

    def corpus(size):
        spans = (
            (4 * at + place, target) for at in range(size) for place, target in ((0, "b"), (2, "c"))
        )
        links = tuple(Link(start, start + 1, target) for start, target in spans)
        hub = "".join(f"w{n} " for n in range(50 * size))
        return [Document("a", "x y\n" * size, links=links), Document("b", hub), Document("c", "z")]

    def work(given):
        acm = TASKS["acm"]
        assert (
            len(list(acm(acm.Options()).examples(given, table, {}, Random(0))))
            == len(given[0].links) // 2
        )

    assert_linear(corpus, work, 15)


def documents(
    size, text="Some words number {n} of it. It is another sentence that asks {n} times. "
):
    return [Document(str(n), 3 * text.format(n=n), f"title {n}") for n in range(size)]


CORPORA = {
    "different": documents,
    "equal": lambda size: documents(size, "It is one of many equal sentences here. "),
    "alike": lambda size: documents(size, "It is one of the first of all numbers, like {n}. "),
}
READERS = {
    "held out": lambda corpus: make_sentence_queries(corpus, 0.5, 0),
    "BM25": lambda corpus: Bm25.fit(corpus).search(["some words of it"], 10),
    "dev questions": lambda corpus: make_dev_split(corpus, {}, len(corpus), 0),
    "tables": lambda corpus: IdentifierTable.build(
        [[(n // 100, n % 100)] for n in range(len(corpus))], [d.key for d in corpus]
    ),
}  # fmt: skip


@pytest.mark.parametrize("reader", READERS)
def test_corpora(reader):
    for corpus in CORPORA.values():
        assert_linear(corpus, READERS[reader], 20)


def test_one_long_document_loses_many_sentences():
    def page(size):
        made = (f"The sentence of number {'abcdefghij'[n % 10] * (n // 10 + 1)} ends here. "
                for n in range(size))  # fmt: skip
        return [Document("a", "".join(made))]

    assert_linear(page, lambda corpus: make_sentence_queries(corpus, 0.5, 0), 20)


HTML = {
    "prose": "<p>Some <b>words</b> &amp; others.</p>\n",
    "links": '<a href="x.html">words</a> ',
    "nested": "<div>",
    "nested and hidden": "<nav>",
    "closed and hidden": "</nav>",
    "unclosed links": "<a href=x>words ",
    "unclosed tags": "<a ",
    "unclosed attributes": "<a b='",
    "unclosed comments": "<!-- ",
    "comments that never end": "<!-- x>",
    "unclosed sections": "<![CDATA[ x>",
    "unclosed conditions": "<![if x ",
    "unclosed instructions": "<? ",
    "unclosed ends": "</",
    "signs": "<",
    "references": "&a",
    "titles": "<title>",
    "preformatted": "<pre> x\n",
    "equal attributes": "<a href='x' ",
    "signs of attributes": "<a =",
    "slashes": "<a/",
    "numbers": "&#x10ffff;&#9999999",
    "formatting": "<b><p>x</b>",
    "tables": "<table><tr><td>",
    "declarations": "<!DOCTYPE a [<!x ",
    "scripts": "<script></scrip",
}


@pytest.mark.parametrize("source", HTML)
def test_html(source):
    assert_linear(repeated(HTML[source]), parse_html, 1_000)


def test_hidden_elements_inside_each_other():
    assert_linear(lambda size: "<nav>" * size + "x" + "</nav>" * size, parse_html, 2_000)


FRONT_MATTER = {
    "base 60": ('---\na: !!int "1', ":1", '"\n---\n'),
    "dotted keys": ("+++\na", ".a", " = 1\n+++\n"),
    "quoted keys": ("+++\na", ".'a'", " = 1\n+++\n"),
    "long keys": ("+++\n", "a", " = 1\n+++\n"),
    "dotted tables": ("+++\n[", "a.", "]\n+++\n"),
    "keys of a table": ("+++\nx = {", "'a' . ", "}\n+++\n"),
    "arrays": ("+++\nx = ", "[", "\n+++\n"),
    "lists": ("---\na: ", "[", "\n---\n"),
    "mappings": ("---\na: ", "{a: ", "\n---\n"),
    "braces": ("---\na: ", "{", "\n---\n"),
    "lines of text": ("---\na: ", "a\n ", "\n---\n"),
    "JSON": ('{\n"x": ', "[", "\n}\n"),
    "lines": ("---\n", "- a\n", "---\n"),
    "commas": ("+++\na = [", ",", "]\n+++\n"),
    "aliases": ("---\na: &a 1\nb: [", "*a, ", "]\n---\n"),
}


@pytest.mark.parametrize("name", FRONT_MATTER)
def test_front_matter(name):
    start, part, end = FRONT_MATTER[name]

    def work(source):
        with suppress(ValueError):  # an error must take linear time, too
            split_front_matter(source)

    assert_linear(lambda size: start + part * size + end, work, 500)


MARKDOWN = {
    "prose": "Some *words* and `code`.\n\n",
    "lists": "- item\n",
    "headings": "# heading\n",
    "tables": "a|b\n-|-\n",
    "brackets": "[",
    "links": "[a](",
    "emphasis": "*a ",
    "code": "`a",
    "quotes": "> > - a\n\n",
    "comments": "<!-- ",
    "escapes": "\\",
    "images": "![",
    "references": "[a]: <b\n[a]\n",
    "rules": "* ",
    "nested lists": "- - - a\n",
    "addresses": "<a@b.",
}


@pytest.mark.parametrize("source", MARKDOWN)
def test_markdown(source):
    assert_linear(repeated(MARKDOWN[source]), parse_markdown, 1_000)


def test_wide_tables_of_short_rows():
    def page(size):
        return "|".join("a" * size) + "\n" + "|".join("-" * size) + "\n" + "a\n" * size

    assert_linear(page, parse_markdown, 15)


def test_lines_of_a_corpus(tmp_path):
    def written(size):
        file = tmp_path / f"{size}.jsonl"
        rows = (f'{{"_id": "{n}", "text": "some words", "tag": "t{n}"}}\n' for n in range(size))
        file.write_text("".join(rows), encoding="utf-8")
        return file

    assert_linear(written, lambda file: list(read_corpus(file)), 100)


def test_conditions_of_many_values(tmp_path):
    made = (Document(str(n), "text", metadata={"tag": f"t{n}"}) for n in range(100))
    store = DocumentStore.create(tmp_path / "store.sqlite", made)

    def work(values):
        store._masks.clear()
        assert store.matching({"tag": values}).sum() == 100

    assert_linear(lambda size: [f"t{n}" for n in range(size)], work, 1_000)
    store.close()


def test_ngrams_of_tokens():
    assert_linear(lambda size: [n % 7 for n in range(size)], lambda t: windows(t, 10, 9), 2_000)
    assert_linear(lambda size: list(range(size)), lambda t: windows(t, 10, -1), 2_000)
