"""Conversion of documents and queries from and to the records that files hold.

The only validation of documents: training, `genir add`, the HTTP server and `Retriever.add` use it.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pprint import saferepr
from types import MappingProxyType
from typing import Any

from genir.arguments import is_blank, is_listable
from genir.corpus.json_lines import check_byte_order_mark, shorten, string_advice
from genir.corpus.metadata_values import check_name, check_text, check_value
from genir.errors import InputError
from genir.types import Document, Link, Query

FIELDS = ("_id", "title", "text", "url", "links")
"""Fields with a fixed meaning; all other fields are metadata."""
LINK_FIELDS = {"start", "end", "target"}

MAX_KEY = 1_024
"""Maximum number of characters of a document key, which is part of URLs."""


def document_of(record: Mapping[str, Any], where: str) -> Document:
    """Return the document of a record.

    A null is an absent field. BEIR's nested object `metadata` is merged into the record; a
    `metadata` that is not an object is a metadata field of this name. `links` are hyperlinks if
    they are spans {start, end, target}; URLs in `links` are a metadata field.

    Args:
        record: Fields by name, as in a line of corpus.jsonl.
        where: Prefix of error messages, for example "corpus.jsonl:3".

    Raises:
        InputError: A field is missing, has a wrong type, is given twice or is not JSON, or the text
            is empty.
    """
    values = _spread(record, where)
    key = key_of(values, where)
    _refuse_unaddressable(key, where)
    place = f"{where}: document {key!r}"
    text = _string(values, "text", where)
    if is_blank(text):
        raise InputError(f"{place} has an empty text; give it one or remove the line")
    metadata = {name: value for name, value in values.items() if name not in FIELDS}
    links = values.get("links", ())
    if has_url_links(links):
        metadata["links"], links = links, ()
    _check_metadata(metadata, place)
    return Document(
        key=key,
        text=text,
        title=_string(values, "title", where),
        url=_string(values, "url", where),
        links=links_of(links, text, place),
        metadata=MappingProxyType(metadata),
    )


def _refuse_unaddressable(key: str, where: str) -> None:
    """Raise InputError for a key that cannot be part of a document's URL."""
    if key in (".", ".."):
        raise InputError(
            f"{where}: _id {key!r} cannot be a part of an address: browsers and proxies take it "
            "for a step in a path; replace it"
        )
    if len(key) > MAX_KEY:
        raise InputError(
            f"{where}: _id {shorten(key)} has {len(key):,} characters; at most {MAX_KEY:,}"
        )


def _check_metadata(metadata: Mapping[str, Any], place: str) -> None:
    for name, value in metadata.items():
        try:
            check_name(name)
            check_value(value)
        except ValueError as error:
            raise InputError(f"{place}: the field {shorten(name)}: {error}") from None


def documents_of(given: Any) -> list[Document]:
    """Return the documents of mappings, of `Document`s, or of a single one of either.

    Raises:
        InputError: An item is neither, is not a valid document, or repeats a key.
    """
    if isinstance(given, Mapping | Document):
        given = [given]
    if isinstance(given, str | bytes) or not is_listable(given):
        raise InputError(
            f"documents {shorten(given)}: not documents; give a list of dicts with _id and text"
        )
    documents: dict[str, Document] = {}
    for number, one in enumerate(given, 1):
        document = document_of(record_from(one, f"document {number}"), f"document {number}")
        if isinstance(one, Document):
            document = replace(document, vector=one.vector)  # no field of a record
        if document.key in documents:
            raise InputError(f"document {number}: the key {document.key!r} is given twice")
        documents[document.key] = document
    return list(documents.values())


def record_from(item: Any, where: str) -> Mapping[str, Any]:
    """Return the record of a mapping or a `Document`. Raises InputError for anything else."""
    if isinstance(item, Document):
        return record_of(item)
    if not isinstance(item, Mapping):
        raise InputError(
            f"{where}: {shorten(item)} is not a mapping; give one split, for example "
            "dataset['train'], or a list of dicts with _id and text"
        )
    return item


