"""Anchors of headings, as site generators make them from the headings of a page.

Each class follows one implementation: how a heading becomes an identifier, and how a repeated one
is numbered.
"""

import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar, NamedTuple

import regex

_GITHUB = regex.compile(r"[^\p{Alphabetic}\p{M}\p{Nd}\p{Nl}\p{Pc}\- ]")
_GITHUB_WORD = regex.compile(r"[^\p{Word}\- \t]")
_HUGO = regex.compile(r"[^\p{L}\p{Nd}_\- ]")
_DASHES = re.compile(r"(?<= )-{2,3}(?= )")
_WORD = re.compile(r"[^\w\s-]")
_NUMBERED = re.compile(r"^(.*)_([0-9]+)$", re.DOTALL)


class Heading(NamedTuple):
    """A heading: its text without markup, and its explicit anchor, or ""."""

    text: str
    anchor: str = ""


class Slugs(ABC):
    """Anchors of a page's headings in order.

    Args:
        explicit: The explicit anchors of the whole page.

    Attributes:
        reads_images: The alternative text of an image is text of a heading.
    """

    reads_images: ClassVar[bool] = False

    def __init__(self, explicit: Iterable[str] = ()) -> None:
        self._used = dict.fromkeys(filter(None, explicit), 0)

    def anchor(self, heading: Heading) -> str:
        """Return the anchor of the next heading; "" if it has none."""
        return heading.anchor or self._unique(self.slug(heading))

    @abstractmethod
    def slug(self, heading: Heading) -> str:
        """Return the anchor of a heading before it is numbered."""

    def _unique(self, slug: str) -> str:
        """Number a repeated anchor: `a`, `a-1`, `a-2`; one that a heading has as such is skipped.

        As github-slugger does.
        """
        found = slug
        while found in self._used:
            self._used[slug] += 1
            found = f"{slug}-{self._used[slug]}"
        self._used[found] = 0
        return found


class GitHubSlugs(Slugs):
    """github-slugger, of Docusaurus and many others. Explicit anchors do not count."""

    reads_images = True

    def __init__(self, explicit: Iterable[str] = ()) -> None:
        super().__init__()

    def slug(self, heading: Heading) -> str:
        """Return the lower-case text; only letters, digits, `-`, `_` and, as `-`, spaces stay."""
        return _GITHUB.sub("", heading.text.lower()).replace(" ", "-")


class PythonMarkdownSlugs(Slugs):
    """The extension `toc` of Python-Markdown with its function `slugify`."""

    unicode: ClassVar[bool] = False

    def slug(self, heading: Heading) -> str:
        """Return the lower-case words, joined by `-`."""
        text = heading.text
        if not self.unicode:
            text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")
        return re.sub(r"[-\s]+", "-", _WORD.sub("", text).strip().lower())

    def _unique(self, slug: str) -> str:
        while slug in self._used or not slug:
            numbered = _NUMBERED.match(slug)
            slug = f"{numbered[1]}_{int(numbered[2]) + 1}" if numbered else f"{slug}_1"
        self._used[slug] = 0
        return slug


class UnicodePythonMarkdownSlugs(PythonMarkdownSlugs):
    """`toc` with `slugify_unicode`."""

    unicode = True


class PymdownSlugs(PythonMarkdownSlugs):
    """`toc` with `pymdownx.slugs.slugify(case="lower")`, which keeps letters of all scripts."""

    def slug(self, heading: Heading) -> str:
        """Return the lower-case text without punctuation; each space becomes `-`."""
        text = unicodedata.normalize("NFC", heading.text)
        return re.sub(r"\s", "-", _WORD.sub("", text).strip().lower())


class HugoSlugs(Slugs):
    """Hugo with its default `autoIDType = "github"`. A typographic dash, `--`, is no text."""

    reads_images = True

    def slug(self, heading: Heading) -> str:
        """Return the lower-case letters, digits and `_`; spaces and `-` become `-`."""
        text = _DASHES.sub("", heading.text)
        return _HUGO.sub("", text.lower()).replace(" ", "-") or "heading"

    def _unique(self, slug: str) -> str:
        found, number = slug, 0
        while found in self._used:
            number += 1
            found = f"{slug}-{number}"
        self._used[found] = 0
        return found


class KramdownSlugs(Slugs):
    """kramdown's GitHub parser, the default of Jekyll. A typographic dash, `--`, is no text."""

    def slug(self, heading: Heading) -> str:
        """Return the lower-case text; only word characters, `-` and, as `-`, blanks stay."""
        text = _DASHES.sub("", heading.text)
        return re.sub(r"[ \t]", "-", _GITHUB_WORD.sub("", text.lower()))

    def _unique(self, slug: str) -> str:
        number = self._used.get(slug, -1) + 1
        self._used[slug] = number
        return f"{slug}-{number}" if number else slug


class DocutilsSlugs(Slugs):
    """Docutils, Sphinx and MyST: `make_id`; a repeated or empty one is `id1`, `id2`, ..."""

    def __init__(self, explicit: Iterable[str] = ()) -> None:
        super().__init__(explicit)
        self._number = 0

    def slug(self, heading: Heading) -> str:
        """Return the ASCII letters and digits in lower case; other runs become `-`."""
        from docutils.nodes import make_id  # slow to import

        return str(make_id(" ".join(heading.text.lower().split())))

    def _unique(self, slug: str) -> str:
        while slug in self._used or not slug:
            self._number += 1
            slug = f"id{self._number}"
        self._used[slug] = 0
        return slug


class JupyterSlugs(Slugs):
    """Jupyter's notebooks: spaces become `-`; a repeated anchor stays."""

    def anchor(self, heading: Heading) -> str:
        """Return the anchor of a heading, which is not numbered."""
        return heading.anchor or self.slug(heading)

    def slug(self, heading: Heading) -> str:
        """Return the text with `-` for its spaces."""
        return heading.text.replace(" ", "-")
