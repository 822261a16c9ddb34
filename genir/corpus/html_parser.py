"""Conversion of HTML to title, text, links, sections and code blocks."""

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from urllib.parse import unquote

from genir.corpus.page import Anchor, Page
from genir.types import Section

HEADINGS = {f"h{level}": level for level in range(1, 7)}
TERM_LEVEL = 7
"""Level of the section that a described object begins: a `<dt>` with an anchor."""
SECTIONING = frozenset({"section", "div", "article"})
"""Elements whose anchor belongs to the heading at their start, as docutils writes it."""
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
Attributes = dict[str, str | None]


def parse_html_text(html: str, inline: Collection[str], main_only: bool = False) -> Page:
    """Return the title (`<title>` or first heading), visible text, links, sections and code.

    Args:
        html: The page.
        inline: Elements that do not end a line; `title` is text if it is one of them.
        main_only: Whether only the main content of the page is read, if it is marked: a single
            `<article>`, `<main>` or `role="main"`.

    Raises:
        ValueError: A declaration that the standard library cannot parse.
    """
    parser = _Parser(inline)
    try:
        parser.feed(html)
        parser.close()
    except AssertionError as error:  # html.parser raises it for an invalid `<![...`
        raise ValueError(f"not HTML ({error})") from None
    return parser.page(main_only)


@dataclass
class _Heading:
    """A heading: its level, anchor, first part and character, and text once it has ended."""

    level: int
    anchor: str
    part: int
    start: int = -1
    text: str = ""


@dataclass
class _Region:
    """Characters [start, end) of an element with main content. open: its unclosed tags."""

    tag: str
    start: int
    end: int = -1
    open: int = 1


