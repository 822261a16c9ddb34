"""Rules of markdown-it for blocks and inline markup of documentation generators.

Admonitions, tabs, containers, attribute lists, alerts and emoji names; none of them is text.
"""

import re
from collections.abc import Iterator

from markdown_it import MarkdownIt
from markdown_it.ruler import RuleOptionsType
from markdown_it.rules_block import StateBlock
from markdown_it.rules_core import StateCore
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from mdit_py_plugins.container import container_plugin

INDENTED = re.compile(r"(?:!!!|\?\?\?\+?|===[!+]?)(?=[ \t]+\S)(?P<params>.*)")
"""Start of an admonition, a collapsible one or a tab; its content is indented by four spaces."""
INDENT = 4
QUOTED = re.compile(r'"(?P<title>[^"\n]*)"')
LABEL = re.compile(
    r"\s*(?:\{[^}\n]*\})?[\w./+-]*\s*(?:\{[^}\n]*\})?(?:\[(?P<label>.*)\])?(?P<rest>.*)"
)
"""Parameters of a container: `note`, `note[Title]`, `note Title`, `tab | Title`."""
_VALUE = r"""(?:"[^"\n]*"|'[^'\n]*'|[^\s"'{}=<>`]+)"""
ATTRIBUTES = re.compile(
    rf"\{{:?[ \t]*(?P<items>(?:[#.][\w:.+-]+|[\w:.-]+={_VALUE})"
    rf"(?:[ \t]*(?:[#.][\w:.+-]+|[\w:.-]+={_VALUE}|(?<=[ \t])[\w-]+))*)[ \t]*\}}"
)
"""Attribute list: `{#id .class key=value}`, also `{: ... }`."""
_ID = re.compile(r"(?:^|[ \t])#([\w:.+-]+)")
ALERT = re.compile(r"\[!([A-Za-z]+)\][+-]?")
EMOJI = re.compile(r":[a-z0-9_+-]+:(?:\{[^}\n]*\})?(?![\w:])")
MAX_TITLE_CHARS = 1_000


def enable_blocks(parser: MarkdownIt, emoji: bool, containers: bool) -> None:
    """Add the rules to a parser.

    Args:
        parser: Parser of Markdown.
        emoji: Whether `:name:` is an emoji.
        containers: Whether lines of `:::` begin and end containers.
    """
    endings: RuleOptionsType = {"alt": ["paragraph", "reference", "blockquote", "list"]}
    parser.block.ruler.before("fence", "indented_container", _indented_container, endings)
    for name, marker in (("slashes", "/"), *((("colons", ":"),) if containers else ())):
        container_plugin(parser, name, marker, lambda params, markup: True, render=_nothing)
    parser.core.ruler.after("block", "container_titles", _add_titles)
    parser.inline.ruler.before("link", "attributes", _attributes)
    parser.inline.ruler.before("link", "alert", _alert)
    if emoji:
        parser.inline.ruler.before("link", "emoji", _emoji)


def _nothing(*_: object) -> str:
    return ""


def _indented_container(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Parse an admonition or a tab that starts on a line. A markdown-it rule."""
    if state.is_code_block(start):
        return False
    found = INDENTED.match(
        state.src, state.bMarks[start] + state.tShift[start], state.eMarks[start]
    )
    if found is None or silent:
        return found is not None
    column = state.sCount[start] + INDENT
    line = start + 1
    while line < end and (state.isEmpty(line) or state.sCount[line] >= column):
        line += 1
    outer = state.parentType, state.lineMax, state.blkIndent
    state.parentType, state.lineMax, state.blkIndent = "admonition", line, column
    state.push("container_indented_open", "div", 1).info = found["params"].strip()
    state.md.block.tokenize(state, start + 1, line)
    state.push("container_indented_close", "div", -1)
    state.parentType, state.lineMax, state.blkIndent = outer
    state.line = line
    return True


def _add_titles(state: StateCore) -> None:
    """Add the title of each container as a paragraph; drop the options of one of pymdownx."""
    made, tokens = list[Token](), iter(state.tokens)
    for token in tokens:
        made.append(token)
        if token.type.startswith("container_") and token.nesting == 1:
            made += _paragraph(_label(token))
            following = next(tokens, None)
            options = token.type == "container_slashes_open" and token.map and following
            if options and options.type == "code_block" and _starts_behind(options, token):
                continue
            if following is not None and following.type.startswith("container_"):
                tokens = _chained(following, tokens)
            elif following is not None:
                made.append(following)
    state.tokens = made


def _chained(first: Token, rest: Iterator[Token]) -> Iterator[Token]:
    yield first
    yield from rest


def _starts_behind(token: Token, opening: Token) -> bool:
    return bool(token.map and opening.map and token.map[0] == opening.map[0] + 1)


def _label(token: Token) -> str:
    """Return the title in the parameters of a container."""
    params = token.info.strip()[:MAX_TITLE_CHARS]
    quoted = QUOTED.search(params)
    if token.type == "container_indented_open":
        return quoted["title"] if quoted else params.partition(" ")[0].capitalize()
    found = LABEL.match(params)
    label = found["label"] or found["rest"] if found else ""
    return label.strip().removeprefix("|").strip()


def _paragraph(text: str) -> list[Token]:
    if not text:
        return []
    inline = Token("inline", "", 0, content=text, children=[], level=1)
    return [Token("paragraph_open", "p", 1), inline, Token("paragraph_close", "p", -1)]


def _attributes(state: StateInline, silent: bool) -> bool:
    """Skip an attribute list; its anchor is kept in a hidden token. A markdown-it rule."""
    found = ATTRIBUTES.match(state.src, state.pos) if state.src[state.pos] == "{" else None
    if found is None:
        return False
    if not silent:
        anchor = _ID.search(found["items"])
        state.push("attributes", "", 0).meta = {"anchor": anchor[1] if anchor else ""}
        state.pending = state.pending.rstrip(" ")
    state.pos = found.end()
    return True


def _alert(state: StateInline, silent: bool) -> bool:
    """Read GitHub's `[!NOTE]` at the start of a quote as the word. A markdown-it rule."""
    found = ALERT.match(state.src) if state.pos == 0 and state.src.startswith("[!") else None
    if found is None:
        return False
    if not silent:
        state.push("text", "", 0).content = found[1].capitalize()
    state.pos = found.end()
    return True


def _emoji(state: StateInline, silent: bool) -> bool:
    """Skip the name of an emoji or icon. A markdown-it rule."""
    if state.src[state.pos] != ":" or (state.pos and state.src[state.pos - 1].isalnum()):
        return False
    found = EMOJI.match(state.src, state.pos)
    if found is None:
        return False
    state.pos = found.end()
    return True
