"""MkDocs, with Material for MkDocs and the extensions of Python-Markdown, and Zensical."""

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from genir.corpus.front_matter import load_yaml
from genir.corpus.markdown.includes import Includer
from genir.corpus.markdown.renderer import Dialect
from genir.corpus.markdown.templates import strip_liquid
from genir.corpus.sites.site import GeneratedSite, as_text, config_text, readable
from genir.corpus.slugs import (
    PymdownSlugs,
    PythonMarkdownSlugs,
    Slugs,
    UnicodePythonMarkdownSlugs,
)
from genir.errors import InputError

MARKED_HTML = re.compile(r"^([ \t]*<\w[^>\n]* markdown(?:=[^>\s]*)?[^>\n]*>)[ \t]*$", re.MULTILINE)
"""HTML whose content is Markdown."""
MAX_PARENTS = 5


@dataclass(frozen=True)
class MkDocs(GeneratedSite):
    """A site of MkDocs: `mkdocs.yml`."""

    generator = "MkDocs"
    config_names = ("mkdocs.yml", "mkdocs.yaml")

    @classmethod
    def read(cls, config: Path, root: Path) -> Self | None:
        """Return the site of a configuration and of those that it inherits from."""
        settings = _settings(config, root)
        source = config.parent / (as_text(settings.get("docs_dir")) or "docs")
        return cls(
            source,
            root,
            config,
            as_text(settings.get("site_url")),
            as_text(settings.get("site_name")),
            settings,
        )

    @cached_property
    def dialect(self) -> Dialect:  # type: ignore[override]
        """Python-Markdown, with the slugs that `toc` is configured for."""
        return Dialect(_slugs(self._extensions().get("toc") or {}))

    def _extensions(self) -> dict[str, Any]:
        given = (self.settings or {}).get("markdown_extensions") or []
        listed = [given] if isinstance(given, dict) else given
        found = dict[str, Any]()
        for one in listed if isinstance(listed, list) else []:
            found |= one if isinstance(one, dict) else {str(one): {}}
        return found

    def url_path(self, path: str, fields: Mapping[str, Any]) -> str:
        """Return `a/b/` for `a/b.md`, or `a/b.html` without directory URLs."""
        stem, _ = posixpath.splitext(path)
        folder, name = posixpath.split(stem)
        if name in ("index", "README"):
            return f"{folder}/" if folder else ""
        plain = (self.settings or {}).get("use_directory_urls") in (False, "False", "no", "off")
        return f"{stem}.html" if plain else f"{stem}/"

    def menu(self, paths: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Return `nav`, or the folders of the pages without one."""
        nav = (self.settings or {}).get("nav")
        if isinstance(nav, list):
            return dict(self._entries(nav, ()))
        first = sorted(paths, key=lambda path: (
            [(part not in ("index.md", "README.md"), part) for part in path.split("/")]
        ))  # fmt: skip
        return {path: tuple(map(readable, path.split("/")[:-1])) for path in first}

    def _entries(
        self, nav: list[Any], parents: tuple[str, ...]
    ) -> Iterator[tuple[str, tuple[str, ...]]]:
        for entry in nav:
            pairs = entry.items() if isinstance(entry, dict) else [("", entry)]
            for title, value in pairs:
                if isinstance(value, str) and "://" not in value:
                    yield value.removeprefix("./"), parents
                elif isinstance(value, list) and len(parents) < 20:
                    name = str(title).strip() or self._index_title(value)
                    yield from self._entries(value, (*parents, *([name] if name else [])))

    def _index_title(self, nav: list[Any]) -> str:
        """Return the title of a menu entry without one: that of its index page."""
        first = nav[0] if nav else None
        path = next(iter(first.values())) if isinstance(first, dict) and first else first
        return self.quick_title(path) if isinstance(path, str) else ""

    def prepare(self, body: str, includer: Includer) -> str:
        """Resolve snippets; remove Jinja if a plugin for macros renders it."""
        body = includer.expand(body)
        names = {*self._extensions(), *_names((self.settings or {}).get("plugins"))}
        if any("macros" in name or "include-markdown" in name for name in names):
            body = strip_liquid(body, includer.read)
        body = MARKED_HTML.sub(r"\1\n", body)
        return body


def _settings(config: Path, root: Path) -> dict[str, Any]:
    settings = dict[str, Any]()
    for _ in range(MAX_PARENTS):
        own = load_yaml(config_text(config), str(config))
        if not isinstance(own, dict):
            raise InputError(f"{config}: not a configuration of MkDocs; correct or remove it")
        settings = _merged(own, settings)
        parent = as_text(own.get("INHERIT"))
        config = config.parent / parent
        if not parent or not config.resolve().is_relative_to(root.resolve()):
            break
    return settings


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    made = dict(base)
    for key, value in over.items():
        old = made.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            made[key] = _merged(old, value)
        else:
            made[key] = value
    return made


def _names(plugins: Any) -> list[str]:
    listed = [plugins] if isinstance(plugins, dict) else plugins
    found = list[str]()
    for one in listed if isinstance(listed, list) else []:
        found += map(str, one) if isinstance(one, dict) else [str(one)]
    return found


def _slugs(options: Any) -> type[Slugs]:
    """Return the rule that `toc: {slugify: ...}` names."""
    given = options.get("slugify") if isinstance(options, dict) else None
    name = str(given or "")
    if "pymdownx" in name:
        return PymdownSlugs
    return UnicodePythonMarkdownSlugs if "unicode" in name else PythonMarkdownSlugs
