"""LangChain retriever over a loaded model or a server (extra `[langchain]`)."""

from typing import Any

from genir.errors import MissingPackage
from genir.integrations.base import Source
from genir.integrations.metadata import metadata_of

try:
    from langchain_core.callbacks import CallbackManagerForRetrieverRun
    from langchain_core.documents import Document
    from langchain_core.retrievers import BaseRetriever
except ModuleNotFoundError as error:
    raise MissingPackage("langchain-core", "langchain", "the LangChain retriever") from error


class GenirRetriever(BaseRetriever):
    """LangChain retriever that returns whole documents, best first.

    The id of a document is its key; its metadata is described in `integrations.metadata`.

    Attributes:
        source: A `genir.retriever.Retriever` or a `genir.integrations.http.RemoteSearcher`.
        k: Number of documents per query.
        where: Metadata filter, or None.
    """

    source: Source
    k: int = 10
    where: dict[str, Any] | None = None

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        hits = self.source.search([query], self.k, self.where)[0]
        found = self.source.documents.fetch([hit.key for hit in hits])
        return [
            Document(
                id=hit.key,
                page_content=found[hit.key].text,
                metadata=metadata_of(hit, found[hit.key]),
            )
            for hit in hits
        ]
