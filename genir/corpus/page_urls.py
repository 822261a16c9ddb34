"""URLs of pages: a prefix (base URL) and the page's path, and the change of this prefix."""

import posixpath
from collections.abc import Container
from urllib.parse import quote, urlsplit

from genir.errors import InputError

FRONT_PAGES = ("index", "README")
"""Names of pages that are published under the URL of their folder, the first one present."""
ROOT = "./"
"""URL of the front page of a site without a base URL."""


def check_base_url(base_url: str) -> None:
    """Raise InputError unless a base URL is empty or an absolute URL without a query."""
    try:
        parts = urlsplit(base_url)
        whole = bool(parts.scheme and (parts.netloc or parts.scheme == "file"))
        whole = whole and not (parts.query or parts.fragment)
    except ValueError:
        whole = False
    if base_url and not whole:
        raise InputError(f"base URL {base_url!r}: write a URL like https://example.org/docs")


def page_url(base_url: str, key: str, stems: Container[str] = ()) -> str:
    """Return the URL of a page: `base_url` and its path without suffix.

    A front page has the URL of its folder, with a final slash.

    Args:
        base_url: Prefix of the URLs; "" for relative ones.
        key: Path of the page in its folder, with its suffix.
        stems: Paths of all pages without suffix; a README beside an index page is no front page.
    """
    path = posixpath.splitext(key)[0]
    folder, name = posixpath.split(path)
    rivals = FRONT_PAGES[: FRONT_PAGES.index(name)] if name in FRONT_PAGES else ()
    if name in FRONT_PAGES and not any(posixpath.join(folder, one) in stems for one in rivals):
        path = f"{folder}/" if folder else ""
    return join_url(base_url, quote(path))


def join_url(base_url: str, path: str) -> str:
    """Return a base URL with a percent-encoded path; without a base, the relative URL."""
    return f"{base_url.rstrip('/')}/{path}" if base_url else path or ROOT


def move_url(url: str, old: str, new: str) -> str:
    """Return a URL with the base URL `new` in place of `old`; unchanged if it has another prefix.

    Args:
        url: URL of a document; "" if it has none.
        old: Former base URL; "" if URLs are relative.
        new: New base URL; "" makes the URL relative.
    """
    root = f"{old.rstrip('/')}/" if old else ""
    if not url or old == new or not f"{url}/".startswith(root) or (not old and _is_absolute(url)):
        return url
    return join_url(new, url[len(root) :].removeprefix(ROOT))


def _is_absolute(url: str) -> bool:
    """Return whether a URL has a scheme or starts at the root of a host."""
    try:
        return bool(urlsplit(url).scheme) or url.startswith("/")
    except ValueError:
        return True
