"""PyTerrier transformer over a loaded model or a server (extra `[pyterrier]`)."""

from genir.errors import MissingPackage
from genir.types import Filter, Searcher

try:
    import pandas as pd
    import pyterrier as pt
except ModuleNotFoundError as error:
    raise MissingPackage("pyterrier", "pyterrier", "the PyTerrier transformer") from error

COLUMNS = ["docno", "score", "rank", "title", "url", "identifier"]


class GenirTransformer(pt.Transformer):
    """PyTerrier transformer from queries (qid, query) to results (docno, score, rank, ...).

    Args:
        source: A `genir.retriever.Retriever`, a baseline or a
        `genir.integrations.http.RemoteSearcher`.
        k: Number of results per query.
        where: Metadata filter, or None.
    """

    def __init__(self, source: Searcher, k: int = 100, where: Filter | None = None) -> None:
        self.source, self.k, self.where = source, k, where

    def transform(self, topics: pd.DataFrame) -> pd.DataFrame:
        """Search for each row; ranks start at 0, as in PyTerrier.

        Columns of `topics` with the name of a result column, for example `title`, are replaced.
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
        """Lower `k` to the cutoff of a pipeline's `% k`."""
        return GenirTransformer(self.source, min(k, self.k), self.where)