def _spread(record: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the non-null fields, including the fields of a nested `metadata`."""
    values = {name: value for name, value in record.items() if value is not None}
    if not isinstance(values.get("metadata"), Mapping):
        return values
    nested = {name: one for name, one in values.pop("metadata").items() if one is not None}
    for name, value in nested.items():
        # saferepr distinguishes True from 1.
        if name in values and saferepr(values[name]) != saferepr(value):
            raise InputError(
                f"{where}: {name!r} is {shorten(values[name], 40)} in the record, but "
                f"{shorten(value, 40)} in its metadata; keep one"
            )
    if "metadata" in nested:
        raise InputError(f"{where}: metadata holds another field 'metadata'; rename it")
    return nested | values


def query_of(record: Mapping[str, Any], where: str) -> Query:
    """Return the query of a record. Raises `InputError` for a missing or empty field."""
    key = key_of(record, where)
    text = _string(record, "text", where)
    if is_blank(text):
        raise InputError(
            f"{where}: query {key!r} has an empty text; give it one or remove the line"
        )
    return Query(key, text)


def key_of(record: Mapping[str, Any], where: str) -> str:
    """Return a record's `_id`. Raises `InputError` unless it is a printable, non-empty string."""
    if "_id" not in record:
        names = ", ".join(map(str, record)) or "nothing"
        raise InputError(f"{where}: no _id; add one (the fields given: {names})")
    key = record["_id"]
    if not isinstance(key, str):
        raise InputError(f"{where}: _id {shorten(key)} is not a string; {string_advice(key)}")
    if not key.strip():
        raise InputError(f"{where}: _id {key!r} is empty; give each document and query its own")
    check_byte_order_mark(key, where)
    if any(character in key for character in "\0\t\r\n"):
        raise InputError(
            f"{where}: _id {key!r} holds a NUL, tab or line end, which qrels and run files cannot; "
            "replace it"
        )
    return _whole(key, "_id", where)


def _string(record: Mapping[str, Any], name: str, where: str) -> str:
    value = record.get(name, "")
    if not isinstance(value, str):
        raise InputError(
            f"{where}: {name} {shorten(value)} is not a string; {string_advice(value)}"
        )
    return _whole(value, name, where)


def _whole(text: str, name: str, where: str) -> str:
    try:
        check_text(text)
    except ValueError as error:
        raise InputError(f"{where}: {name}: {error}") from None
    return text


def has_url_links(links: Any) -> bool:
    """Return whether a `links` field holds strings, for example URLs, instead of spans."""
    if isinstance(links, str):
        return True
    listed = isinstance(links, list | tuple) and len(links) > 0
    return listed and all(isinstance(link, str) for link in links)


def links_of(values: Any, text: str, where: str) -> tuple[Link, ...]:
    """Return the links of a text. Raises `InputError` for a span outside of it."""
    if not isinstance(values, list | tuple):
        raise InputError(
            f"{where}: links {shorten(values)} is not a list; write spans {{start, end, target}} "
            "or addresses"
        )
    return tuple(_link(value, text, where) for value in values)


def _link(value: Any, text: str, where: str) -> Link:
    shape = "write {start, end, target} with 0 <= start < end <= length of the text"
    if not isinstance(value, Mapping) or LINK_FIELDS - value.keys():
        raise InputError(f"{where}: link {shorten(value)} lacks a field; {shape}")
    if value.keys() - LINK_FIELDS:
        raise InputError(f"{where}: link {shorten(value)} has further fields; {shape}")
    start, end, target = value["start"], value["end"], value["target"]
    if type(start) is not int or type(end) is not int or not 0 <= start < end <= len(text):
        raise InputError(f"{where}: link {shorten(value)} is no span of the text; {shape}")
    if not isinstance(target, str) or not target:
        raise InputError(f"{where}: link {shorten(value)}: target is not a key; {shape}")
    return Link(start, end, _whole(target, "target of a link", where))


def record_of(document: Document) -> dict[str, Any]:
    """Return the record of a document; the inverse of `document_of`.

    Raises:
        InputError: Metadata or links have a wrong type, or a metadata field has the name and the
            shape of a field of the document.
    """
    _check_types(document)
    clash = set(document.metadata) & {"_id", "title", "text", "url"}
    if "links" in document.metadata and (
        document.links or not has_url_links(document.metadata["links"])
    ):
        clash.add("links")
    if isinstance(document.metadata.get("metadata"), Mapping):
        clash.add("metadata")
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


def record_json(document: Document) -> str:
    """Return the record of a document as JSON; two documents are equal if these are."""
    return json.dumps(record_of(document), sort_keys=True)


def _check_types(document: Document) -> None:
    place = f"document {shorten(document.key)}"
    if not isinstance(document.metadata, Mapping):
        raise InputError(f"{place}: metadata {shorten(document.metadata)} is not a mapping")
    links = document.links
    if not isinstance(links, list | tuple) or not all(isinstance(one, Link) for one in links):
        raise InputError(
            f"{place}: links {shorten(links)} are not a tuple of Link; write Link(...)"
        )


def link_records(document: Document) -> list[dict[str, Any]]:
    """Return a document's links as records; the inverse of `links_of`."""
    return [{"start": link.start, "end": link.end, "target": link.target}
            for link in document.links]  # fmt: skip
