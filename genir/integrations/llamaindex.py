"""LlamaIndex retriever over a loaded model or a server (extra `[llamaindex]`)."""

from genir.errors import MissingPackage
from genir.integrations.base import Source
from genir.integrations.metadata import metadata_of
from genir.types import Filter

try:
    from llama_index.core.callbacks import CallbackManager
    from llama_index.core.retrievers import BaseRetriever
    from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
except ModuleNotFoundError as error:
    raise MissingPackage("llama-index-core", "llamaindex", "the LlamaIndex retriever") from error


class GenirRetriever(BaseRetriever):
    """LlamaIndex retriever that returns whole documents as nodes, best first.

    The id of a node is the document's key; its metadata is described in `integrations.metadata`.
    """

    def __init__(
        self,
        source: Source,
        k: int = 4,
        where: Filter | None = None,
        callback_manager: CallbackManager | None = None,
    ) -> None:
        """Make a retriever.

        Args:
            source: A `genir.retriever.Retriever` or a `genir.integrations.http.RemoteSearcher`.
            k: Number of documents per query.
            where: Metadata filter, or None.
            callback_manager: Callbacks of LlamaIndex.
        """
        super().__init__(callback_manager=callback_manager)
        self._source, self._k, self._where = source, k, where

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        hits = self._source.search([query_bundle.query_str], self._k, self._where)[0]
        found = self._source.documents.fetch([hit.key for hit in hits])
        return [
            NodeWithScore(
                node=TextNode(
                    id_=hit.key,
                    text=found[hit.key].text,
                    metadata=metadata_of(hit, found[hit.key]),
                ),
                score=hit.score,
            )
            for hit in hits
        ]