class _Parser(HTMLParser):
    """Collects text with single spaces and counts its characters, so that spans are valid.

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
        self._heading: _Heading | None = None  # the open one
        self._headings: list[_Heading] = []
        self._outer = ("", 0)  # anchor of the last sectioning element, and the text before it
        self._href = ""
        self._start = self._part = -1  # first character and part of the open link
        self._anchors: list[Anchor] = []
        self._code: list[tuple[int, int]] = []
        self._code_start = -1
        self._regions: dict[str, list[_Region]] = {"article": [], "main": []}
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

    def page(self, main_only: bool) -> Page:
        """Return the page that was fed."""
        self._end_heading()
        self._end_code()
        text = "".join(self._parts).rstrip()
        anchors = (Anchor(a.start, min(a.end, len(text)), a.href) for a in self._anchors)
        code = ((start, min(end, len(text))) for start, end in self._code)
        page = Page(
            "",
            text,
            tuple(a for a in anchors if a.start < a.end),
            unclosed=next(iter(self._hidden), "title" if self._in_title else ""),
            sections=tuple(Section(h.start, h.level, h.text, h.anchor) for h in self._headings),
            code=tuple(block for block in code if block[0] < block[1]),
        )
        title = " ".join("".join(self._title).split())
        page = _cut(page, self._main(text)) if main_only else page
        return replace(page, title=_title(title, page.sections))

    def _main(self, text: str) -> tuple[int, int]:
        """Return the characters of the main content."""
        articles, mains = self._regions["article"], self._regions["main"]
        firsts = [one.start for one in self._headings if one.level == 1]
        for region in (*(articles if len(articles) == 1 else ()), *mains[:1]):
            end = len(text) if region.end < 0 else region.end
            outside = firsts and not any(region.start <= start < end for start in firsts)
            if text[region.start : end].strip() and not outside:
                return region.start, end
        return 0, len(text)

    def _separate(self, tag: str) -> None:
        """Begin a line at a tag that is not inline."""
        if tag not in self._inline and "-" not in tag:
            self._gap = "\n"
            self._ruby = self._reading = False  # a ruby without an end tag ends with its line

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._separate(tag)
        own = dict(attrs)
        if tag in ("ruby", "rb") or (tag in READINGS and self._ruby):
            self._ruby, self._reading = True, tag in READINGS
        if tag in HIDDEN:
            self._hidden.append(tag)
            self._open[tag] += 1
        elif self._hidden:
            return
        elif tag == "pre":
            self._verbatim += 1
        elif tag == "title":
            self._in_title = not self._title and tag not in self._inline
        elif tag == "a":
            self._close_anchor()
            self._href = own.get("href") or ""
        else:
            self._start_block(tag, own)

    def _start_block(self, tag: str, attrs: Attributes) -> None:
        """Begin a heading, a described object, or an element with an anchor or main content."""
        anchor = attrs.get("id") or ""
        for regions in self._regions.values():
            for region in regions[-1:]:
                region.open += region.end < 0 and region.tag == tag
        kind = "main" if "main" in (tag, attrs.get("role")) else tag
        if kind in self._regions and not any(one.end < 0 for one in self._regions[kind]):
            self._regions[kind].append(_Region(tag, self._length))
        if tag in SECTIONING:
            self._outer = (anchor, self._length)
        elif tag in HEADINGS or (tag == "dt" and anchor):
            self._end_heading()
            if not anchor and self._outer[1] == self._length:
                anchor = self._outer[0]
            self._heading = _Heading(HEADINGS.get(tag, TERM_LEVEL), anchor, len(self._parts))

    def handle_endtag(self, tag: str) -> None:
        self._separate(tag)
        if tag == "ruby" or tag in READINGS:
            self._ruby, self._reading = self._ruby and tag != "ruby", False
        if self._open[tag]:
            self._show_after(tag)
        elif tag == "pre":
            self._verbatim = max(0, self._verbatim - 1)
            self._end_code()
        elif tag == "title":
            self._in_title = False
        elif tag == "a":
            self._close_anchor()
        elif not self._hidden:
            self._end_block(tag)

    def _end_block(self, tag: str) -> None:
        if tag in HEADINGS or tag == "dt":
            self._end_heading()
        for regions in self._regions.values():
            for region in regions[-1:]:
                region.open -= region.end < 0 and region.tag == tag
                if region.end < 0 and not region.open:
                    region.end = self._length

    def _end_heading(self) -> None:
        """End the open heading; one without text, e.g. a logo, is ignored."""
        heading, self._heading = self._heading, None
        if heading is not None and heading.start >= 0:
            heading.text = " ".join("".join(self._parts[heading.part :]).split())
            self._headings.append(heading)

    def _end_code(self) -> None:
        if not self._verbatim and self._code_start >= 0:
            self._code.append((self._code_start, self._length))
            self._code_start = -1

    def _show_after(self, tag: str) -> None:
        """End an invisible element and, as in a browser, the elements in it."""
        last = ""
        while last != tag:
            last = self._hidden.pop()
            self._open[last] -= 1

    def _close_anchor(self) -> None:
        """End a link. One to an anchor without letters, e.g. of a heading to itself, is no text."""
        if self._href and self._start >= 0:
            text = self._parts[self._part :] if self._href.startswith("#") else ["a"]
            if any(character.isalnum() for part in text for character in part):
                self._anchors.append(Anchor(self._start, self._length, self._href))
            else:
                self._remove_link(text)
        self._href, self._start = "", -1

    def _remove_link(self, parts: list[str]) -> None:
        del self._parts[self._part :]
        self._length -= sum(map(len, parts))
        if self._heading is not None:
            self._heading.anchor = self._heading.anchor or unquote(self._href[1:])
            if self._heading.start >= self._length:
                self._heading.start = -1

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
        start = self._length + len(gap)
        if self._href and self._start < 0:
            self._start, self._part = start, len(self._parts)
        if self._heading is not None and self._heading.start < 0:
            self._heading.start = start
        if self._verbatim and self._code_start < 0:
            self._code_start = start
        self._parts += [gap, text]
        self._length += len(gap) + len(text)
        self._gap = ""


def _title(title: str, sections: tuple[Section, ...]) -> str:
    """Return a page's title: the first heading, unless `<title>` says something else.

    The title of a site's page often ends with the name of the site.
    """
    first = next((one for one in sections if one.level < TERM_LEVEL), None)
    heading = first.title if first else ""
    return heading if heading and (not title or heading in title) else title


def _cut(page: Page, span: tuple[int, int]) -> Page:
    """Return the part of a page in a span of characters."""
    start, end = span
    text = page.text[start:end]
    start += len(text) - len(text.lstrip())
    text = text.strip()
    end = start + len(text)
    return replace(
        page,
        text=text,
        anchors=tuple(
            Anchor(a.start - start, a.end - start, a.href)
            for a in page.anchors
            if start <= a.start and a.end <= end
        ),
        sections=tuple(
            replace(one, start=one.start - start)
            for one in page.sections
            if start <= one.start < end
        ),
        code=tuple((a - start, b - start) for a, b in page.code if start <= a and b <= end),
    )
