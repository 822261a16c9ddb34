"""GitHub's Markdown table rule for markdown-it, with exactly the cells that the source has.

markdown-it pads each row to the columns of the header, so that 1,500 characters can make 60,000
cells, and drops surplus cells, for example after an unescaped `|`.
"""

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_block.table import escapedSplit, getLine, table


def enable_tables(parser: MarkdownIt) -> None:
    """Enable tables in a parser."""
    parser.block.ruler.at("table", _table, {"alt": ["paragraph", "reference"]})
    parser.enable("table")


def _table(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Parse a table that starts on a line; return whether there is one. A markdown-it rule."""
    found = table(state, start, end, True)
    if not found or silent:
        return found
    outer, state.parentType = state.parentType, "table"
    _push_row(state, start)
    line = start + 2  # after the header and the delimiter row
    while line < end and _is_row(state, line, end):
        _push_row(state, line)
        line += 1
    state.parentType, state.line = outer, line
    return True


def _is_row(state: StateBlock, line: int, end: int) -> bool:
    """Return whether a line continues the table, that is, starts no other block."""
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
