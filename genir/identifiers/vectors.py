"""Checks of document vectors for the schemes that quantise them."""

from collections.abc import Iterator, Sequence

import numpy as np

from genir.errors import InputError
from genir.identifiers.base import Vectors
from genir.progress import tracked
from genir.types import Document


def require_vectors(
    scheme: str,
    documents: Sequence[Document],
    vectors: Vectors | None,
    dimension: int | None = None,
) -> Vectors:
    """Return the vectors as contiguous float32 [documents, dimension].

    Raises:
        InputError: They are missing, of another shape, or not finite.
    """
    if vectors is None:
        raise InputError(f"scheme {scheme!r}: needs document vectors; pass them")
    array = np.ascontiguousarray(vectors, dtype=np.float32)
    wanted = (len(documents), array.shape[-1] if dimension is None else dimension)
    if array.shape != wanted:
        raise InputError(
            f"scheme {scheme!r}: needs vectors of shape {wanted}, got {array.shape}; "
            "encode all documents with the encoder used for `fit`"
        )
    bad = ~np.isfinite(array).all(axis=1)
    if bad.any():
        key = documents[int(bad.argmax())].key
        raise InputError(f"document {key!r}: its vector holds NaN or infinity; encode it again")
    return array


def require_documents(scheme: str, corpus: Sequence[Document]) -> None:
    """Raise InputError for an empty corpus."""
    if not corpus:
        raise InputError(f"scheme {scheme!r}: the corpus has no documents; add some")


def draw_rows(vectors: Vectors, count: int, seed: int) -> Vectors:
    """Return a uniform sample of at most `count` vectors without replacement, in order."""
    if len(vectors) <= count:
        return vectors
    rows = np.random.default_rng(seed).choice(len(vectors), count, replace=False)
    return vectors[np.sort(rows)]


def track_chunks(total: int, size: int, title: str) -> Iterator[slice]:
    """Yield slices of `size` rows that cover `total`, with a progress bar."""
    for start in tracked(range(0, total, size), title):
        yield slice(start, start + size)
