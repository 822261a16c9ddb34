"""The table rule of GitHub's Markdown for markdown-it, with the cells that are written and no more.

markdown-it fills each row up to the columns of the header, so that 1,500 characters of text make
60,000 cells, and leaves out cells beyond them, such as those behind a `|` that was not escaped.
"""

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_block.table import escapedSplit, getLine, table


def enable_tables(parser: MarkdownIt) -> None:
    """Let a parser read tables."""
    parser.block.ruler.at("table", _table, {"alt": ["paragraph", "reference"]})
    parser.enable("table")


def _table(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Read a table that begins on a line; return whether there is one. A rule of markdown-it."""
    found = table(state, start, end, True)
    if not found or silent:
        return found
    outer, state.parentType = state.parentType, "table"
    _push_row(state, start)
    line = start + 2  # behind the header and the row of hyphens
    while line < end and _is_row(state, line, end):
        _push_row(state, line)
        line += 1
    state.parentType, state.line = outer, line
    return True


def _is_row(state: StateBlock, line: int, end: int) -> bool:
    """Return whether a line goes on with the table: no other block begins there."""
    if state.sCount[line] < state.blkIndent or state.is_code_block(line):
        return False
    if not getLine(state, line).strip():
        return False
    others = state.md.block.ruler.getRules("blockquote")
    return not any(rule(state, line, end, True) for rule in others)


def _push_row(state: StateBlock, line: int) -> None:
    cells = escapedSplit(getLine(state, line).strip())
    first, last = int(not cells[0]), len(cells) - (not cells[-1])  # without the enclosing pipes
    for cell in cells[first:last]:
        state.push("td_open", "td", 1)
        token = state.push("inline", "", 0)
        token.map, token.content, token.children = [line, line + 1], cell.strip(), []
        state.push("td_close", "td", -1)
