"""A folder of Markdown, HTML and text files as documents."""

import os
import posixpath
from collections.abc import Callable, Iterable, Iterator, Set
from pathlib import Path
from urllib.parse import quote, unquote, urljoin, urlsplit

from genir.corpus.documents import key_of
from genir.corpus.page import Page, parse_html, parse_markdown, parse_text
from genir.errors import InputError
from genir.records import Document, Link

PARSERS: dict[str, Callable[[str], Page]] = {
    ".md": parse_markdown,
    ".markdown": parse_markdown,
    ".html": parse_html,
    ".htm": parse_html,
    ".txt": parse_text,
}
FRONT_PAGES = ("index", "README")


def page_files(folder: Path) -> list[Path]:
    """Return the pages below a folder in the order of their paths; hidden ones are left out."""
    found = []
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            Path(root, name)
            for name in files
            if not name.startswith(".") and Path(name).suffix.lower() in PARSERS
        ]
    return sorted(found)


def read_pages(folder: Path, base_url: str = "") -> Iterator[Document]:
    """Yield a document for each page below a folder.

    Key: the path from the folder. URL: `base_url` and that path without its extension. Title: the
    page's own, or the file's name. Links to other pages of the folder are kept.
    Raises InputError for a page that is not UTF-8 or has no text.
    """
    files = page_files(folder)
    keys = {file.relative_to(folder).as_posix() for file in files}
    for file in files:
        key = key_of({"_id": file.relative_to(folder).as_posix()}, str(file))
        page = _parse(file)
        yield Document(
            key=key,
            text=page.text,
            title=page.title or file.stem,
            url=_join(base_url, quote(posixpath.splitext(key)[0])),
            links=tuple(_links(page, key, keys, base_url)),
        )


def _parse(file: Path) -> Page:
    try:
        page = PARSERS[file.suffix.lower()](file.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise InputError(f"{file}:{line}: not UTF-8; convert the file to UTF-8") from None
    except ValueError as error:
        raise InputError(f"{file}: not HTML ({error}); mend the page") from None
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); check its rights") from None
    if not page.text:
        raise InputError(f"{file}: an empty text; write something or remove the file")
    return page


def _join(base_url: str, path: str) -> str:
    return f"{base_url.rstrip('/')}/{path}" if base_url else path


def _links(page: Page, key: str, keys: Set[str], base_url: str) -> Iterator[Link]:
    for anchor in page.anchors:
        target = next((k for k in _candidates(anchor.href, key, base_url) if k in keys), key)
        if target != key:
            yield Link(anchor.start, anchor.end, target)


def _candidates(href: str, key: str, base_url: str) -> Iterable[str]:
    """Return the keys an href may mean: with or without its extension, or a folder's front page."""
    root = _join(base_url or "file://", "")
    try:
        parts = urlsplit(urljoin(_join(root, quote(key)), href))
    except ValueError:  # such as `http://[`: a link, but to no file
        return []
    home = urlsplit(root)
    path = unquote(parts.path)
    if parts[:2] != home[:2] or not path.startswith(unquote(home.path)):
        return []
    path = path[len(unquote(home.path)) :].rstrip("/")
    fronts = [posixpath.join(path, front) for front in FRONT_PAGES]
    return [path, *(stem + suffix for stem in [path, *fronts] for suffix in PARSERS)]
