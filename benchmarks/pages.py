"""Quality of the hits on a folder of documentation: titles, snippets, anchors.

    python -m benchmarks.pages DOCS --built HTML --json OUT

An untrained model of the pages answers the headings of randomly chosen sections. A title or
snippet is broken if it is empty or shows markup of the source. Markup that the built page shows,
too, e.g. in its code, is text. An anchor is valid if the built page has an element with this `id`.
"""

import argparse
import json
import random
import re
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from genir.api import train
from genir.console import print_json
from genir.corpus.readers import read_corpus
from genir.corpus.sites.find import find_site
from genir.types import Document, Hit

MARKUP = re.compile(
    r"\{:?\s*[#.][\w-]+[^{}\n]*\}|(?<!\w):::|///\s*\w|(?:!!!|\?\?\?\+?) \w|={3}[!+]? \"|"
    r"\{[*!]|-{1,}8<-|"
    r"\{\{[<%]|\{%|\{\{|</?[A-Za-z][\w.-]*[^<>\n]*>|<!--|"
    r"^import .* from |\.\. [\w:-]+::|:[\w:+-]+:`|"
    r"!?\[[^\]\n]*\]\([^)\s]*\)|\*\*\w|\|\s*:?-{3,}|`{2,}|(?:^|\s)#{1,6} \w|\[\^\w+\]|\\[\[{<*_]"
)
"""Markup of Markdown, its dialects, reStructuredText, templates and HTML."""
CONTEXT = 12
"""Characters before or after a match that the built page must show with it."""


@dataclass
class Report:
    """Counts of one site, and examples of what is broken."""

    generator: str
    pages: int
    sections: int
    hits: int = 0
    empty_titles: int = 0
    broken_titles: int = 0
    broken_snippets: int = 0
    anchored_hits: int = 0
    invalid_anchors: int = 0
    checked_anchors: int = 0
    invalid_site_anchors: int = 0
    missing_pages: int = 0
    examples: list[str] = field(default_factory=list)


class _Built(HTMLParser):
    """Identifiers and text of a built page."""

    def __init__(self) -> None:
        super().__init__()
        self.ids = set[str]()
        self.text = list[str]()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ids |= {value for name, value in attrs if name == "id" and value}

    def handle_data(self, data: str) -> None:
        self.text.append(data)


class BuiltSite:
    """Pages that the generator itself has built."""

    def __init__(self, folder: Path | None, base_url: str) -> None:
        self._folder, self._base = folder, urlsplit(base_url).path
        self._pages = dict[str, _Built | None]()

    def page(self, url: str) -> _Built | None:
        """Return the built page of a URL; None if there is none."""
        if self._folder is None:
            return None
        path = unquote(urlsplit(url).path).lstrip("/")
        if path not in self._pages:
            names = (path, f"{path}/index.html", f"{path}.html", f"{path}index.html")
            files = (self._folder / name for name in names)
            file = next((one for one in files if one.is_file()), None)
            built = None
            if file is not None:
                built = _Built()
                built.feed(file.read_text(encoding="utf-8"))
            self._pages[path] = built
        return self._pages[path]


def _leftover(text: str, shown: str) -> str:
    """Return the first markup in a text that the built page does not show, or ""."""
    for found in MARKUP.finditer(text):
        start, end = max(0, found.start() - CONTEXT), found.end() + CONTEXT
        sides = (text[start : found.end()], text[found.start() : end])  # code may begin or end here
        if not any(re.sub(r"[\s…]", "", side) in shown for side in sides):
            return text[start:end]
    return ""


def judge(report: Report, hit: Hit, document: Document, built: BuiltSite) -> None:
    """Add a hit to the counts."""
    page = built.page(hit.url)
    code = "".join(document.text[start:end] for start, end in document.structure.code)
    shown = re.sub(r"\s", "", "".join(page.text) if page else code)
    report.hits += 1
    report.missing_pages += page is None
    title = _leftover(hit.title, shown) or re.search(r"\.(?:md|rst|mdx|html)$", hit.title)
    report.empty_titles += not hit.title.strip()
    report.broken_titles += bool(title) or not hit.title.strip()
    found = _leftover(hit.snippet, shown)
    report.broken_snippets += bool(found) or not hit.snippet.strip()
    report.anchored_hits += bool(hit.anchor)
    if page and hit.anchor and hit.anchor not in page.ids:
        report.invalid_anchors += 1
        report.examples.append(f"anchor {hit.url}")
    if found or title:
        report.examples.append(f"{hit.key}: {found or hit.title!r}")


def _check_site(report: Report, documents: list[Document], built: BuiltSite) -> None:
    """Check the anchors of all sections of all pages."""
    for document in documents:
        page = built.page(document.url)
        for section in document.structure.sections if page else ():
            if section.anchor:
                report.checked_anchors += 1
                if page and section.anchor not in page.ids:
                    report.invalid_site_anchors += 1
                    report.examples.append(f"anchor {document.url}#{section.anchor}")


def measure(folder: Path, html: Path | None, pages: int, queries: int) -> Report:
    """Return the quality of `queries` x 10 hits on at most `pages` pages of a folder."""
    site = find_site(folder)
    every = list(read_corpus(folder))
    rng = random.Random(0)
    documents = rng.sample(every, min(pages, len(every)))
    built = BuiltSite(html, site.base_url)
    sections = sum(len(one.structure.sections) for one in every)
    report = Report(site.generator, len(every), sections)
    _check_site(report, every, built)
    with tempfile.TemporaryDirectory() as place:
        own = {one.key: one for one in documents}
        settings = ["identifiers.units=sections", "identifiers.max_units=16"]
        model = train(documents, out=Path(place) / "model", settings=settings)
        for query in _queries(documents, rng)[:queries]:
            for hit in model.search([query], 10)[0]:
                judge(report, hit, own[hit.key], built)
    return report


def _queries(documents: list[Document], rng: random.Random) -> list[str]:
    titles = Counter(
        f"{one.title} {section.title}" for one in documents for section in one.structure.sections
    )
    found = sorted({*titles, *(one.title for one in documents)})
    rng.shuffle(found)
    return found


def main() -> None:
    """Measure one folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--built", type=Path, help="site that the generator has built")
    parser.add_argument("--pages", type=int, default=200)
    parser.add_argument("--queries", type=int, default=15)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    report = asdict(measure(given.folder, given.built, given.pages, given.queries))
    if given.json:
        given.json.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    print_json(report)


if __name__ == "__main__":
    main()
