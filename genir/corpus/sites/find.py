"""Search of the site that a folder of pages belongs to."""

from collections.abc import Iterator
from pathlib import Path

from genir.corpus.sites.docusaurus import Docusaurus
from genir.corpus.sites.hugo import Hugo
from genir.corpus.sites.jekyll import Jekyll
from genir.corpus.sites.mkdocs import MkDocs
from genir.corpus.sites.site import GeneratedSite, Site
from genir.corpus.sites.sphinx import Sphinx
from genir.corpus.sites.static import StaticSite

GENERATORS: tuple[type[GeneratedSite], ...] = (MkDocs, Docusaurus, Sphinx, Hugo, Jekyll, StaticSite)
"""Generators in the order in which their configurations are searched in a folder."""
SUBFOLDERS = ("docs", "doc", "website", "site", "docs/source", "doc/source", "docs/src")
"""Folders of a project that often hold the configuration."""
MAX_LEVELS = 6
"""Maximum number of folders above the pages in which `.git` is searched."""
MAX_LEVELS_WITHOUT_GIT = 2
"""Maximum number of folders above the pages in which a configuration is searched without it."""


def find_site(folder: Path) -> Site:
    """Return the site of a folder of pages, by the configuration of its generator.

    The configuration is searched in the folder, in the folders above it within the project (up to
    the one that holds `.git`), and in the usual subfolders of each. Without one, the pages are
    plain files.

    Raises:
        InputError: A configuration is malformed.
    """
    place = folder.resolve()
    root = _project(place)
    for directory in _places(place, root):
        for kind in GENERATORS:
            for name in kind.config_names:
                config = directory / name
                if config.is_file() and config.resolve().is_relative_to(root):
                    site = kind.read(config, root)
                    if site is not None and _covers(site, place):
                        return site
    return Site(place, root)


def _project(folder: Path) -> Path:
    """Return the folder of the project: the nearest one with `.git`, else with a configuration."""
    above = [folder, *folder.parents]
    found = (one for one in above[: MAX_LEVELS + 1] if (one / ".git").exists())
    names = [name for kind in GENERATORS for name in kind.config_names]
    configured = (
        one
        for one in above[: MAX_LEVELS_WITHOUT_GIT + 1]
        if any((one / name).is_file() for name in names)
    )
    return next(found, None) or next(configured, folder)


def _places(folder: Path, root: Path) -> Iterator[Path]:
    inside = [folder, *(one for one in folder.parents if one.is_relative_to(root))]
    for one in inside:
        yield one
        yield from (one / name for name in SUBFOLDERS)


def _covers(site: Site, folder: Path) -> bool:
    """Return whether a folder is the site's folder of pages, or one is in the other."""
    source = site.source.resolve()
    return source.is_dir() and (source.is_relative_to(folder) or folder.is_relative_to(source))
