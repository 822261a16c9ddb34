"""Documents and queries as the mappings that files hold, and back. Knows no files."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from genir.corpus.lines import shorten
from genir.errors import InputError
from genir.records import Document, Link, Query

FIELDS = ("_id", "title", "text", "url", "links")
"""The fields with a meaning of their own; all others are metadata."""


def document_of(record: Mapping[str, Any], where: str) -> Document:
    """Return the document of a record; `where` (such as "corpus.jsonl:3") opens each message.

    A null is an absent field. The object `metadata` that BEIR nests is spread over the record.
    Raises InputError for a missing or ill-typed field and for an empty text.
    """
    values = {name: value for name, value in record.items() if value is not None}
    if isinstance(values.get("metadata"), Mapping):
        values = {**values.pop("metadata"), **values}
    key = key_of(values, where)
    text = _string(values, "text", where)
    if not text.strip():
        raise InputError(
            f"{where}: document {key!r} has an empty text; give it one or remove the line"
        )
    return Document(
        key=key,
        text=text,
        title=_string(values, "title", where),
        url=_string(values, "url", where),
        links=links_of(values.get("links", ()), text, f"{where}: document {key!r}"),
        metadata=MappingProxyType({k: v for k, v in values.items() if k not in FIELDS}),
    )


def query_of(record: Mapping[str, Any], where: str) -> Query:
    """Return the query of a record. Raises InputError for a missing or empty field."""
    key = key_of(record, where)
    text = _string(record, "text", where)
    if not text.strip():
        raise InputError(
            f"{where}: query {key!r} has an empty text; give it one or remove the line"
        )
    return Query(key, text)


def key_of(record: Mapping[str, Any], where: str) -> str:
    """Return a record's `_id`. Raises InputError unless it is a printable, non-empty string."""
    if "_id" not in record:
        names = ", ".join(record) or "nothing"
        raise InputError(f"{where}: no _id; add one (the fields given: {names})")
    key = record["_id"]
    if not isinstance(key, str):
        raise InputError(f"{where}: _id {shorten(key)} is not a string; write it in quotes")
    if not key.strip():
        raise InputError(f"{where}: _id {key!r} is empty; give each document and query its own")
    if any(character in key for character in "\0\t\r\n"):
        raise InputError(
            f"{where}: _id {key!r} holds a NUL, tab or line end, which qrels and run files cannot; "
            "replace it"
        )
    if any("\ud800" <= character <= "\udfff" for character in key):
        raise InputError(f"{where}: _id {key!a} is not UTF-8; rename it")
    return key


def _string(record: Mapping[str, Any], name: str, where: str) -> str:
    value = record.get(name, "")
    if not isinstance(value, str):
        raise InputError(f"{where}: {name} {shorten(value)} is not a string; write it in quotes")
    return value


def links_of(values: Any, text: str, where: str) -> tuple[Link, ...]:
    """Return the links of a text. Raises InputError for a span that is not inside it."""
    if not isinstance(values, list | tuple):
        raise InputError(f"{where}: links {shorten(values)} is not a list")
    return tuple(_link(value, text, where) for value in values)


def _link(value: Any, text: str, where: str) -> Link:
    shape = "write {start, end, target} with 0 <= start < end <= length of the text"
    if not isinstance(value, Mapping) or {"start", "end", "target"} - value.keys():
        raise InputError(f"{where}: link {shorten(value)} lacks a field; {shape}")
    start, end, target = value["start"], value["end"], value["target"]
    if type(start) is not int or type(end) is not int or not 0 <= start < end <= len(text):
        raise InputError(f"{where}: link {shorten(value)} is no span of the text; {shape}")
    if not isinstance(target, str) or not target:
        raise InputError(f"{where}: link {shorten(value)}: target is not a key; {shape}")
    return Link(start, end, target)


def record_of(document: Document) -> dict[str, Any]:
    """Return the record that `document_of` reads back to an equal document.

    Raises InputError for metadata under the name of a field.
    """
    clash = set(document.metadata) & {*FIELDS, "metadata"}
    if clash:
        raise InputError(
            f"document {document.key!r}: metadata field {min(clash)!r} has the name of a field "
            "of the document; rename it"
        )
    record: dict[str, Any] = {"_id": document.key, "title": document.title, "text": document.text}
    if document.url:
        record["url"] = document.url
    if document.links:
        record["links"] = link_records(document)
    return record | dict(document.metadata)


def link_records(document: Document) -> list[dict[str, Any]]:
    """Return a document's links as `links_of` reads them back."""
    return [{"start": link.start, "end": link.end, "target": link.target}
            for link in document.links]  # fmt: skip
