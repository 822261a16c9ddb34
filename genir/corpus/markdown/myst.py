"""MyST: the Markdown of Sphinx, with directives in fences, roles, targets and comments."""

import re
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from mdit_py_plugins.colon_fence import colon_fence_plugin
from mdit_py_plugins.field_list import fieldlist_plugin
from mdit_py_plugins.myst_blocks import myst_block_plugin
from mdit_py_plugins.myst_role import myst_role_plugin
from mdit_py_plugins.substitution import substitution_plugin

from genir.corpus.rst.directives import CODE, DROPPED, INCLUDED, role_text

DIRECTIVE = re.compile(r"\{(?P<name>[\w:+.-]+)\}(?P<title>.*)")
OPTION = re.compile(r":[\w-]+:")
MAX_DEPTH = 10
"""Maximum nesting of directives; the content of deeper ones is code."""

Include = Callable[[str, str], str | None]
"""(directive, path) -> text of a file of the project, or None."""


def enable_myst(parser: MarkdownIt) -> None:
    """Add the syntax of MyST to a parser. The environment may hold an `Include` as `include`."""
    colon_fence_plugin(parser)
    myst_block_plugin(parser)
    myst_role_plugin(parser)
    substitution_plugin(parser)
    fieldlist_plugin(parser)
    parser.core.ruler.after("block", "directives", _expand)
    for name in ("myst_target", "myst_block_break", "myst_line_comment", "substitution_inline",
                 "substitution_block"):  # fmt: skip
        parser.add_render_rule(name, _nothing)
    parser.add_render_rule("myst_role", _role)


def _nothing(*_: Any) -> str:
    return ""


def _role(_: Any, tokens: Sequence[Token], place: int, *__: Any) -> str:
    token = tokens[place]
    return escape(role_text(str(token.meta["name"]), token.content))


def _expand(state: StateCore) -> None:
    """Replace the directives among the tokens by their content."""
    depth = state.env.get("directives", 0)
    made = list[Token]()
    for token in state.tokens:
        found = DIRECTIVE.match(token.info.strip()) if "fence" in token.type else None
        plain = found is None and token.type == "colon_fence"
        if depth >= MAX_DEPTH or (found is None and not plain):
            made.append(token)
        else:
            name, title = (found["name"], found["title"].strip()) if found else ("container", "")
            state.env["directives"] = depth + 1
            made += _content(state, name, title, _without_options(token.content))
            state.env["directives"] = depth
    state.tokens = made


def _content(state: StateCore, name: str, title: str, content: str) -> list[Token]:
    if name in INCLUDED:
        include: Include | None = state.env.get("include")
        content, title = (include(name, title) if include else None) or "", ""
    if name in DROPPED or not (title or content):
        return []
    if name in CODE or name == "literalinclude":
        return [Token("fence", "code", 0, content=content, markup="```")]
    blocks = f"{title}\n\n{content}" if title and name != "container" else content
    if name == "eval-rst":
        return _rst(blocks, state)
    made = list[Token]()
    state.md.block.parse(blocks, state.md, state.env, made)
    inner = StateCore(blocks, state.md, state.env, made)
    _expand(inner)
    return inner.tokens


def _rst(content: str, state: StateCore) -> list[Token]:
    from genir.corpus.rst.reader import rst_html  # slow to import

    return [Token("html_block", "", 0, content=rst_html(content, state.env.get("include")))]


def _without_options(content: str) -> str:
    """Return the content of a directive without its options: `:name: value`, or between `---`."""
    lines = content.splitlines(keepends=True)
    if lines and lines[0].strip() == "---":
        end = next((n for n, line in enumerate(lines[1:], 1) if line.strip() == "---"), 0)
        return "".join(lines[end + 1 :])
    first = next((n for n, line in enumerate(lines) if not OPTION.match(line)), len(lines))
    return "".join(lines[first:])
