"""Bodies of requests that change documents, and their limits."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from genir.corpus.json_lines import shorten
from genir.corpus.serialization import document_of
from genir.corpus.vectors import with_document_vectors
from genir.errors import InputError
from genir.serving.request_limits import require_at_most
from genir.serving.schemas import (
    MAX_QUERIES,
    MAX_VALUE_CHARACTERS,
    Message,
    Queries,
    Vector,
    max_items,
)
from genir.serving.settings import Settings
from genir.types import Document

MAX_FIELDS = 1_000
"""Maximum number of metadata fields of one document."""
MAX_CHARACTERS = {"_id": MAX_VALUE_CHARACTERS, "title": 10_000, "url": 8_192}
"""Maximum length of document fields in characters; a key must fit in a URL, `--max-text` limits
texts.
"""

Documents = Annotated[
    list[dict[str, Any]],
    Field(min_length=1, max_length=MAX_QUERIES, fail_fast=True),
    max_items(MAX_QUERIES, "documents"),
]


class DocumentsRequest(Message):
    """Body of `POST /v1/documents`: either `document` or `documents`."""

    large: ClassVar[bool] = True

    document: dict[str, Any] | None = Field(
        default=None,
        description="fields as in corpus.jsonl: _id, text, title, url; all others are metadata",
        examples=[
            {"_id": "page-17", "title": "Copying", "text": "Copy a folder ...", "lang": "en"}
        ],
    )
    documents: Documents | None = None
    replace: bool = Field(
        default=False, strict=True, description="replace the existing documents with the same keys"
    )
    queries: Annotated[dict[str, Queries], max_items(MAX_QUERIES, "keys")] = Field(
        default={},
        max_length=MAX_QUERIES,
        description="known queries for the documents: key -> list of queries",
    )
    vectors: Annotated[dict[str, Vector], max_items(MAX_QUERIES, "keys")] = Field(
        default={},
        max_length=MAX_QUERIES,
        description="vectors of the documents by the model's encoder: key -> list of numbers; a "
        "model trained with given vectors needs them",
    )

    @model_validator(mode="after")
    def _one_or_several(self) -> Self:
        if (self.document is None) == (self.documents is None):
            raise ValueError('give either "document" (an object) or "documents" (a list of them)')
        return self

    def records(self) -> list[dict[str, Any]]:
        """Return the documents as a list."""
        return self.documents if self.document is None else [self.document]  # type: ignore[return-value]


class VersionRequest(Message):
    """Body of `POST /v1/rollback`."""

    version: int = Field(
        ge=0, le=2**62, strict=True, description="version to restore, from GET /v1/versions"
    )


class SyncRequest(Message):
    """Body of `POST /v1/sync`."""

    dry_run: bool = Field(default=False, strict=True, description="only return the difference")


class FolderRequest(Message):
    """Body of `POST /v1/model`."""

    folder: str = Field(
        min_length=1, max_length=4_096, description="name of a model folder inside --models"
    )


def read_documents(body: DocumentsRequest, settings: Settings) -> list[Document]:
    """Return the documents of a request.

    Raises:
        HTTPException: 422 if a limit of the settings is exceeded.
        InputError: A document is invalid.
    """
    records = body.records()
    require_at_most("documents", len(records), settings.max_documents, "documents")
    for number, record in enumerate(records, 1):
        _refuse_large(record, f"document {number}", settings)
    documents = [document_of(record, f"document {n}") for n, record in enumerate(records, 1)]
    strangers = body.queries.keys() - {document.key for document in documents}
    if strangers:
        raise InputError(f"queries: {shorten(min(strangers))} is none of the documents given")
    for asked in body.queries.values():
        require_at_most("queries", len(asked), settings.max_queries, "queries")
        require_at_most(
            "queries", max(map(len, asked), default=0), settings.max_query, "characters"
        )
    return with_document_vectors(documents, body.vectors)


def _refuse_large(record: Mapping[str, Any], place: str, settings: Settings) -> None:
    """Raise HTTPException 422 for a document with too many or too long fields."""
    nested = record.get("metadata")
    names = [*record, *(nested if isinstance(nested, dict) else ())]
    require_at_most(place, len(names), MAX_FIELDS, "fields")
    longest = max(names, key=len, default="")
    require_at_most(
        f"{place}: {shorten(longest)}", len(longest), MAX_VALUE_CHARACTERS, "characters"
    )
    for name, most in (MAX_CHARACTERS | {"text": settings.max_text}).items():
        value = record.get(name)
        if isinstance(value, str):
            require_at_most(f"{place}: {name}", len(value), most, "characters")
