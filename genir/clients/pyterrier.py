"""genir as a PyTerrier transformer (extra `[pyterrier]`): a loaded model, or a server."""

from genir.errors import MissingPackage
from genir.records import Filter, Searcher

try:
    import pandas as pd
    import pyterrier as pt
except ModuleNotFoundError as error:
    raise MissingPackage("pyterrier", "pyterrier", "the PyTerrier transformer") from error

COLUMNS = ["docno", "score", "rank", "title", "url", "identifier"]


class GenirTransformer(pt.Transformer):
    """Turn queries (qid, query) into results (docno, score, rank, ...), `k` for each query.

    source: a `genir.retriever.Retriever`, a baseline or a `genir.clients.http.RemoteSearcher`.
    """

    def __init__(self, source: Searcher, k: int = 100, where: Filter | None = None) -> None:
        self.source, self.k, self.where = source, k, where

    def transform(self, topics: pd.DataFrame) -> pd.DataFrame:
        """Answer each row; ranks start at 0, as PyTerrier has them.

        Columns of the topics that results have too, such as a topic's `title`, are replaced.
        """
        pt.validate.query_frame(topics, extra_columns=["query"])
        answers = self.source.search(topics["query"].tolist(), self.k, self.where)
        topics = topics.drop(columns=[name for name in COLUMNS if name in topics.columns])
        rows = [
            (*topic, hit.key, hit.score, hit.rank - 1, hit.title, hit.url, hit.identifier)
            for topic, hits in zip(topics.itertuples(index=False), answers, strict=True)
            for hit in hits
        ]
        return pd.DataFrame(rows, columns=[*topics.columns, *COLUMNS])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.source!r}, k={self.k})"

    def fuse_rank_cutoff(self, k: int) -> "GenirTransformer":
        """Ask for no more than a pipeline's `% k` keeps."""
        return GenirTransformer(self.source, min(k, self.k), self.where)
