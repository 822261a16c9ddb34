"""Content of a page: title, text, links, sections and code blocks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from genir.types import Section


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
    sections: tuple[Section, ...] = ()
    code: tuple[tuple[int, int], ...] = ()
