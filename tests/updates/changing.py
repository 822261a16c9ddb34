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
