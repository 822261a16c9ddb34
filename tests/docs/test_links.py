"""Every relative link, anchor, image and file name in the documentation exists."""

import re

import pytest
from doc_pages import FENCED, LINK, TOP, markdown_files, name_of

NAMED = re.compile(r"`((?:genir|tests|docs|benchmarks|data_prep|examples)/[\w/.-]+\.\w+)`")
HISTORY = ("CHANGELOG.md", "docs/design/")
"""Pages that name files of earlier commits."""
PAGES = {name_of(path): path for path in markdown_files()}


def prose(path):
    """Return a page without its fenced blocks."""
    return FENCED.sub("", path.read_text(encoding="utf-8"))


def anchors(path):
    """Return the anchors of a page's headings, as GitHub and mkdocs make them."""
    found = set()
    for heading in re.findall(r"^#+ (.*)$", prose(path), re.MULTILINE):
        text = re.sub(r"[^\w\s-]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading))
        found.add(re.sub(r"[-\s]+", "-", text.strip().lower()))
    return found


def problem(path, link):
    """Return the error in a link of a page, "" if it is correct."""
    if link.startswith("https://"):
        return ""
    target, _, anchor = link.partition("#")
    file = (path.parent / target).resolve() if target else path
    if not file.is_file() or TOP not in file.parents:
        return "missing file"
    if anchor and "<!-- generated" not in file.read_text(encoding="utf-8"):
        return "" if anchor in anchors(file) else "missing heading"
    return ""


@pytest.mark.parametrize("page", PAGES)
def test_the_links_of_a_page_lead_somewhere(page):
    path = PAGES[page]
    wrong = {link: problem(path, link) for link in LINK.findall(prose(path))}
    assert {link: reason for link, reason in wrong.items() if reason} == {}


@pytest.mark.parametrize("page", [name for name in PAGES if not name.startswith(HISTORY)])
def test_the_files_that_a_page_names_exist(page):
    named = NAMED.findall(PAGES[page].read_text(encoding="utf-8"))
    assert [name for name in named if not list(TOP.glob(name))] == []


def test_a_wrong_link_would_be_noticed():
    readme = TOP / "README.md"
    assert problem(readme, "docs/absent.md") == "missing file"
    assert problem(readme, "docs/guides/serve.md#absent") == "missing heading"
    assert problem(readme, "docs/guides/serve.md#tokens") == ""
