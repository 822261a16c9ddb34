import os

import pytest
from markdown_it import MarkdownIt

from genir.corpus.markdown_table import enable_tables
from genir.corpus.page import Anchor
from genir.corpus.page_folder import read_pages
from genir.corpus.page_parser import parse_html, parse_markdown
from genir.corpus.readers import read_corpus
from genir.corpus.skipped_items import SkippedItems
from genir.errors import InputError

HTML = """<!doctype html><html><head><title> The
 title </title><style>p {}</style></head><body><nav><a href="x">Home</a></nav>
<h1>Big</h1><p>One <b>two</b>,\n three&amp;<a href="b.html"> four </a>five.</p>
<pre>  x =  1
  y</pre><script>no()</script><ul><li>six<li>seven</ul></body></html>"""


def test_html_text_title_and_spans():
    page = parse_html(HTML)
    assert page.title == "The title"
    assert page.text == "Big\nOne two, three& four five.\n  x =  1\n  y\nsix\nseven"
    (anchor,) = page.anchors
    assert anchor.href == "b.html"
    assert page.text[anchor.start : anchor.end] == "four"


@pytest.mark.parametrize("before", ["", "first"])
def test_lines_of_code_stay_wherever_a_page_has_them(before):
    lines = "line one\n  line two"
    right = f"{before}\n{lines}" if before else lines
    for page in (
        parse_markdown(f"{before}\n\n```\n{lines}\n```"),
        parse_html(f"<title>T</title>{before}<pre>{lines}\n</pre>"),
        parse_html(f"{before}<pre><b>line</b> one\n  line two</pre>"),
    ):
        assert page.text == right


def test_a_page_that_begins_with_blank_code_begins_with_its_first_word():
    page = parse_html('<pre>\n \n</pre><pre>\n\n  <a href="x">a\n b</a>\nc</pre>d')
    assert page.text == "a\n b\nc\nd"
    assert page.anchors == (Anchor(0, 4, "x"),)


def test_html_without_title_has_its_first_heading():
    assert parse_html("<p>x</p><h2>First <i>one</i></h2><h1>Second</h1>").title == "First one"


@pytest.mark.parametrize("source", ["<a href='x'>", "<p>a<a href='x'> </a>b", "<a href=x>a<a>b"])
def test_anchors_hold_text(source):
    page = parse_html(source)
    assert all(page.text[a.start : a.end].strip() for a in page.anchors)


def test_markdown():
    page = parse_markdown(
        "Intro\n\n# Head *line*\n\nSee [this page](a.md#x).\n\n| a | b |\n|-|-|\n"
    )
    assert page.title == "Head line"
    assert page.text == "Intro\nHead line\nSee this page.\na\nb"
    assert page.anchors == (Anchor(20, 29, "a.md#x"),)


def test_front_matter_is_no_text_and_may_hold_the_title():
    page = parse_markdown('---\nlayout: x\ntitle: "A: b"\n---\n# Other\n\ntext\n')
    assert (page.title, page.text) == ("A: b", "Other\ntext")


