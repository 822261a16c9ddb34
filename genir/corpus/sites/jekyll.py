"""Jekyll, as GitHub Pages runs it."""

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from genir.corpus.front_matter import load_yaml
from genir.corpus.markdown.includes import Includer
from genir.corpus.markdown.renderer import Dialect
from genir.corpus.markdown.templates import strip_liquid
from genir.corpus.sites.mkdocs import MARKED_HTML
from genir.corpus.sites.site import GeneratedSite, as_text, config_text
from genir.corpus.slugs import KramdownSlugs

POST = re.compile(r"(?:.*/)?_posts/(?:.*/)?(\d{4})-(\d{1,2})-(\d{1,2})-(.+)")
STYLES = {
    "date": "/:categories/:year/:month/:day/:title:output_ext",
    "pretty": "/:categories/:year/:month/:day/:title/",
    "none": "/:categories/:title:output_ext",
}
HIDDEN = ("_includes", "_layouts", "_data", "_sass", "_site", "_drafts", "vendor", "node_modules")


@dataclass(frozen=True)
class Jekyll(GeneratedSite):
    """A site of Jekyll: `_config.yml`."""

    generator = "Jekyll"
    config_names = ("_config.yml", "_config.yaml")
    dialect = Dialect(KramdownSlugs)

    @classmethod
    def read(cls, config: Path, root: Path) -> Self | None:
        """Return the site of a configuration; None if it is of another program."""
        settings = load_yaml(config_text(config), str(config))
        if settings is None:
            settings = {}
        if not isinstance(settings, dict):
            return None
        url = as_text(settings.get("url"))
        base = f"{url.rstrip('/')}/{as_text(settings.get('baseurl')).strip('/')}" if url else ""
        source = config.parent / (as_text(settings.get("source")) or ".")
        title = as_text(settings.get("title"))
        return cls(source.resolve(), root, config, base, title, settings)

    def is_page(self, path: str, fields: Mapping[str, Any]) -> bool:
        """Return whether a page is published: no layout, include, draft or excluded page."""
        given = (self.settings or {}).get("exclude")
        excluded = (
            tuple(str(one).rstrip("/") for one in given if one) if isinstance(given, list) else ()
        )
        parts = path.split("/")
        hidden = any(part in HIDDEN for part in parts[:-1])
        outside = any(path == one or path.startswith(f"{one}/") for one in excluded)
        return not (hidden or outside or fields.get("published") is False)

    def url_path(self, path: str, fields: Mapping[str, Any]) -> str:
        """Return the permalink of the front matter, or of the configuration's style."""
        own = as_text(fields.get("permalink"))
        if own in STYLES:
            own = ""
        if own:
            return self._filled(own, path, fields).lstrip("/")
        style = as_text((self.settings or {}).get("permalink")) or "date"
        post = POST.fullmatch(posixpath.splitext(path)[0])
        if post:
            return self._filled(STYLES.get(style, style), path, fields).lstrip("/")
        stem = posixpath.splitext(path)[0]
        if stem.startswith("_"):  # a collection
            stem = stem[1:]
        folder, name = posixpath.split(stem)
        if name == "index" or (
            name == "README" and not (self.source / folder / "index.md").exists()
        ):
            return f"{folder}/" if folder else ""
        return f"{stem}/" if style == "pretty" or style.endswith("/") else f"{stem}.html"

    def _filled(self, template: str, path: str, fields: Mapping[str, Any]) -> str:
        stem = posixpath.splitext(path)[0]
        post = POST.fullmatch(stem)
        given = fields.get("categories") or fields.get("category") or ()
        categories = given.split() if isinstance(given, str) else list(given)
        year, month, day, title = post.groups() if post else ("", "", "", posixpath.basename(stem))
        title = as_text(fields.get("slug")) or title
        values = {
            ":categories": "/".join(map(str, categories)), ":year": year, ":month": month.zfill(2),
            ":day": day.zfill(2), ":title": title, ":name": title, ":slug": title,
            ":output_ext": ".html", ":path": stem, ":basename": title,
        }  # fmt: skip
        filled = re.sub(r":[a-z_]+", lambda found: values.get(found.group(), ""), template)
        return re.sub(r"/{2,}", "/", filled)

    def navigation(self, path: str, fields: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the `grand_parent` and `parent` of the theme Just the Docs."""
        above = (fields.get("grand_parent"), fields.get("parent"))
        return tuple(filter(None, map(as_text, above)))

    def prepare(self, body: str, includer: Includer) -> str:
        """Remove Liquid."""

        def read(path: str) -> str | None:
            return includer.read(f"_includes/{path}")

        return MARKED_HTML.sub(r"\1\n", strip_liquid(body, read))
