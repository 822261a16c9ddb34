"""Hugo."""

import json
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from genir.corpus.front_matter import load_yaml, split_front_matter
from genir.corpus.markdown.includes import Includer
from genir.corpus.markdown.renderer import Dialect
from genir.corpus.markdown.templates import strip_shortcodes
from genir.corpus.sites.site import GeneratedSite, as_text, config_text, readable
from genir.corpus.slugs import HugoSlugs
from genir.errors import InputError
from genir.toml_parser import parse_toml

NAMES = ("hugo", "config", "config/_default/hugo", "config/_default/config")
KNOWN = frozenset(
    {"baseurl", "languagecode", "theme", "markup", "params", "module", "taxonomies", "contentdir",
     "defaultcontentlanguage", "menu", "menus", "outputs", "permalinks"}
)  # fmt: skip
"""Settings of which a configuration of Hugo has at least one."""
SECTION = "_index"


@dataclass(frozen=True)
class Hugo(GeneratedSite):
    """A site of Hugo: `hugo.toml`, or `config.toml`, also as YAML or JSON."""

    generator = "Hugo"
    config_names = tuple(
        f"{name}.{kind}" for name in NAMES for kind in ("toml", "yaml", "yml", "json")
    )
    dialect = Dialect(HugoSlugs)

    @classmethod
    def read(cls, config: Path, root: Path) -> Self | None:
        """Return the site of a configuration; None for another program's `config.toml`."""
        settings = _settings(config)
        if not KNOWN & settings.keys():
            return None
        folder = config.parent
        while folder.name in ("_default", "config"):
            folder = folder.parent
        source = folder / _content(settings, folder)
        return cls(
            source, root, config, as_text(settings.get("baseurl")), as_text(settings.get("title")),
            settings,
        )  # fmt: skip

    def is_page(self, path: str, fields: Mapping[str, Any]) -> bool:
        """Return whether a page is neither a draft nor in a folder of partials (`_common`)."""
        parts = path.split("/")
        hidden = any(part.startswith("_") for part in parts[:-1])
        build = fields.get("build") or fields.get("_build")
        never = isinstance(build, dict) and build.get("render") in ("never", False)
        return not (hidden or never or fields.get("draft") is True)

    def url_path(self, path: str, fields: Mapping[str, Any]) -> str:
        """Return `a/b/` for `a/b.md`, in lower case; `url` and `slug` of the front matter win."""
        url = as_text(fields.get("url"))
        if url:
            return url.lstrip("/")
        stem = posixpath.splitext(path)[0]
        folder, name = posixpath.split(stem)
        if name in (SECTION, "index"):
            found = folder
        else:
            found = posixpath.join(folder, as_text(fields.get("slug")) or name)
        found = "-".join(found.split())
        if (self.settings or {}).get("disablepathtolower") is not True:
            found = found.lower()
        if not found:
            return ""
        ugly = (self.settings or {}).get("uglyurls") is True and name != SECTION
        return f"{found}.html" if ugly else f"{found}/"

    def menu(self, paths: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Return the sections above each page; the page of a section precedes those in it."""
        titles = dict[str, str]()

        def title(folder: str) -> str:
            if folder not in titles:
                fields = self.front_matter(f"{folder}/{SECTION}.md")
                own = as_text(fields.get("linkTitle")) or as_text(fields.get("title"))
                titles[folder] = own or readable(posixpath.basename(folder))
            return titles[folder]

        def place(path: str) -> list[tuple[bool, str]]:
            return [(not part.startswith(f"{SECTION}."), part) for part in path.split("/")]

        def above(path: str) -> tuple[str, ...]:
            parts = path.split("/")
            folders = ["/".join(parts[: n + 1]) for n in range(len(parts) - 1)]
            own = parts[-1].startswith((f"{SECTION}.", "index."))
            return tuple(map(title, folders[:-1] if own else folders))

        return {path: above(path) for path in sorted(paths, key=place)}

    def prepare(self, body: str, includer: Includer) -> str:
        """Remove shortcodes; the files that they include are read."""

        def read(path: str) -> str | None:
            text = includer.read(path)
            if text is None:
                return None
            return strip_shortcodes(split_front_matter(text)[1], lambda _: None)

        return strip_shortcodes(body, read)


def _settings(config: Path) -> dict[str, Any]:
    """Return the settings by their name in lower case."""
    text = config_text(config)
    try:
        if config.suffix == ".toml":
            found: Any = parse_toml(text)
        elif config.suffix == ".json":
            found = json.loads(text)
        else:
            found = load_yaml(text, str(config))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{config}: cannot be read ({error}); correct or remove it") from None
    return (
        {str(name).lower(): value for name, value in found.items()}
        if isinstance(found, dict)
        else {}
    )


def _content(settings: Mapping[str, Any], folder: Path) -> str:
    """Return the folder of the pages: `contentDir`, that of the default language, or a mount."""
    language = as_text(settings.get("defaultcontentlanguage")) or "en"
    languages = settings.get("languages")
    own = languages.get(language) if isinstance(languages, dict) else None
    if isinstance(own, dict):
        named = {str(name).lower(): value for name, value in own.items()}
        if as_text(named.get("contentdir")):
            return as_text(named["contentdir"])
    if as_text(settings.get("contentdir")):
        return as_text(settings["contentdir"])
    module = settings.get("module")
    mounts = module.get("mounts") if isinstance(module, dict) else None
    for mount in mounts if isinstance(mounts, list) else []:
        if isinstance(mount, dict) and mount.get("target") == "content":
            source = as_text(mount.get("source"))
            if source and (folder / source).is_dir():
                return source
    return "content"