@pytest.fixture
def site(tmp_path):
    files = {
        "index.md": "# Home\n\n[install](guide/install.md) [up](guide/) [out](https://y.org/a)\n",
        "guide/index.html": "<h1>Guide</h1><a href='install'>i</a> <a href='/index'>home</a>",
        "guide/install.md": "# Install\n\n[home](../index.md) [self](#x) "
        "[full](https://x.org/docs/a%20b) [bad](http://[)\n",
        "a b.txt": "plain text",
        ".hidden/x.md": "secret",
        "picture.png": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_a_folder_of_pages(site):
    documents = {d.key: d for d in read_corpus(site, base_url="https://x.org/docs/")}
    assert list(documents) == ["a b.txt", "guide/index.html", "guide/install.md", "index.md"]
    assert documents["a b.txt"].url == "https://x.org/docs/a%20b"
    assert documents["a b.txt"].title == "A b"
    assert documents["guide/install.md"].title == "Install"
    links = {
        k: [(d.text[x.start : x.end], x.target) for x in d.links] for k, d in documents.items()
    }
    assert links == {
        "a b.txt": [],
        "guide/index.html": [("i", "guide/install.md")],
        "guide/install.md": [("home", "index.md"), ("full", "a b.txt")],
        "index.md": [("install", "guide/install.md"), ("up", "guide/index.html")],
    }


def test_without_a_base_url_paths_stand_alone(site):
    documents = {d.key: d for d in read_corpus(site)}
    assert documents["guide/install.md"].url == "guide/install"
    assert [x.target for x in documents["guide/index.html"].links] == [
        "guide/install.md",
        "index.md",
    ]


@pytest.mark.parametrize(
    "source",
    [
        "<nav><h2>Menu</h2></nav><h1>Real</h1><p>x</p>",
        "<h1><img src='logo.png'></h1><h1>Real</h1><p>x</p>",
        "<h1></h1><h2>Real</h2><h1>Other</h1>",
        "<h1><svg><h2>no</h2></svg></h1><h2>Real</h2>",
    ],
)
def test_a_heading_without_visible_text_is_no_title(source):
    assert parse_html(source).title == "Real"


def test_a_logo_is_no_title_in_markdown():
    assert parse_markdown("# ![logo](l.png)\n\n# Real\n\nx\n").title == "Real"


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("Use the <title> tag to set it.\n\nMore.\n", "Use the tag to set it.\nMore."),
        ("a <title>b</title> c\n", "a b c"),
    ],
)
def test_a_title_element_in_markdown_is_text(source, text):
    page = parse_markdown(source)
    assert (page.title, page.text, page.unclosed) == ("", text, "")


def test_a_title_that_never_ends_is_said(tmp_path, caplog):
    (tmp_path / "a.html").write_text("<p>x <title>y</p><p>z</p>")
    assert [document.text for document in read_corpus(tmp_path)] == ["x"]
    assert "the text behind a <title> that never ends is not read: 1 ('a.html')" in caplog.text
    (tmp_path / "a.html").write_text("<head><title>Page</head><body>text</body>")
    with pytest.raises(
        InputError, match=r"a\.html: no visible text: .* in an unclosed <title>; clo"
    ):
        list(read_corpus(tmp_path))


@pytest.mark.parametrize("definition", ["[x]: {}", "[x]: y '{}'"])
def test_a_long_reference_that_is_used_often_is_refused(definition):
    long = "u" * 20_000
    with pytest.raises(ValueError, match=r"links are more than 5,000,000 characters, .*; shorten"):
        parse_markdown(definition.format(long) + "\n\n" + "[x] " * 20_000)
    page = parse_markdown(f"[x]: {long}\n\n[x] and [x]\n")
    assert (page.text, [one.href for one in page.anchors]) == ("x and x", [long, long])


def test_byte_order_marks_before_a_page_are_no_text(tmp_path):
    (tmp_path / "a.md").write_text("\ufeff\ufeff---\ntitle: T\n---\nWords.\n")
    assert [(d.title, d.text) for d in read_corpus(tmp_path)] == [("T", "Words.")]


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ("| 1 | 2 | more |\n", "a\nb\n1\n2\nmore"),
        ("| 1 \\| 2 | `x|y` |\n", "a\nb\n1 | 2\n`x\ny`"),
        ("1\n|\n||\n|3|\n", "a\nb\n1\n3"),
        ("1\n> quoted\n", "a\nb\n1\nquoted"),
        ("1\n\nbehind|it\n", "a\nb\n1\nbehind|it"),
        ("1\n    indented|code\n", "a\nb\n1\nindented|code"),
    ],
)
def test_each_written_cell_of_a_markdown_table_is_read(rows, text):
    page = parse_markdown("| a | b |\n|---|:-:|\n" + rows)
    assert page.text == text


def test_a_table_ends_with_its_list():
    page = parse_markdown("- x\n\n  a|b\n  -|-\n  1|[2](x.md)\nbehind|it\n")
    assert (page.text, [one.href for one in page.anchors]) == ("x\na\nb\n1\n2\nbehind|it", ["x.md"])


