"""Metadata of a hit for retrievers of other frameworks."""

from dataclasses import asdict
from typing import Any

from genir.types import Document, Hit


def metadata_of(hit: Hit, document: Document) -> dict[str, Any]:
    """Return the fields of a hit and of its document.

    The fields of a hit are `key`, `rank`, `score`, `title`, `url` and `identifier`, and `unit`
    (`start`, `end`, `heading`) if the model has units: the part that matches best. A document's own
    field with one of these names gets the prefix `document_`.
    """
    own = {"key": hit.key, "rank": hit.rank, "score": hit.score}
    unit = None if hit.unit is None else asdict(hit.unit)
    named = {"title": hit.title, "url": hit.url, "identifier": hit.identifier, "unit": unit}
    metadata = dict(document.metadata)
    for name in (*own, *named):
        if name in metadata:
            unused = name
            while unused in metadata:
                unused = f"document_{unused}"
            metadata[unused] = metadata.pop(name)
    shown = {name: value for name, value in named.items() if value}
    return metadata | own | shown
