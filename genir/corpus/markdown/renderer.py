"""Rendering of Markdown to HTML with the anchors of its headings."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from mdit_py_plugins.deflist import deflist_plugin
from mdit_py_plugins.footnote import footnote_plugin
from mdit_py_plugins.tasklists import tasklists_plugin

from genir.corpus.markdown.blocks import enable_blocks
from genir.corpus.markdown_table import enable_tables
from genir.corpus.slugs import GitHubSlugs, Heading, Slugs

CONTAINERS = frozenset({"blockquote_open", "list_item_open"})
MAX_NESTING = 100
"""Levels of Markdown: a quote is one, a list two. Each takes some frames of Python's stack."""
MAX_INLINE_NESTING = 20
"""Levels of inline markup, for example emphasis in a link; the default of markdown-it."""
MAX_LINK_CHARS = 5_000_000
"""Maximum number of characters in the URLs and titles of a page's links."""

Include = Callable[[str, str], str | None]
"""(directive, path) -> text of a file of the project, or None."""


@dataclass(frozen=True)
class Dialect:
    """Markdown of a generator.

    Attributes:
        slugs: Rule for the anchors of headings.
        emoji: `:name:` is an emoji.
        mdx: Neither indented code nor `<https://...>`, as in MDX.
        myst: Directives, roles and comments of MyST.
    """

    slugs: type[Slugs] = GitHubSlugs
    emoji: bool = True
    mdx: bool = False
    myst: bool = False


def render_markdown(body: str, dialect: Dialect, include: Include | None = None) -> str:
    """Render Markdown to HTML, with anchors at its headings.

    Args:
        body: Markdown without front matter.
        dialect: Markdown of the site's generator.
        include: Reads the files that directives of MyST include.

    Raises:
        ValueError: The HTML is far longer than its text, or the text is nested too deeply.
    """
    parser = _parser(dialect)
    environment: dict[str, Any] = {"include": include}
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
    _add_anchors(tokens, dialect.slugs)
    return str(parser.renderer.render(tokens, parser.options, environment))


def _parser(dialect: Dialect) -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"maxNesting": MAX_NESTING})
    parser.enable("strikethrough")
    enable_tables(parser)
    footnote_plugin(parser)
    deflist_plugin(parser)
    tasklists_plugin(parser)
    enable_blocks(parser, dialect.emoji, containers=not dialect.myst)
    if dialect.myst:
        from genir.corpus.markdown.myst import enable_myst

        enable_myst(parser)
    if dialect.mdx:
        parser.disable(["code", "autolink"])
    parser.core.ruler.before("inline", "inline_nesting", _bound_inline_nesting)
    parser.add_render_rule("footnote_ref", _nothing)
    parser.add_render_rule("attributes", _nothing)
    return parser


def _nothing(*_: Any) -> str:
    return ""


def _bound_inline_nesting(state: StateCore) -> None:
    """Bound the nesting of inline markup, whose cost grows with it for runs of brackets."""
    state.md.options["maxNesting"] = MAX_INLINE_NESTING


def _add_anchors(tokens: list[Token], slugs: type[Slugs]) -> None:
    """Set the `id` of each heading."""
    pairs = [
        (token, _heading(inline, target, slugs.reads_images))
        for token, inline, target in _headings(tokens)
    ]
    own = slugs(heading.anchor for _, heading in pairs)
    for token, heading in pairs:
        token.attrSet("id", own.anchor(heading))


def _headings(tokens: list[Token]) -> Iterable[tuple[Token, Token, str]]:
    """Yield the tokens of each heading, and the MyST target before it, or ""."""
    target = ""
    for token, following in pairwise(tokens):
        if token.type == "heading_open":
            yield token, following, target
        target = token.content if token.type == "myst_target" else ""


def _heading(inline: Token, target: str, images: bool) -> Heading:
    children = inline.children or []
    marked = [child.meta["anchor"] for child in children if child.type == "attributes"]
    anchor = next(filter(None, reversed(marked)), "") or target
    return Heading(_text_of(children, images).strip(), anchor)


def _text_of(children: Iterable[Token], images: bool) -> str:
    """Return the text of inline tokens without markup; images: with their alternative texts."""
    parts = []
    for child in children:
        if child.type in ("text", "code_inline", "myst_role"):
            parts.append(child.content)
        elif child.type in ("softbreak", "hardbreak"):
            parts.append(" ")
        elif child.type == "image" and images:
            parts.append(_text_of(child.children or (), images))
    return re.sub(r"[\u200b\ufeff]", "", "".join(parts))
