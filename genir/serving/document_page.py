"""HTML page of one document: its text, escaped, with its links to other documents."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any
from urllib.parse import quote, urlsplit

from genir.corpus.serialization import FIELDS


def document_path(key: str) -> str:
    """Return the path of a document's page, relative to the root of the server.

    Slashes of a key stay slashes, unless browsers or proxies would change such a path.
    """
    plain = not {"", ".", ".."}.intersection(key.split("/"))
    return f"documents/{quote(key, safe='/' if plain else '')}"


def root_of(raw_path: bytes) -> str:
    """Return the relative URL from a document's page to the root, from the path as sent."""
    return "../" * (raw_path.partition(b"/documents/")[2].count(b"/") + 1)


def document_page(record: Mapping[str, Any], url: str, root: str) -> str:
    """Return the page of a document as HTML.

    Args:
        record: The document's record.
        url: Its URL as shown to users; only http(s) becomes a link.
        root: Relative URL of the server's root.
    """
    title = record["title"] or record["_id"]
    parts = [f'<h1 dir="auto">{escape(title)}</h1>']
    if _is_web_address(url):
        parts.append(
            f'<p class="url"><a href="{escape(url)}" rel="noreferrer">{escape(url)}</a></p>'
        )
    parts += _metadata(record)
    text = _linked(record["text"], record.get("links", ()), root)
    parts.append(f'<article class="text" dir="auto">{text}</article>')
    return _page(title, f"<main>{''.join(parts)}</main>", root)


def message_page(title: str, message: str, root: str, asks_token: bool = False) -> str:
    """Return a page with a message, and a field for a token if the document needs one."""
    form = (
        '<form><label>Token <input type="password" name="token" autocomplete="off" required>'
        '</label> <button type="submit">Open</button></form>'
    )
    content = f'<h1>{escape(title)}</h1><p role="status">{escape(message)}</p>'
    main = f"<main data-locked>{content}{form}</main>" if asks_token else f"<main>{content}</main>"
    return _page(title, main, root)


def _page(title: str, main: str, root: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title>"
        f'<link rel="icon" href="{root}page/favicon.svg">'
        f'<link rel="stylesheet" href="{root}page/document.css">'
        f'<script type="module" src="{root}page/document.js"></script></head>'
        f'<body><nav><a href="{root}">Search</a></nav>{main}</body></html>'
    )


def _is_web_address(url: str) -> bool:
    try:
        return urlsplit(url).scheme in ("http", "https")
    except ValueError:
        return False


def _metadata(record: Mapping[str, Any]) -> list[str]:
    """Return the metadata fields as a definition list; [] without any."""
    fields = {name: value for name, value in record.items() if name not in FIELDS}
    if not fields:
        return []
    rows = (f"<dt>{escape(name)}</dt><dd dir=\"auto\">{escape(_shown(value))}</dd>"
            for name, value in fields.items())  # fmt: skip
    return [f"<dl>{''.join(rows)}</dl>"]


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _linked(text: str, links: Sequence[Mapping[str, Any]], root: str) -> str:
    """Return a text as HTML: escaped, with an anchor for each link that overlaps no earlier one."""
    parts, end = list[str](), 0
    if isinstance(links, Sequence) and all(isinstance(link, Mapping) for link in links):
        for link in sorted(links, key=lambda link: (link["start"], link["end"])):
            if link["start"] < end:
                continue
            address = escape(root + document_path(link["target"]))
            inner = escape(text[link["start"] : link["end"]])
            parts += [escape(text[end : link["start"]]), f'<a href="{address}">{inner}</a>']
            end = link["end"]
    return "".join([*parts, escape(text[end:])])
