"""Reader of a folder of Markdown, HTML and text files: one document for each page."""

import os
import posixpath
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urljoin, urlsplit

from genir.arguments import is_blank
from genir.atomic_dirs import is_enclosed, walk_paths
from genir.corpus.front_matter import title_name
from genir.corpus.layout import RECOGNISED_FILES
from genir.corpus.page_parser import Page, parse_html, parse_markdown, parse_text
from genir.corpus.page_urls import FRONT_PAGES, check_base_url, page_url
from genir.corpus.serialization import FIELDS, document_of, key_of
from genir.corpus.skipped_items import SkippedItems
from genir.errors import InputError
from genir.text_files import read_text
from genir.types import Document

PARSERS: dict[str, Callable[[str], Page]] = {
    ".md": parse_markdown,
    ".markdown": parse_markdown,
    ".html": parse_html,
    ".htm": parse_html,
    ".txt": parse_text,
}
ASSETS = frozenset(
    {".avif", ".bmp", ".css", ".eot", ".gif", ".ico", ".jpeg", ".jpg", ".js", ".map", ".mp3",
     ".mp4", ".otf", ".png", ".svg", ".ttf", ".wav", ".webm", ".webp", ".woff", ".woff2"}
)  # fmt: skip
"""Suffixes of a site's images, sounds, fonts, styles and scripts, which have no text."""
SILENT_REASONS = ("read elsewhere or hidden", "holds no text")
MAX_PAGE_CHARS = 16 * 2**20
"""Maximum number of characters of a page; Markdown takes a minute for this many."""
VCS_FOLDERS = (".git", ".hg", ".svn")
"""Hidden version control folders, which have no pages."""


def page_files(folder: Path, notes: SkippedItems) -> list[Path]:
    """Return the pages below a folder in path order.

    Args:
        folder: Traversed without following symbolic links to folders.
        notes: Collects skipped entries: models and reports of genir, hidden pages, other file
            types, links to folders and to files outside the folder, pipes and devices.

    Raises:
        InputError: A folder cannot be read, or is nested too deeply.
    """
    found, paths = [], sorted(walk_paths(folder, VCS_FOLDERS))
    own = _written_by_genir(set(paths))
    for path in paths:
        place = path.relative_to(folder).as_posix()
        if path.is_dir():
            if path.is_symlink():
                notes.add("symbolic links to folders are not followed", place)
            if path in own:
                notes.add("models and reports of genir are not read", place)
            continue
        if not own.isdisjoint(path.parents):
            continue
        reason = _unread(place) or _unreadable(path, folder)
        if not reason:
            found.append(path)
        elif reason not in SILENT_REASONS:
            notes.add(reason, place)
    return found


def _written_by_genir(paths: Collection[Path]) -> set[Path]:
    """Return the folders among paths that hold a model or a report, whose texts are no pages."""
    pairs = (("recipe.toml", "manifest.json"), ("report.md", "evaluation.json"))
    return {
        path.parent
        for one, other in pairs
        for path in paths
        if path.name == one and path.with_name(other) in paths and path.parent in paths
    }


def files_read(corpus: Path) -> dict[str, Path]:
    """Return a corpus and the files that are read in its folder, by their name in messages."""
    named = {"CORPUS": corpus}
    for path in walk_paths(corpus, VCS_FOLDERS) if corpus.is_dir() else ():
        place = path.relative_to(corpus)
        if place.parts[0] in RECOGNISED_FILES or path.suffix.lower() in PARSERS:
            named[f"CORPUS's {place.as_posix()}"] = path
    return named


def _unread(place: str) -> str:
    """Return why the file at a path is not read, "" for a page."""
    suffix = posixpath.splitext(place)[1].lower()
    hidden = any(part.startswith(".") for part in place.split("/"))
    if suffix in PARSERS:
        return "hidden pages are not read" if hidden else ""
    if hidden or place in RECOGNISED_FILES or place.startswith("qrels/"):
        return SILENT_REASONS[0]
    kind = f"the suffix {suffix}" if suffix else "no suffix"
    return SILENT_REASONS[1] if suffix in ASSETS else f"files with {kind} are not read"


def _unreadable(path: Path, folder: Path) -> str:
    """Return why a path with the name of a page is not read, "" for a file of the folder."""
    if is_enclosed(path, folder):
        return ""
    if not path.exists():
        return "symbolic links to nothing are not read"
    if path.is_file():
        return "symbolic links to files outside the folder are not read"
    return "pipes, sockets and devices are not read"


def is_page(path: Path) -> bool:
    """Return whether a path is a file with the suffix of a page."""
    return path.suffix.lower() in PARSERS and path.is_file()


def read_page(file: Path, root: Path, base_url: str, notes: SkippedItems) -> Iterator[Document]:
    """Yield the document of one page, as `read_pages` yields it for the folder `root`.

    Raises:
        InputError: The page is not read in this folder, or like `read_pages`.
    """
    if not file.resolve().is_relative_to(root.resolve()):
        raise InputError(f"{file}: is not below {root}; give the folder of pages that holds it")
    place = root / file.resolve().relative_to(root.resolve())
    files = page_files(root, SkippedItems(str(root)))
    if place not in files:
        raise InputError(
            f"{file}: hidden pages and links out of {root} are not read; move the page"
        )
    yield from _documents((place,), files, root, base_url, notes)


