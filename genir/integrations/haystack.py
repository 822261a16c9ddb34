"""Haystack retriever component over a loaded model or a server (extra `[haystack]`)."""

from typing import Any

from genir.errors import MissingPackage
from genir.integrations.base import Source
from genir.integrations.metadata import metadata_of
from genir.types import Filter

try:
    from haystack import Document, component
except ModuleNotFoundError as error:
    raise MissingPackage("haystack-ai", "haystack", "the Haystack retriever") from error


@component
class GenirRetriever:
    """Haystack component that returns whole documents, best first.

    The id of a document is its key; its `meta` is described in `integrations.metadata`.
    """

    def __init__(self, source: Source, top_k: int = 10, where: Filter | None = None) -> None:
        """Make a retriever.

        Args:
            source: A `genir.retriever.Retriever` or a `genir.integrations.http.RemoteSearcher`.
            top_k: Number of documents per query.
            where: Metadata filter of genir, or None.
        """
        self.source, self.top_k, self.where = source, top_k, where

    @component.output_types(documents=list[Document])
    def run(
        self, query: str, top_k: int | None = None, where: dict[str, Any] | None = None
    ) -> dict[str, list[Document]]:
        """Return the documents of a query.

        Args:
            query: The query.
            top_k: Number of documents. Default: as given to the component.
            where: Metadata filter of genir. Default: as given to the component.
        """
        chosen = self.where if where is None else where
        hits = self.source.search([query], self.top_k if top_k is None else top_k, chosen)[0]
        found = self.source.documents.fetch([hit.key for hit in hits])
        documents = [
            Document(
                id=hit.key,
                content=found[hit.key].text,
                meta=metadata_of(hit, found[hit.key]),
                score=hit.score,
            )
            for hit in hits
        ]
        return {"documents": documents}
