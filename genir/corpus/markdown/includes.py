"""Files of a project that its pages include: whole, by lines, or by a named part."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from genir.atomic_dirs import is_enclosed
from genir.errors import InputError
from genir.text_files import read_text

MAX_CHARS = 1_000_000
"""Maximum number of characters that the files included by a page have together."""
MAX_DEPTH = 5
"""Maximum nesting of files that include others."""
SNIPPET = re.compile(
    r"""^(?P<indent>[ \t]*)-{1,}8<-{1,}[ \t]+"""
    r"""(?:"(?P<double>[^"\n]+)"|'(?P<single>[^'\n]+)')[ \t]*$"""
)
SNIPPET_EDGE = re.compile(r"^[ \t]*-{1,}8<-{1,}[ \t]*$")
BRACES = re.compile(
    r"^(?P<indent>[ \t]*)\{(?P<kind>\*|!>?)[ \t]*(?P<path>[^\s{}*!]+)"
    r"(?P<options>[^{}\n]*?)[*!]\}[ \t]*$"
)
"""`{* path ln[1:3] *}` of markdown-include-variants and `{!> path !}` of markdown-include."""
LINES = re.compile(r"\bln\[([0-9:, ]+)\]")
PART = re.compile(
    r"-{1,}8<-{1,}[ \t]*\[[ \t]*(?P<edge>start|end)[ \t]*:[ \t]*(?P<name>[\w-]+)[ \t]*\]"
)


class Includer:
    """Reads the files that a page includes.

    Args:
        root: Folder of the project; no file outside of it is read.
        bases: Folders from which a path may start, in the order of the search.
    """

    def __init__(self, root: Path, bases: Iterable[Path]) -> None:
        self._root = root
        self._bases = tuple(dict.fromkeys(bases))
        self._left = MAX_CHARS

    def read(self, path: str) -> str | None:
        """Return the text of a file of the project; None if there is none, or it is too long."""
        for base in self._bases:
            file = base / path.lstrip("/")
            if "\0" in path or not is_enclosed(file, self._root):
                continue
            try:
                text = read_text(file, self._left)
            except InputError:  # no text, or too long
                return None
            self._left -= len(text)
            return text
        return None

    def expand(self, source: str, depth: int = 0) -> str:
        """Replace the includes in a Markdown source by the texts of their files.

        An include of an unknown file is removed.
        """
        if depth >= MAX_DEPTH:
            return source
        lines, block = list[str](), False
        for line in source.split("\n"):
            if SNIPPET_EDGE.match(line):
                block = not block
            elif block and line.strip():
                lines += self._snippet(line.strip(), "", depth)
            elif found := SNIPPET.match(line):
                path = found["double"] or found["single"]
                lines += self._snippet(path, found["indent"], depth)
            elif found := BRACES.match(line):
                lines += self._braces(found, depth)
            else:
                lines.append(line)
        return "\n".join(lines)

    def _snippet(self, path: str, indent: str, depth: int) -> list[str]:
        """Return the lines of `path`, `path:4:6` or `path:name`."""
        if path.startswith(";"):
            return []
        name, _, part = path.partition(":")
        text = self.read(name)
        if text is None:
            return []
        lines = self.expand(_part(text, part), depth + 1).split("\n")
        return [f"{indent}{line}" for line in lines]

    def _braces(self, found: re.Match[str], depth: int) -> list[str]:
        text = self.read(found["path"])
        if text is None:
            return []
        if found["kind"] != "*":
            lines = self.expand(text, depth + 1).split("\n")
            return [f"{found['indent']}{line}" for line in lines]
        chosen = LINES.search(found["options"])
        if chosen:
            text = "\n".join(_lines(text.split("\n"), chosen[1]))
        suffix = Path(found["path"]).suffix.lstrip(".")
        return [found["indent"] + line for line in fenced(text, suffix).split("\n")]


def fenced(code: str, language: str = "") -> str:
    """Return code in a fence that is longer than any in the code."""
    longest = max((len(run) for run in re.findall(r"`{3,}", code)), default=2)
    return f"{'`' * (longest + 1)}{language}\n{code.rstrip()}\n{'`' * (longest + 1)}"


def _part(text: str, part: str) -> str:
    """Return the lines `4:6` of a text, or its part with a name; without their marks."""
    lines, name = text.split("\n"), part.strip()
    if re.fullmatch(r"[0-9:]+", name):
        first, _, last = name.partition(":")
        return "\n".join(lines[max(0, int(first or 1) - 1) : int(last) if last.isdigit() else None])
    kept, inside = list[str](), not name
    for line in lines:
        mark = PART.search(line)
        if mark is None:
            kept += [line] if inside else []
        elif mark["name"] == name:
            inside = mark["edge"] == "start"
    return "\n".join(kept)


def _lines(lines: Sequence[str], chosen: str) -> list[str]:
    """Return the lines `1:3,7` of a text."""
    made = list[str]()
    for item in chosen.replace(" ", "").split(","):
        first, colon, last = item.partition(":")
        if first.isdigit():
            end = int(last) if last.isdigit() else (None if colon else int(first))
            made += lines[max(0, int(first) - 1) : end]
    return made
