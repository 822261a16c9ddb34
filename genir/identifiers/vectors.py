"""Checks on document vectors, shared by the schemes that quantise them."""

from collections.abc import Iterator, Sequence

import numpy as np

from genir.errors import InputError
from genir.identifiers.base import Vectors
from genir.progress import tracked
from genir.records import Document


def require_vectors(
    scheme: str,
    documents: Sequence[Document],
    vectors: Vectors | None,
    dimension: int | None = None,
) -> Vectors:
    """Return the vectors, float32 [documents, dimension], contiguous as faiss wants them.

    Raises InputError when they are absent, of another shape, or not finite.
    """
    if vectors is None:
        raise InputError(f"the scheme {scheme!r} quantises document vectors, and got none")
    array = np.ascontiguousarray(vectors, dtype=np.float32)
    wanted = (len(documents), array.shape[-1] if dimension is None else dimension)
    if array.shape != wanted:
        raise InputError(
            f"the scheme {scheme!r} needs vectors of shape {wanted}, got {array.shape}; "
            "encode all documents, with the encoder that the scheme was fitted with"
        )
    bad = ~np.isfinite(array).all(axis=1)
    if bad.any():
        key = documents[int(bad.argmax())].key
        raise InputError(f"the vector of document {key!r} holds NaN or infinity; encode it again")
    return array


def require_documents(scheme: str, corpus: Sequence[Document]) -> None:
    """Raise InputError when there is nothing to fit."""
    if not corpus:
        raise InputError(f"the scheme {scheme!r} cannot be fitted to a corpus of no documents")


def draw_rows(vectors: Vectors, count: int, seed: int) -> Vectors:
    """Return at most `count` of the vectors, drawn evenly without replacement, in their order."""
    if len(vectors) <= count:
        return vectors
    rows = np.random.default_rng(seed).choice(len(vectors), count, replace=False)
    return vectors[np.sort(rows)]


def track_chunks(total: int, size: int, title: str) -> Iterator[slice]:
    """Yield slices that cover `total` rows, under a progress bar when there are several."""
    for start in tracked(range(0, total, size), title):
        yield slice(start, start + size)
