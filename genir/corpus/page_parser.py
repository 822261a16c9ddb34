"""Conversion of one HTML, Markdown or plain text page to title, text and links.

Markdown is rendered to HTML first, so that one parser finds titles and links in both.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore

from genir.corpus.front_matter import never_ends, split_front_matter, title_of
from genir.corpus.markdown_table import enable_tables

HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})
HIDDEN = frozenset({"script", "style", "template", "noscript", "svg", "nav", "footer"})
"""Elements whose text is not part of a page."""
INLINE = frozenset(
    {"a", "abbr", "acronym", "b", "bdi", "bdo", "big", "blink", "button", "cite", "code", "data",
     "del", "dfn", "em", "font", "i", "img", "ins", "kbd", "label", "mark", "meter", "nobr",
     "output", "picture", "progress", "q", "rb", "rp", "rt", "rtc", "ruby", "s", "samp", "slot",
     "small", "source", "span", "strike", "strong", "sub", "sup", "time", "tt", "u", "var", "wbr"}
)  # fmt: skip
"""Elements that do not separate words; custom elements, whose names have a hyphen, do not either.
"""
READINGS = frozenset({"rt", "rp", "rtc"})
"""Parts of a `<ruby>` that repeat its word, for example in kana. Their end tags are optional."""

CONTAINERS = frozenset({"blockquote_open", "list_item_open"})
MAX_NESTING = 100
"""Levels of Markdown: a quote is one, a list two. Each takes some frames of Python's stack."""
MAX_INLINE_NESTING = 20
"""Levels of inline markup, for example emphasis in a link; the default of markdown-it."""
MAX_LINK_CHARS = 5_000_000
"""Maximum number of characters in the URLs and titles of a page's links."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """Characters [start, end) of a page's text, and the URL that they link to."""

    start: int
    end: int
    href: str


@dataclass(frozen=True, slots=True)
class Page:
    """Content of a page.

    fields: its front matter. unclosed: an unclosed element, for example "nav", that hides the rest
    of the page, or "". endless: unterminated front matter was read as text.
    """

    title: str
    text: str
    anchors: tuple[Anchor, ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict, hash=False)
    unclosed: str = ""
    endless: bool = False


def parse_html(source: str) -> Page:
    """Return a page's title (front matter, `<title>` or first heading), visible text and links.

    Raises:
        ValueError: Invalid front matter, or a declaration that the standard library cannot parse.
    """
    fields, body = split_front_matter(source)
    return _with_fields(_rendered(body, INLINE), fields, body)


def parse_markdown(source: str) -> Page:
    """Return a page's title (front matter or first heading), text and links.

    Raises:
        ValueError: The page cannot be parsed; see `parse_html`.
    """
    fields, body = split_front_matter(source)
    html = _markdown(body)
    return _with_fields(_rendered(html, INLINE | {"title"}), fields, body)


def _markdown(body: str) -> str:
    """Render Markdown to HTML.

    Raises ValueError if the HTML is far longer than its text, or the text is nested too deeply.
    """
    parser = MarkdownIt("commonmark", {"maxNesting": MAX_NESTING})
    parser.core.ruler.before("inline", "inline_nesting", _bound_inline_nesting)
    enable_tables(parser)
    environment: dict[str, Any] = {}
    tokens = parser.parse(body, environment)
    deepest = max((token.level for token in tokens if token.type in CONTAINERS), default=0)
    if deepest >= MAX_NESTING - 1:  # markdown-it would omit the content silently
        raise ValueError(
            f"its lists and quotes are nested {MAX_NESTING} levels deep or more, two for each "
            "list; nest them less"
        )
    # The URL and title of a reference are rendered at each use.
    inline = (child for token in tokens for child in token.children or ())
    if sum(len(str(value)) for token in inline for value in token.attrs.values()) > MAX_LINK_CHARS:
        raise ValueError(
            f"the addresses and titles of its links are more than {MAX_LINK_CHARS:,} characters, "
            "counted at each use; shorten the references"
        )
    return str(parser.renderer.render(tokens, parser.options, environment))


def _bound_inline_nesting(state: StateCore) -> None:
    """Bound the nesting of inline markup, whose cost grows with it for runs of brackets."""
    state.md.options["maxNesting"] = MAX_INLINE_NESTING


def _rendered(html: str, inline: Collection[str]) -> Page:
    parser = _Parser(inline)
    try:
        parser.feed(html)
        parser.close()
    except AssertionError as error:  # html.parser raises it for an invalid `<![...`
        raise ValueError(f"not HTML ({error})") from None
    return parser.page()


def _with_fields(page: Page, fields: Mapping[str, Any], body: str) -> Page:
    title = title_of(fields) or page.title
    return replace(page, title=title, fields=fields, endless=never_ends(body))


def parse_text(source: str) -> Page:
    """Return a plain text as a page without a title."""
    return Page("", source.strip())