def read_pages(folder: Path, base_url: str, notes: SkippedItems) -> Iterator[Document]:
    """Yield a document for each page below a folder.

    Key: the path relative to the folder. URL: `base_url` and this path without its extension.
    Title: the page's own, or the file name. Links to other pages of the folder are kept. Other
    front matter fields are metadata.

    Raises:
        InputError: `base_url` is not a URL, or a page has another encoding, is malformed or empty.
    """
    files = page_files(folder, notes)
    yield from _documents(files, files, folder, base_url, notes)


def _documents(
    wanted: Sequence[Path], files: Sequence[Path], folder: Path, base_url: str, notes: SkippedItems
) -> Iterator[Document]:
    """Yield the documents of wanted pages. files: all pages of the folder, for links and URLs."""
    check_base_url(base_url)
    targets = _link_targets([file.relative_to(folder).as_posix() for file in files])
    for file in wanted:
        path = file.relative_to(folder).as_posix()
        key = key_of({"_id": _readable(path)}, str(file))
        page = _parse(file)
        if page.unclosed:
            notes.add(f"the text behind a <{page.unclosed}> that never ends is not read", key)
        if page.endless:
            notes.add("front matter that never ends is read as text", key)
        record = {
            "_id": key,
            "text": page.text,
            "title": page.title or file.stem,
            "url": page_url(base_url, key, targets),
            "links": _links(page, (key, base_url), targets, notes),
        }
        yield document_of(_metadata(page, key, notes) | record, str(file))


def _readable(path: str) -> str:
    """Return a path. Raises InputError if it is not UTF-8."""
    try:
        os.fsencode(path).decode()
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise InputError(
            f"{path!a}: the file's name is not UTF-8 (byte 0x{byte:02x}); rename the file"
        ) from None
    return path


def _metadata(page: Page, key: str, notes: SkippedItems) -> dict[str, Any]:
    kept = {}
    for name, value in page.fields.items():
        if name == title_name(page.fields):
            continue
        if name.lower() == "title" or name in (*FIELDS, "metadata"):
            notes.add(f"the field {name!r} of front matter is not read", key)
        else:
            kept[name] = value
    return kept


def _parse(file: Path) -> Page:
    try:
        page = PARSERS[file.suffix.lower()](read_text(file, MAX_PAGE_CHARS).lstrip("\ufeff"))
    except ValueError as error:
        raise InputError(f"{file}: {error}; correct the page") from None
    if is_blank(page.text):
        if page.unclosed:
            raise InputError(
                f"{file}: no visible text: all of it is in an unclosed <{page.unclosed}>; close it"
            )
        raise InputError(f"{file}: an empty text; write something or remove the file")
    return page


def _join(base_url: str, path: str) -> str:
    return f"{base_url.rstrip('/')}/{path}" if base_url else path


def _links(
    page: Page, source: tuple[str, str], targets: Mapping[str, str], notes: SkippedItems
) -> list[dict[str, Any]]:
    """Return the links to other pages of the folder. source: the page's key and the base URL."""
    key, base_url = source
    found = []
    for anchor in page.anchors:
        path = _path_of(anchor.href, key, base_url)
        if path is None:
            continue
        target = next((targets[name] for name in _names(path) if name in targets), None)
        if target is None:
            notes.add("links lead to no page of the folder", f"{key} -> {anchor.href}")
        elif target != key:
            found.append({"start": anchor.start, "end": anchor.end, "target": target})
    return found


def _path_of(href: str, key: str, base_url: str) -> str | None:
    """Return the path in the folder that an href leads to, or None."""
    root = _join(base_url or "file://", "")
    try:
        parts = urlsplit(urljoin(_join(root, quote(key)), href))
    except ValueError:  # e.g. `http://[`: a link, but not to a file
        return None
    home = urlsplit(root)
    path = unquote(parts.path)
    if parts[:2] != home[:2] or not path.startswith(unquote(home.path)):
        return None
    return path[len(unquote(home.path)) :].rstrip("/")


def _names(path: str) -> Iterator[str]:
    """Yield the names under which `_link_targets` may have the page of a path."""
    yield path
    yield from (posixpath.join(path, front) for front in FRONT_PAGES)
    stem, suffix = posixpath.splitext(path)
    if suffix.lower() in (".html", ".htm"):  # a Markdown page is published as HTML
        yield stem


def _link_targets(keys: list[str]) -> dict[str, str]:
    """Return link target (a path with or without its extension) -> key."""
    order = list(PARSERS)
    by_kind = sorted(keys, key=lambda key: order.index(posixpath.splitext(key)[1].lower()))
    stems = {posixpath.splitext(key)[0]: key for key in reversed(by_kind)}
    return stems | {key: key for key in keys}
