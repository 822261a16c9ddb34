"""Built sites: folders of HTML with a `sitemap.xml`."""

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from html import unescape
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from genir.corpus.sites.site import GeneratedSite, config_text

LOCATION = re.compile(r"<loc>\s*([^<\s]+)\s*</loc>")


@dataclass(frozen=True)
class StaticSite(GeneratedSite):
    """A built site: `sitemap.xml` has the URLs of its pages."""

    generator = "sitemap"
    config_names = ("sitemap.xml",)

    @classmethod
    def read(cls, config: Path, root: Path) -> Self | None:
        """Return the site of a sitemap; None for an index of sitemaps, or one without pages."""
        urls = sitemap_urls(config_text(config))
        folder = config.parent
        pages = [path for path in folder.rglob("*.html")] if urls else []
        if not pages:
            return None
        home = min(urls, key=lambda url: (url.count("/"), len(url)))
        base = home.rpartition("/")[0] + "/"
        return cls(folder, root, config, base, "", {"urls": urls})

    @cached_property
    def _paths(self) -> frozenset[str]:
        urls = (self.settings or {}).get("urls", ())
        return frozenset(url.removeprefix(self.base_url) for url in urls)

    def url_path(self, path: str, fields: Mapping[str, Any]) -> str:
        """Return the URL of the sitemap: `a/b.html`, `a/b/` or `a/b`."""
        plain = super().url_path(path, fields)
        stem = posixpath.splitext(path)[0]
        names = (path, f"{stem}/", stem, plain)
        return next((name for name in names if quote(name) in self._paths), plain)


def sitemap_urls(text: str) -> list[str]:
    """Return the URLs in a sitemap, or those of the sitemaps in an index of them."""
    return [unescape(found) for found in LOCATION.findall(text)]
