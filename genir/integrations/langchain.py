"""LangChain retriever over a loaded model or a server (extra `[langchain]`)."""

from dataclasses import asdict
from typing import Any

from genir.errors import MissingPackage
from genir.integrations.base import Source
from genir.types import Document as Found
from genir.types import Hit

try:
    from langchain_core.callbacks import CallbackManagerForRetrieverRun
    from langchain_core.documents import Document
    from langchain_core.retrievers import BaseRetriever
except ModuleNotFoundError as error:
    raise MissingPackage("langchain-core", "langchain", "the LangChain retriever") from error


class GenirRetriever(BaseRetriever):
    """LangChain retriever that returns whole documents, best first.

    The metadata of a document has `key`, `rank`, `score`, `title`, `url`, `anchor`, `breadcrumb`
    and `identifier`, and `unit` (`start`, `end`, `heading`) if the model has units: the part that
    matches best.

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
        return [_document(hit, found[hit.key]) for hit in hits]


def _document(hit: Hit, found: Found) -> Document:
    own = {"key": hit.key, "rank": hit.rank, "score": hit.score}
    unit = None if hit.unit is None else asdict(hit.unit)
    named: dict[str, Any] = {"title": hit.title, "url": hit.url, "anchor": hit.anchor}
    named |= {"breadcrumb": list(hit.breadcrumb), "identifier": hit.identifier, "unit": unit}
    metadata = dict(found.metadata)
    for name in (*own, *named):
        if name in metadata:
            unused = name
            while unused in metadata:
                unused = f"document_{unused}"
            metadata[unused] = metadata.pop(name)
    shown = {name: value for name, value in named.items() if value}
    return Document(id=hit.key, page_content=found.text, metadata=metadata | own | shown)
