"""Base class of the sites that generators make from folders of pages."""

import posixpath
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from genir.atomic_dirs import is_enclosed
from genir.corpus.front_matter import split_front_matter, title_of
from genir.corpus.markdown.includes import Includer
from genir.corpus.markdown.renderer import Dialect
from genir.errors import InputError
from genir.text_files import read_text

FRONT_PAGES = ("index", "README", "readme", "_index")
"""Names of pages that a link to their folder leads to."""
MAX_CONFIG_CHARS = 2**20
_HEADING = re.compile(r"^#[ \t]+(.+?)(?:[ \t]*#*|[ \t]*\{[^{}]*\})[ \t]*$", re.MULTILINE)
_UNDERLINED = re.compile(r"^(?![.\s])(\S.*)\n([=\-~#*^\"'+])\2{2,}[ \t]*$", re.MULTILINE)


@dataclass(frozen=True)
class Site:
    """A folder of pages, and the site that its generator makes of it.

    This class is a folder without a generator; see `GeneratedSite`.

    Attributes:
        source: Folder of the pages; paths of pages are relative to it.
        root: Folder of the project; files outside of it are not read.
        config: The generator's configuration; None without a generator.
        base_url: URL of the folder of pages, or "" if the configuration has none.
        title: Title of the site, or "".
        settings: Values of the configuration.
    """

    source: Path
    root: Path
    config: Path | None = None
    base_url: str = ""
    title: str = ""
    settings: Mapping[str, Any] | None = None

    generator: ClassVar[str] = ""
    dialect: ClassVar[Dialect] = Dialect()
    default_role: ClassVar[str] = ""

    def is_page(self, path: str, fields: Mapping[str, Any]) -> bool:
        """Return whether the site publishes a page. fields: its front matter."""
        return True

    def url_path(self, path: str, fields: Mapping[str, Any]) -> str:
        """Return a page's URL relative to the base URL.

        Args:
            path: Path of the page, relative to `source`.
            fields: Its front matter.
        """
        stem, suffix = posixpath.splitext(path)
        folder, name = posixpath.split(stem)
        if name in FRONT_PAGES:
            return f"{folder}/" if folder else ""
        return path if suffix.lower() in (".html", ".htm") else stem

    def order(self, paths: Sequence[str]) -> list[str]:
        """Return the paths of pages in the order of the site's navigation, others behind them."""
        menu = self.menu(paths)
        return [*(path for path in menu if path in set(paths)),
                *(path for path in paths if path not in menu)]  # fmt: skip

    def menu(self, paths: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Return the titles above each page in the navigation, by path and in its order."""
        return {}

    def navigation(self, path: str, fields: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the titles that a page's front matter gives above it; `menu` goes before."""
        return ()

    def prepare(self, body: str, includer: Includer) -> str:
        """Return Markdown without the generator's template language."""
        return includer.expand(body)

    def includer(self, file: Path) -> Includer:
        """Return the reader of the files that a page includes."""
        config = () if self.config is None else (self.config.parent,)
        return Includer(self.root, (file.parent, *config, self.source, self.root))

    def front_matter(self, path: str) -> Mapping[str, Any]:
        """Return the front matter of a page; empty if it cannot be read."""
        return self._split(path)[0]

    def quick_title(self, path: str) -> str:
        """Return the title of a page by its front matter or first heading, or ""."""
        fields, body = self._split(path)
        found = _HEADING.search(body) or _UNDERLINED.search(body)
        with suppress(ValueError):
            return title_of(fields) or (found[1].strip() if found else "")
        return ""

    def _split(self, path: str) -> tuple[Mapping[str, Any], str]:
        file = self.source / path
        if not is_enclosed(file, self.root):
            return {}, ""
        try:
            return split_front_matter(read_text(file, MAX_CONFIG_CHARS))
        except (InputError, ValueError):  # the page is reported when it is read
            return {}, ""


class GeneratedSite(Site, ABC):
    """A site whose generator has a configuration; one subclass for each generator."""

    config_names: ClassVar[tuple[str, ...]] = ()

    @classmethod
    @abstractmethod
    def read(cls, config: Path, root: Path) -> Self | None:
        """Return the site of a configuration; None if the file is of another program.

        Raises:
            InputError: The configuration is malformed.
        """


def include_text(includer: Includer) -> Callable[[str, str], str | None]:
    """Return the function that reads the files of directives, for renderers."""
    return lambda _, path: includer.read(path)


def readable(name: str) -> str:
    """Return the title that the name of a file or folder stands for: `first-steps` First steps."""
    text = " ".join(re.split(r"[-_\s]+", name)).strip()
    return text[:1].upper() + text[1:] if text.islower() else text


def config_text(config: Path) -> str:
    """Return the text of a configuration. Raises InputError if it cannot be read."""
    return read_text(config, MAX_CONFIG_CHARS)


def as_text(value: Any) -> str:
    """Return a value of a configuration if it is text, else ""."""
    return value.strip() if isinstance(value, str) else ""


def joined_url(*parts: str) -> str:
    """Join an absolute URL and paths with single slashes; "" without an absolute URL."""
    if "://" not in parts[0]:
        return ""
    return "/".join(filter(None, (part.strip("/") for part in parts)))
