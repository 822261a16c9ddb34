"""Documents to add, and the content of a retriever."""

import json

from genir.corpus.serialization import document_of, record_of


def make_document(key, text="hide the volume of a host", **fields):
    """Return a document with its own URL and title."""
    record = {"_id": key, "title": f"{key} title", "text": text} | fields
    return document_of({"url": f"https://docs.example.org/new/{key}"} | record, "test")


def state(retriever):
    """Return the live documents of a retriever, by key."""
    keys = [key for key in retriever.table.keys if retriever.table.is_live(key)]
    return {key: text_of(one) for key, one in retriever.documents.fetch(keys).items()}


def text_of(document):
    """Return all that a document is, as one text."""
    return json.dumps(record_of(document), sort_keys=True)


def found(retriever, query="hide the volume", k=1000, where=None):
    """Return the keys of every hit."""
    return [hit.key for hit in retriever.search([query], k, where)[0]]


def write_page(site, rng, name):
    """Write a page of random words with a link to another page."""
    words = ("copy", "erase", "list", "show", "file", "drive", "task", "tree")
    path = site / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pages = [one.relative_to(site).as_posix() for one in site.rglob("*.md")] or [name]
    link = f"[see]({'../' * name.count('/')}{rng.choice(pages)})"
    text = f"# {' '.join(rng.choices(words, k=3))}\n\n{' '.join(rng.choices(words, k=20))} {link}\n"
    write_whole(path, text)


def write_whole(path, text):
    """Write a file in one step: a kill leaves the old text or the new one."""
    part = path.with_suffix(".part")
    part.write_text(text)
    part.replace(path)


def edit_pages(site, rng):
    """Add, edit, rename and delete pages; links to renamed and deleted ones are lost."""
    pages = sorted(one for one in site.rglob("*.md") if one.name != "index.md")
    for page in rng.sample(pages, 3):
        write_whole(page, page.read_text() + "\nAnother line.\n")
    for page in rng.sample(pages, 2):
        page.rename(page.with_name(f"renamed-{rng.randrange(10**6)}.md"))
    rng.choice(sorted(one for one in site.rglob("*.md") if one.name != "index.md")).unlink()
    write_page(site, rng, f"added/page-{rng.randrange(10**6)}.md")
