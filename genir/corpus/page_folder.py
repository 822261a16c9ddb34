"""Reader of a folder of pages (`PARSERS` lists the formats): one document for each page."""

import os
import posixpath
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urljoin, urlsplit

from genir.arguments import is_blank
from genir.atomic_dirs import is_enclosed, walk_paths
from genir.corpus.front_matter import title_name
from genir.corpus.layout import RECOGNISED_FILES
from genir.corpus.page import Page
from genir.corpus.page_parser import PARSERS
from genir.corpus.page_urls import check_base_url, join_url, page_url
from genir.corpus.serialization import FIELDS, document_of, key_of
from genir.corpus.sites.find import find_site
from genir.corpus.sites.site import FRONT_PAGES, Site, readable
from genir.corpus.skipped_items import SkippedItems
from genir.errors import InputError
from genir.text_files import read_text
from genir.types import Document, Section, Structure

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
    reader = _Reader(root, base_url, SkippedItems(str(root)))
    key = place.relative_to(root).as_posix()
    if key not in reader.keys:
        raise InputError(
            f"{file}: hidden pages, links out of {root} and files outside of its site are not "
            "read; move the page"
        )
    reader.notes = notes
    document = reader.document(key)
    if document is None:
        raise InputError(f"{file}: the site does not publish it, or it has no text; choose another")
    yield document


def read_pages(folder: Path, base_url: str, notes: SkippedItems) -> Iterator[Document]:
    """Yield a document for each page below a folder, in the order of the site's navigation.

    Key: the path relative to the folder. URL: `base_url`, else that of the site's configuration,
    and the path that its generator gives the page. Title: the page's own, or the file name. Links
    to other pages of the folder are kept. Other front matter fields are metadata.

    Raises:
        InputError: `base_url` is not a URL, the site's configuration is malformed, or a page has
            another encoding, is malformed or, in a folder without a generator, empty.
    """
    reader = _Reader(folder, base_url, notes)
    for key in reader.keys:
        document = reader.document(key)
        if document is not None:
            yield document


class _Reader:
    """Converts the pages of a folder.

    keys: paths of the site's pages relative to the folder, in the order of its navigation.
    """

    def __init__(self, folder: Path, base_url: str, notes: SkippedItems) -> None:
        check_base_url(base_url)
        site = find_site(folder)
        self._folder, self._site, self.notes = folder, site, notes
        self._base_url = base_url or site.base_url
        files = page_files(folder, notes)
        self._files = {file.relative_to(folder).as_posix(): file for file in files}
        paths = {key: path for key in self._files if (path := self._path(key)) is not None}
        for key in self._files.keys() - paths.keys():
            notes.add(f"pages outside of {site.source.name}, the site's folder, are not read", key)
        by_path = {path: key for key, path in paths.items()}
        self._paths = paths
        self._menu = site.menu(list(by_path))
        self.keys = [by_path[path] for path in site.order(list(by_path))]
        self._strip = "" if base_url in ("", site.base_url) else self._prefix()
        self._targets = _link_targets(self.keys)
        self._stems = frozenset(self._targets)
        for key in self.keys:
            url = self._url_path(key, {}).strip("/")
            self._targets.setdefault(url, key)

    def _path(self, key: str) -> str | None:
        """Return a page's path in the site's folder; None if it is outside."""
        if not self._site.generator:
            return key
        try:
            place = (self._folder.resolve() / key).relative_to(self._site.source.resolve())
        except ValueError:
            return None
        return place.as_posix()

    def _prefix(self) -> str:
        """Return the URL path of the folder, which a given base URL already has."""
        folder, source = self._folder.resolve(), self._site.source.resolve()
        if folder == source or not folder.is_relative_to(source):
            return ""
        return self._site.url_path(f"{folder.relative_to(source).as_posix()}/index.md", {})

    def _url_path(self, key: str, fields: Mapping[str, Any]) -> str:
        return self._site.url_path(self._paths[key], fields).removeprefix(self._strip)

    def _url(self, key: str, fields: Mapping[str, Any]) -> str:
        if not self._site.generator:
            return page_url(self._base_url, key, self._stems)
        return join_url(self._base_url, quote(self._url_path(key, fields)))

    def document(self, key: str) -> Document | None:
        """Return the document of a page; None if the site does not publish it."""
        file, path, notes = self._files[key], self._paths[key], self.notes
        name = key_of({"_id": _readable(key)}, str(file))
        page = _parse(file, self._site)
        if not self._site.is_page(path, page.fields):
            notes.add("drafts and parts of pages are not read", key)
            return None
        if is_blank(page.text):
            _check_blank(page, file, self._site)
            notes.add("pages without text are not read", key)
            return None
        if page.unclosed:
            notes.add(f"the text behind a <{page.unclosed}> that never ends is not read", key)
        if page.endless:
            notes.add("front matter that never ends is read as text", key)
        record = {
            "_id": name,
            "text": page.text,
            "title": page.title or _file_title(path),
            "url": self._url(key, page.fields),
            "links": _links(page, (key, self._base_url), self._targets, notes),
        }
        document = document_of(_metadata(page, key, notes) | record, str(file))
        above = self._menu.get(path, ()) + self._site.navigation(path, page.fields)
        return replace(document, structure=Structure(above, _sections(page), page.code))


def _sections(page: Page) -> tuple[Section, ...]:
    """Return a page's sections. The first heading of level 1 is the page's title, without anchor.

    Docusaurus gives it none, and a link to it leads to the page.
    """
    first, *others = page.sections or (Section(0, 2, ""),)
    if first.level == 1:
        return replace(first, anchor=""), *others
    return page.sections


def _file_title(path: str) -> str:
    """Return a title by the name of a file or, for an index, of its folder."""
    folder, name = posixpath.split(posixpath.splitext(path)[0])
    return readable(posixpath.basename(folder) if name in FRONT_PAGES and folder else name)


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


def _parse(file: Path, site: Site) -> Page:
    try:
        source = read_text(file, MAX_PAGE_CHARS).lstrip("\ufeff")
        return PARSERS[file.suffix.lower()](source, site, file)
    except ValueError as error:
        raise InputError(f"{file}: {error}; correct the page") from None


def _check_blank(page: Page, file: Path, site: Site) -> None:
    """Raise InputError for an empty page without a generator, which may take its text elsewhere."""
    if page.unclosed:
        raise InputError(
            f"{file}: no visible text: all of it is in an unclosed <{page.unclosed}>; close it"
        )
    if not site.generator:
        raise InputError(f"{file}: an empty text; write something or remove the file")


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
