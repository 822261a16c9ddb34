"""Protected queries: train queries whose results must not change when documents are added."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from genir.errors import InputError

NAME = "guards.safetensors"
MAX_PROTECTED_QUERIES = 16_384
"""Maximum number of train queries kept, sampled uniformly: 25 MB at 768 columns."""


class ProtectedQueries(NamedTuple):
    """Q protected queries and their documents.

    vectors: float16 [Q, H]. documents: document numbers, int32 [Q].
    """

    vectors: NDArray[np.float16]
    documents: NDArray[np.int32]

    def renumber(self, numbers: NDArray[np.int64]) -> "ProtectedQueries":
        """Map document numbers to new ones, int64 [documents]; -1 drops the document."""
        documents = numbers[self.documents]
        kept = documents >= 0
        if kept.all():  # avoid a copy of the vectors
            return ProtectedQueries(self.vectors, documents.astype(np.int32))
        return ProtectedQueries(self.vectors[kept], documents[kept].astype(np.int32))

    def with_queries(self, asked: Mapping[int, NDArray[np.float16]]) -> "ProtectedQueries":
        """Replace the queries of some documents: float16 [Q, H] by document number."""
        kept = ~np.isin(self.documents, list(asked))
        if kept.all() and not any(map(len, asked.values())):
            return self
        vectors = [self.vectors[kept], *asked.values()]
        counts = [len(own) for own in asked.values()]
        numbers = np.repeat(np.array(list(asked), dtype=np.int32), counts)
        return ProtectedQueries(
            np.concatenate(vectors), np.concatenate([self.documents[kept], numbers])
        )

    def save(self, folder: Path) -> None:
        """Write `guards.safetensors`."""
        save_file(self._asdict(), folder / NAME)

    @classmethod
    def load(cls, folder: Path, count: int, width: int | None) -> Self | None:
        """Load saved queries for `count` documents; None if there is no file.

        width: number of columns of a document row; None if documents have no rows.

        Raises:
            InputError: The file is damaged.
        """
        path = folder / NAME
        if not path.is_file():
            return None
        try:
            arrays = load_file(path)
            vectors, documents = arrays["vectors"], arrays["documents"]
            valid = vectors.dtype == np.float16 and vectors.ndim == 2 and documents.ndim == 1
            valid = valid and documents.dtype == np.int32 and len(vectors) == len(documents)
            if not valid or not 0 <= documents.min(initial=0) <= documents.max(initial=0) < count:
                raise KeyError("arrays must be float16 [Q, H] and int32 [Q]")
            if vectors.shape[1] != width or not np.isfinite(vectors).all():
                raise KeyError(f"vectors of {vectors.shape[1]} columns instead of {width}")
            return cls(vectors, documents)
        except (OSError, KeyError, SafetensorError) as error:
            raise InputError(f"{path}: damaged ({error}); restore it or train it again") from None


class NewDocument(NamedTuple):
    """Parameters of an inserted document.

    row: float32 [H]. query_vectors: its queries, to be protected from now on, float16 [Q, H].
    """

    row: NDArray[np.float32]
    query_vectors: NDArray[np.float16]


class ExistingDocuments(NamedTuple):
    """Existing documents and protected queries at an insertion.

    live_symbols: whether each symbol's document can be found, bool [symbols]. protected_queries:
    protected queries; a document without any is represented by its own row as a query.
    """

    live_symbols: NDArray[np.bool_]
    protected_queries: ProtectedQueries | None = None
