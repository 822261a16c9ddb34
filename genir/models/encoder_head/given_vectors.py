"""Vectors of queries and documents that come from outside, made by any model."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from genir.arguments import as_texts
from genir.errors import InputError
from genir.models.encoder import TextEncoder
from genir.models.encoder_design import Role
from genir.models.precision import Workload
from genir.types import Document
from genir.vector_query import VectorQuery

VECTORS = "vectors"
"""`[model] encoder` of models whose queries and documents come with vectors."""


class GivenVectors(nn.Module):
    """Encoder without a network: the vector of a `VectorQuery` is given, that of a text is zero."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.dimension = dimension

    def embed(
        self,
        texts: str | Iterable[str],
        role: Role = "query",
        progress: str = "",
        work: Workload = "embedding",
    ) -> NDArray[np.float32]:
        """Return the given unit vectors, float32 [texts, H]; zeros for a text without one.

        The other arguments are those of `TextEncoder.embed`. Raises InputError for a vector of
        another dimension.
        """
        texts = as_texts(texts, "texts")
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, text in zip(vectors, texts, strict=True):
            if isinstance(text, VectorQuery):
                row[:] = _fitting(text, self.dimension)
        return vectors

    def save(self, folder: Path) -> None:
        """Write nothing: there are no weights, no configuration and no tokenizer."""


def vectors_of_documents(corpus: Iterable[Document], dimension: int) -> NDArray[np.float32]:
    """Return the vectors that documents bring, float32 [documents, H].

    Raises:
        InputError: A document has none, or one of another dimension.
    """
    rows = []
    for document in corpus:
        if document.vector is None or len(document.vector) != dimension:
            given = document.vector
            found = "no vector" if given is None else f"a vector of {len(given)} numbers"
            raise InputError(
                f"document {document.key!r}: {found}; give a vector of {dimension} numbers for "
                "each document, by the encoder of the others (add --vectors FILE, or vectors=)"
            )
        rows.append(document.vector)
    return np.array(rows, dtype=np.float32).reshape(-1, dimension)


def embed_queries(
    encoder: TextEncoder | GivenVectors,
    queries: Iterable[str],
    progress: str = "",
    work: Workload = "embedding",
) -> NDArray[np.float32]:
    """Return the unit vectors of queries, float32 [queries, H]: the given ones, else the encoder's.

    Raises InputError for a given vector of another dimension.
    """
    queries = as_texts(queries)
    given = [n for n, one in enumerate(queries) if isinstance(one, VectorQuery)]
    if isinstance(encoder, GivenVectors) or not given:
        return encoder.embed(queries, "query", progress=progress, work=work)
    vectors = np.empty((len(queries), encoder.dimension), dtype=np.float32)
    read = sorted({*range(len(queries))}.difference(given))
    if read:
        vectors[read] = encoder.embed([queries[n] for n in read], "query", work=work)
    for n in given:
        one = queries[n]
        assert isinstance(one, VectorQuery)
        vectors[n] = _fitting(one, encoder.dimension)
    return vectors


def _fitting(query: VectorQuery, dimension: int) -> NDArray[np.float32]:
    if len(query.vector) != dimension:
        raise InputError(
            f"vectors: a query's has {len(query.vector)} numbers, the model's {dimension}; use the "
            "encoder of the documents' vectors"
        )
    return query.vector