def test_rows_of_a_markdown_table_are_not_filled():
    source = "|".join("a" * 250) + "\n" + "|".join("-" * 250) + "\n" + "a\n" * 250
    parser = MarkdownIt("commonmark")
    enable_tables(parser)
    assert len(parser.parse(source)) == 3 * (250 + 250)


@pytest.mark.parametrize("name", [b"caf\xe9.md", b"\xe9/a.md"])
def test_a_name_that_is_not_utf8_is_named(tmp_path, name):
    file = tmp_path / os.fsdecode(name)
    file.parent.mkdir(exist_ok=True)
    file.write_text("Words.\n")
    with pytest.raises(InputError, match=r"name is not UTF-8 \(byte 0xe9\); rename the file"):
        list(read_corpus(tmp_path))


def test_deeply_nested_markdown_is_read_whole_or_refused():
    for depth in (14, 49):
        source = "".join("  " * level + f"- level{level}\n" for level in range(depth))
        assert parse_markdown(source).text.split() == [f"level{n}" for n in range(depth)]
    assert parse_markdown(">" * 99 + " hi\n\nafter").text.split() == ["hi", "after"]
    for source in (">" * 100 + " hi\n\nafter", "- " * 50 + "hi"):
        with pytest.raises(ValueError, match="lists and quotes are nested 100 levels deep or more"):
            parse_markdown(source)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("<p>日本<ruby>語<rt>ご</rt></ruby>を読む", "日本語を読む"),
        ("<ruby>学<rp>(</rp><rt>まな</rt><rp>)</rp></ruby>ぶ", "学ぶ"),
        ("<ruby>漢<rt>かん<rb>字<rt>じ</ruby>を", "漢字を"),
        ("<ruby>漢<rtc><rt>カン</rt></rtc></ruby>字", "漢字"),
        ("<p>漢<ruby>字<rt>じ</p><p>次</p>", "漢字\n次"),
        ("<rt>no ruby</rt>", "no ruby"),
        ("un<label>la</label>bel<data value=1>led</data>", "unlabelled"),
        ("W<acronym>e</acronym>b s<slot>lo</slot>t b<button>utto</button>n", "Web slot button"),
        ("a<x-icon></x-icon>b<my-word>c</my-word>d", "abcd"),
        ("a<output>b</output>c<center>d</center>e", "abc\nd\ne"),
    ],
)
def test_inline_elements_do_not_separate_words(source, text):
    assert parse_html(source).text == text
    assert parse_markdown(source).text == text


@pytest.mark.parametrize(
    ("source", "text", "unclosed"),
    [
        ("<noscript><nav></noscript>text", "text", ""),
        ("<nav><svg>menu</nav>text", "text", ""),
        ("<nav>a</footer>b</nav>text", "text", ""),
        ("text<nav><svg></svg><footer></footer>menu", "text", "nav"),
        ("text<noscript><nav></noscript><svg>", "text", "svg"),
    ],
)
def test_a_hidden_element_ends_with_its_own_tag(source, text, unclosed):
    page = parse_html(source)
    assert (page.text, page.unclosed) == (text, unclosed)


def test_models_and_reports_in_the_folder_are_no_pages(tmp_path):
    (tmp_path / "page.md").write_text("# Page\n\nText of a page.\n")
    for name, files in (
        ("models/one", ("recipe.toml", "manifest.json", "MODEL_CARD.md")),
        ("one.training/prepared", ("recipe.toml", "manifest.json", "MODEL_CARD.md")),
        ("report", ("report.md", "evaluation.json")),
        ("manual", ("manifest.json", "report.md")),
    ):
        (tmp_path / name).mkdir(parents=True)
        for file in files:
            (tmp_path / name / file).write_text(f"text of {file}")
    notes = SkippedItems(str(tmp_path))
    keys = [document.key for document in read_pages(tmp_path, "", notes)]
    assert keys == ["manual/report.md", "page.md"]
    assert notes.counts["models and reports of genir are not read"] == 3
