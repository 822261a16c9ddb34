"""Conversion of a page of any format to title, text, links, sections and code blocks.

Markdown and reStructuredText are rendered to HTML first, so that one parser reads all of them.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from genir.corpus.front_matter import never_ends, split_front_matter, title_of
from genir.corpus.html_parser import INLINE, parse_html_text
from genir.corpus.markdown.includes import fenced
from genir.corpus.markdown.renderer import Dialect, render_markdown
from genir.corpus.page import Page
from genir.corpus.sites.site import Site, include_text
from genir.corpus.slugs import JupyterSlugs

TEXT_INLINE = INLINE | {"title"}
"""Inline elements of rendered text, in which `<title>` is a word."""


def parse_html(source: str) -> Page:
    """Return a page's title (front matter, `<title>` or first heading), visible text and links.

    Of a page with marked main content, only this is read.

    Raises:
        ValueError: Invalid front matter, or a declaration that the standard library cannot parse.
    """
    fields, body = split_front_matter(source)
    return _with_fields(parse_html_text(body, INLINE, main_only=True), fields, body)


def parse_markdown(source: str, site: Site | None = None, file: Path | None = None) -> Page:
    """Return a page's title (front matter or first heading), text and links.

    Args:
        source: The page.
        site: Site whose generator renders it; None: plain Markdown.
        file: Path of the page, from which it includes others.

    Raises:
        ValueError: The page cannot be parsed; see `parse_html`.
    """
    fields, body = split_front_matter(source)
    dialect, include = Dialect(), None
    text = body
    if site is not None and file is not None:
        includer = site.includer(file)
        text, dialect, include = site.prepare(body, includer), site.dialect, include_text(includer)
    html = render_markdown(text, dialect, include)
    return _with_fields(parse_html_text(html, TEXT_INLINE), fields, body)


def parse_rst(source: str, site: Site, file: Path) -> Page:
    """Return the title, text and links of reStructuredText.

    Raises:
        ValueError: Docutils cannot read it.
    """
    from genir.corpus.rst.reader import rst_html  # slow to import

    html = rst_html(source, include_text(site.includer(file)), site.default_role)
    return parse_html_text(html, TEXT_INLINE)


def parse_notebook(source: str, site: Site, file: Path) -> Page:
    """Return the title, text and links of a Jupyter notebook: Markdown and code, no outputs.

    Raises:
        ValueError: It is not a notebook.
    """
    try:
        notebook = json.loads(source)
        cells = notebook.get("cells") or [
            cell for sheet in notebook.get("worksheets", ()) for cell in sheet["cells"]
        ]
        parts = [_cell(cell) for cell in cells]
        language = str(notebook.get("metadata", {}).get("kernelspec", {}).get("language", ""))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"not a Jupyter notebook ({type(error).__name__}: {error})") from None
    body = "\n\n".join(fenced(text, language) if code else text for code, text in parts if text)
    dialect = site.dialect if site.generator else Dialect(JupyterSlugs)
    return parse_html_text(render_markdown(body, dialect), TEXT_INLINE)


def _cell(cell: Mapping[str, Any]) -> tuple[bool, str]:
    """Return whether a cell is code, and its text; "" for raw cells."""
    kind = cell["cell_type"]
    text = cell.get("source", cell.get("input", ""))
    joined = "".join(text) if isinstance(text, list) else str(text)
    return kind == "code", joined if kind in ("code", "markdown") else ""


def parse_text(source: str) -> Page:
    """Return a plain text as a page without a title."""
    return Page("", source.strip())


def _with_fields(page: Page, fields: Mapping[str, Any], body: str) -> Page:
    title = title_of(fields) or page.title
    return replace(page, title=title, fields=fields, endless=never_ends(body))


Parser = Callable[[str, Site, Path], Page]
PARSERS: dict[str, Parser] = {
    ".md": parse_markdown,
    ".markdown": parse_markdown,
    ".mdx": parse_markdown,
    ".rst": parse_rst,
    ".ipynb": parse_notebook,
    ".html": lambda source, *_: parse_html(source),
    ".htm": lambda source, *_: parse_html(source),
    ".txt": lambda source, *_: parse_text(source),
}
"""Parsers by suffix, the preferred ones first."""
