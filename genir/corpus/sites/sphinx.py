"""Sphinx, with reStructuredText and MyST."""

import ast
import fnmatch
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from genir.atomic_dirs import is_enclosed
from genir.corpus.markdown.renderer import Dialect
from genir.corpus.sites.site import GeneratedSite, as_text, config_text
from genir.corpus.slugs import DocutilsSlugs
from genir.errors import InputError
from genir.text_files import read_text

KNOWN = frozenset({"extensions", "project", "html_theme", "master_doc", "root_doc"})
"""Names of which a `conf.py` of Sphinx assigns at least one."""
TOCTREE = re.compile(
    r"^(?P<indent>[ \t]*)(?:\.\.[ \t]+toctree::|(?P<fence>`{3,}|:{3,})\{toctree\})[^\n]*\n",
    re.MULTILINE,
)
OPTION = re.compile(r"\s*:(?P<name>[\w-]+):\s*(?P<value>.*)")
ENTRY = re.compile(r".*<(?P<target>[^<>]+)>\s*\Z")
MAX_PAGE_CHARS = 2**22


@dataclass(frozen=True)
class Sphinx(GeneratedSite):
    """A site of Sphinx: `conf.py`, whose literal assignments are read and nothing is executed."""

    generator = "Sphinx"
    config_names = ("conf.py",)
    dialect = Dialect(DocutilsSlugs, emoji=False, myst=True)

    @classmethod
    def read(cls, config: Path, root: Path) -> Self | None:
        """Return the site of a configuration; None for another program's `conf.py`."""
        try:
            settings = _literals(config_text(config))
        except (SyntaxError, ValueError, RecursionError) as error:
            raise InputError(f"{config}: not Python ({error}); correct or remove it") from None
        if not KNOWN & settings.keys():
            return None
        title = as_text(settings.get("html_title")) or as_text(settings.get("project"))
        url = as_text(settings.get("html_baseurl"))
        return cls(config.parent, root, config, url, title, settings)

    @property
    def default_role(self) -> str:  # type: ignore[override]
        """Role of text in single back quotes."""
        role = as_text((self.settings or {}).get("default_role"))
        return role if re.fullmatch(r"[\w:+.-]+", role) else ""

    def is_page(self, path: str, fields: Mapping[str, Any]) -> bool:
        """Return whether a page is neither excluded nor an orphan of the build."""
        given = (self.settings or {}).get("exclude_patterns")
        patterns = [*map(str, given if isinstance(given, list) else ()), "_build/**"]
        return not any(
            fnmatch.fnmatch(path, pattern) or path.startswith(f"{pattern.rstrip('/*')}/")
            for pattern in patterns
        )

    def url_path(self, path: str, fields: Mapping[str, Any]) -> str:
        """Return `a/b.html` for `a/b.rst`, as the builder `html`."""
        stem = posixpath.splitext(path)[0]
        folder, name = posixpath.split(stem)
        if name == "index":
            return f"{folder}/" if folder else ""
        return f"{stem}.html"

    def menu(self, paths: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Return the pages in the order of the `toctree`s, with the titles of pages above them."""
        settings = self.settings or {}
        root = as_text(settings.get("root_doc")) or as_text(settings.get("master_doc")) or "index"
        by_name = {posixpath.splitext(path)[0]: path for path in paths}
        found = dict[str, tuple[str, ...]]()
        waiting = [(root, tuple[str, ...]())]
        while waiting:
            name, parents = waiting.pop()
            path = by_name.get(name)
            if path is None or path in found:
                continue
            found[path] = parents
            above = parents if name == root else (*parents, self.quick_title(path))
            waiting += [(entry, above) for entry in self._entries(path, by_name)][::-1]
        return {path: tuple(filter(None, parents)) for path, parents in found.items()}

    def _entries(self, path: str, names: Mapping[str, str]) -> Iterator[str]:
        """Yield the names of the pages in the `toctree`s of a page."""
        file = self.source / path
        if not is_enclosed(file, self.root):
            return
        try:
            text = read_text(file, MAX_PAGE_CHARS)
        except InputError:  # the page is reported when it is read
            return
        for tree in TOCTREE.finditer(text):
            for line in _block(text, tree):
                option = OPTION.match(line)
                target = ENTRY.match(line)
                entry = target["target"] if target else line.strip()
                if option or not entry:
                    continue
                name = posixpath.normpath(posixpath.join("/", posixpath.dirname(path), entry))[1:]
                if any(mark in name for mark in "*?["):
                    yield from sorted(fnmatch.filter(names, name))
                else:
                    stem, suffix = posixpath.splitext(name)
                    yield stem if suffix in (".rst", ".md", ".ipynb", ".txt") else name


def _block(text: str, tree: re.Match[str]) -> Iterator[str]:
    """Yield the lines of a directive's content."""
    indent = len(tree["indent"].expandtabs())
    place = tree.end()
    while place < len(text):
        end = text.find("\n", place)
        line = text[place : end if end >= 0 else None]
        place = end + 1 if end >= 0 else len(text)
        own = line.expandtabs()
        if tree["fence"]:
            if line.strip().startswith(tree["fence"]):
                return
        elif line.strip() and len(own) - len(own.lstrip()) <= indent:
            return
        yield line


def _literals(source: str) -> dict[str, Any]:
    """Return the literal values that a script assigns at its top level."""
    found = dict[str, Any]()
    for node in ast.parse(source).body:
        if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        try:
            value = ast.literal_eval(node.value)
        except (ValueError, TypeError, RecursionError, MemoryError):
            value = None  # an expression
        found |= {target.id: value for target in targets if isinstance(target, ast.Name)}
    return found