class _Parser(HTMLParser):
    """Collects text with single spaces and counts its characters, so that link spans are valid.

    inline: elements that do not end a line; `title` is text if it is one of them, as in Markdown.
    """

    def __init__(self, inline: Collection[str]) -> None:
        super().__init__(convert_charrefs=True)
        self._inline = inline
        self._parts: list[str] = []
        self._length = 0
        self._gap = ""  # pending white space before the next word
        self._hidden: list[str] = []  # open invisible elements
        self._open = Counter[str]()  # their number by name
        self._ruby = False
        self._reading = False  # in an invisible part of a ruby
        self._verbatim = 0
        self._in_title = False
        self._title: list[str] = []
        self._heading: tuple[int, int] | None = None  # parts [start, end); end -1 while open
        self._href = ""
        self._start = -1
        self._anchors: list[Anchor] = []
        self._endless: dict[str, str] = {}  # kind of section -> text without its end

    def feed(self, data: str) -> None:
        """Parse a whole page in linear time.

        html.parser searches the end of each unclosed tag and comment up to the end of the text.
        There is none after the last >, so a < after it is passed as text, which it is anyway.
        """
        end = data.rfind(">") + 1
        super().feed(data[:end])
        # Sections go to the parser, which rejects unknown ones.
        super().feed(data[end:].replace("<", "&lt;").replace("&lt;![", "<!["))

    def parse_marked_section(self, i: int, report: bool = True) -> int:
        """Return where a section, for example <![CDATA[, ends, or -1."""
        kind = self.rawdata[i : i + 5].lower()
        return self._end_of(kind, i, super().parse_marked_section)

    def parse_comment(self, i: int, report: bool = True) -> int:
        """Return where a comment ends, or -1."""
        return self._end_of("<!--", i, super().parse_comment)

    def _end_of(self, kind: str, i: int, find: Callable[[int], int]) -> int:
        """Search an end, unless an earlier search in the same text found none."""
        if self._endless.get(kind) is self.rawdata:
            return -1
        end = find(i)
        if end < 0:
            self._endless[kind] = self.rawdata
        return end

    def page(self) -> Page:
        text = "".join(self._parts).rstrip()
        start, end = self._heading or (0, 0)
        heading = "".join(self._parts[start : end if end >= 0 else None])
        title = " ".join("".join(self._title).split()) or " ".join(heading.split())
        anchors = (Anchor(a.start, min(a.end, len(text)), a.href) for a in self._anchors)
        unclosed = next(iter(self._hidden), "title" if self._in_title else "")
        shown = tuple(a for a in anchors if a.start < a.end)
        return Page(title, text, shown, unclosed=unclosed)

    def _separate(self, tag: str) -> None:
        """Begin a line at a tag that is not inline."""
        if tag not in self._inline and "-" not in tag:
            self._gap = "\n"
            self._ruby = self._reading = False  # a ruby without an end tag ends with its line

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._separate(tag)
        if tag in ("ruby", "rb") or (tag in READINGS and self._ruby):
            self._ruby, self._reading = True, tag in READINGS
        if tag in HIDDEN:
            self._hidden.append(tag)
            self._open[tag] += 1
        elif tag == "pre":
            self._verbatim += 1
        elif tag == "title" and not self._hidden:  # an image's <title> is hidden with the image
            self._in_title = not self._title and tag not in self._inline
        elif tag in HEADINGS and self._heading is None and not self._hidden:
            self._heading = (len(self._parts), -1)
        elif tag == "a":
            self._close_anchor()
            self._href = dict(attrs).get("href") or ""

    def handle_endtag(self, tag: str) -> None:
        self._separate(tag)
        if tag == "ruby" or tag in READINGS:
            self._ruby, self._reading = self._ruby and tag != "ruby", False
        if self._open[tag]:
            self._show_after(tag)
        elif tag == "pre":
            self._verbatim = max(0, self._verbatim - 1)
        elif tag == "title":
            self._in_title = False
        elif tag in HEADINGS and self._heading and self._heading[1] < 0 and not self._hidden:
            start = self._heading[0]  # ignore a heading without text, e.g. a logo
            self._heading = (start, len(self._parts)) if len(self._parts) > start else None
        elif tag == "a":
            self._close_anchor()

    def _show_after(self, tag: str) -> None:
        """End an invisible element and, as in a browser, the elements in it."""
        last = ""
        while last != tag:
            last = self._hidden.pop()
            self._open[last] -= 1

    def _close_anchor(self) -> None:
        if self._href and self._start >= 0:
            self._anchors.append(Anchor(self._start, self._length, self._href))
        self._href, self._start = "", -1

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self._title.append(data)
        elif self._hidden or self._reading:
            return
        elif self._verbatim:
            shown = data if self._length else data.lstrip()  # a text begins with its first word
            if shown:
                self._put(shown)
        else:
            self._put_words(data)

    def _put_words(self, data: str) -> None:
        words = data.split()
        if data[:1].isspace():
            self._gap = self._gap or " "
        if words:
            self._put(" ".join(words))
            self._gap = " " if data[-1:].isspace() else ""

    def _put(self, text: str) -> None:
        gap = self._gap if self._length else ""
        if self._href and self._start < 0:
            self._start = self._length + len(gap)
        self._parts += [gap, text]
        self._length += len(gap) + len(text)
        self._gap = ""
