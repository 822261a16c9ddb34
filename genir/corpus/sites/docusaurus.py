"""Docusaurus."""

import json
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from genir.corpus.markdown.includes import Includer
from genir.corpus.markdown.mdx import strip_mdx
from genir.corpus.markdown.renderer import Dialect
from genir.corpus.sites.javascript import config_objects
from genir.corpus.sites.site import GeneratedSite, as_text, config_text, joined_url, readable
from genir.errors import InputError

NUMBER = re.compile(r"^\d+\s*[-_.]+\s*(?=[^-_.\s])")
DATE_OR_VERSION = re.compile(r"^(?:(?:\d{2}|\d{4})[-_.]\d{2}(?:[-_.](?:\d{2}|\d{4}))?|\d+[-_.]\d+)")
PRESETS = ("classic", "preset-classic")
SIDEBARS = ("sidebars.js", "sidebars.ts", "sidebars.json", "sidebars.mjs", "sidebars.cjs")


@dataclass(frozen=True)
class Docusaurus(GeneratedSite):
    """A site of Docusaurus: `docusaurus.config.js` or `.ts`, read as data."""

    generator = "Docusaurus"
    config_names = tuple(f"docusaurus.config.{kind}" for kind in ("js", "ts", "mjs", "cjs", "mts"))
    dialect = Dialect(emoji=False, mdx=True)

    @classmethod
    def read(cls, config: Path, root: Path) -> Self | None:
        """Return the site of a configuration: its documentation, not its blog."""
        objects = config_objects(config_text(config))
        settings = next((one for one in objects if "presets" in one or "url" in one), {})
        docs = _docs(settings)
        path = as_text(docs.get("path")) or "docs"
        route = docs.get("routeBasePath")
        url = joined_url(
            as_text(settings.get("url")),
            as_text(settings.get("baseUrl")),
            "docs" if route is None else as_text(route),
        )
        settings = {**settings, "docs": docs}
        return cls(
            (config.parent / path).resolve(), root, config, url, as_text(settings.get("title")),
            settings,
        )  # fmt: skip

    def is_page(self, path: str, fields: Mapping[str, Any]) -> bool:
        """Return whether a page is neither a draft nor a partial, whose name begins with `_`."""
        partial = any(part.startswith("_") for part in path.split("/"))
        return not partial and fields.get("draft") is not True

    def url_path(self, path: str, fields: Mapping[str, Any]) -> str:
        """Return the slug or, without one, the folder and the `id` or file name, without numbers.

        The index of a folder is its address.
        """
        parts = [_without_number(part) for part in posixpath.splitext(path)[0].split("/")]
        folder, slug = "/".join(parts[:-1]), as_text(fields.get("slug"))
        if slug.startswith("/"):
            found = slug.strip("/")
        elif slug:
            found = posixpath.normpath(posixpath.join(folder, slug)).strip("/")
        else:
            name = as_text(fields.get("id")) or parts[-1]
            index = parts[-1].lower() in ("index", "readme") or parts[-1:] == parts[-2:-1]
            found = f"{folder}/" if index and not fields.get("id") else posixpath.join(folder, name)
        slash = (self.settings or {}).get("trailingSlash")
        if slash is None or not found:
            return found.removeprefix("/")
        return found.strip("/") + "/" * bool(slash)

    def menu(self, paths: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Return the entries of the sidebars, or the folders of the pages without any."""
        config = self.config
        assert config is not None
        sidebars = self._sidebars(config.parent)
        ids = dict(self._ids(paths))
        found = dict[str, tuple[str, ...]]()
        for sidebar in sidebars.values():
            for name, parents in _entries(sidebar, ()):
                if name in ids:
                    found.setdefault(ids[name], parents)
        return found or {path: self._folders(path) for path in paths}

    def _folders(self, path: str) -> tuple[str, ...]:
        """Return the labels of the folders above a page."""
        parts = path.split("/")[:-1]
        return tuple(self._label("/".join(parts[: n + 1]), part) for n, part in enumerate(parts))

    def _label(self, folder: str, name: str) -> str:
        file = self.source / folder / "_category_.json"
        if file.is_file():
            try:
                found = json.loads(config_text(file))
            except (ValueError, InputError):
                found = {}
            if isinstance(found, dict) and as_text(found.get("label")):
                return as_text(found["label"])
        return readable(_without_number(name))

    def _sidebars(self, folder: Path) -> dict[str, Any]:
        given = as_text((self.settings or {}).get("docs", {}).get("sidebarPath"))
        for name in (given, *SIDEBARS):
            file = folder / name
            if name and file.is_file() and file.resolve().is_relative_to(self.root.resolve()):
                text = config_text(file)
                if file.suffix == ".json":
                    text = f"export default {text}"
                return next(iter(config_objects(text)), {})
        return {}

    def _ids(self, paths: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Yield (identifier in a sidebar, path) of each page."""
        for path in paths:
            parts = [_without_number(part) for part in posixpath.splitext(path)[0].split("/")]
            yield "/".join(parts), path
            own = self.front_matter(path).get("id")
            if isinstance(own, str):
                yield "/".join([*parts[:-1], own]), path

    def prepare(self, body: str, includer: Includer) -> str:
        """Remove imports, JSX and expressions."""
        return strip_mdx(body)


def _docs(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of the documentation: of the preset or the plugin."""
    listed = [*(settings.get("presets") or []), *(settings.get("plugins") or [])]
    for entry in listed:
        if not (isinstance(entry, list) and len(entry) > 1 and isinstance(entry[1], dict)):
            continue
        name = str(entry[0])
        if "content-docs" in name:
            return entry[1]
        docs = entry[1].get("docs")
        if isinstance(docs, dict):
            return docs
    return {}


def _without_number(name: str) -> str:
    return name if DATE_OR_VERSION.match(name) else NUMBER.sub("", name)


def _entries(items: Any, parents: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield (identifier of a page, labels above it) of a sidebar."""
    if isinstance(items, dict) and "type" not in items:  # {label: items}
        for label, inner in items.items():
            yield from _entries(inner, (*parents, label))
        return
    if len(parents) > 20:
        return
    for item in items if isinstance(items, list) else [items]:
        if isinstance(item, str):
            yield item, parents
        elif isinstance(item, dict) and "type" not in item:
            yield from _entries(item, parents)
        elif isinstance(item, dict):
            yield from _entry(item, parents)


def _entry(item: dict[str, Any], parents: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
    if item["type"] in ("doc", "ref") and isinstance(item.get("id"), str):
        yield item["id"], parents
    elif item["type"] == "category":
        link = item.get("link")
        if isinstance(link, dict) and isinstance(link.get("id"), str):
            yield link["id"], parents
        label = as_text(item.get("label"))
        yield from _entries(item.get("items") or [], (*parents, *([label] if label else [])))
