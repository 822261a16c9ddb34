"""Files of pseudo-queries: JSON lines {"document": key, "text": query}."""

from collections.abc import Container
from pathlib import Path

from genir.arguments import is_blank
from genir.corpus.json_lines import json_records, shorten
from genir.errors import InputError
from genir.text_files import read_lines


def read_pseudo_queries(
    path: Path, documents: Container[str] | None = None
) -> dict[str, list[str]]:
    """Return the pseudo-queries of each document, by its key.

    Raises:
        InputError: Invalid line, or a key that is not among `documents`, where given.
    """
    texts: dict[str, list[str]] = {}
    for number, record in json_records(read_lines(path), str(path)):
        key, text = record.get("document"), record.get("text")
        if not isinstance(key, str) or not isinstance(text, str) or is_blank(text):
            raise InputError(
                f'{path}:{number}: {shorten(record)}; write {{"document": key, "text": query}}'
            )
        if documents is not None and key not in documents:
            raise InputError(
                f"{path}:{number}: document {key!r} is unknown; remove the line, or generate the "
                "queries of this corpus"
            )
        texts.setdefault(key, []).append(text)
    return texts
