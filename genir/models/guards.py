"""Queries whose answers a new document must not take away: train queries as vectors."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from genir.errors import InputError

NAME = "guards.safetensors"
MOST = 16_384
"""Train queries that are kept, drawn evenly: 25 MB at 768 columns."""


class Guards(NamedTuple):
    """Q queries and the documents that answer them.

    vectors: float16 [Q, H]. documents: int32 [Q], their numbers in the table.
    """

    vectors: NDArray[np.float16]
    documents: NDArray[np.int32]

    def renumber(self, numbers: NDArray[np.int64]) -> "Guards":
        """Return those of the documents that stay; numbers: [documents], the new one, or -1."""
        documents = numbers[self.documents]
        kept = documents >= 0
        if kept.all():  # vectors are megabytes: no copy of them
            return Guards(self.vectors, documents.astype(np.int32))
        return Guards(self.vectors[kept], documents[kept].astype(np.int32))

    def put(self, asked: Mapping[int, NDArray[np.float16]]) -> "Guards":
        """Return guards in which documents, by number, have these queries [Q, H] alone."""
        kept = ~np.isin(self.documents, list(asked))
        if kept.all() and not any(map(len, asked.values())):
            return self
        vectors = [self.vectors[kept], *asked.values()]
        counts = [len(own) for own in asked.values()]
        numbers = np.repeat(np.array(list(asked), dtype=np.int32), counts)
        return Guards(np.concatenate(vectors), np.concatenate([self.documents[kept], numbers]))

    def save(self, folder: Path) -> None:
        """Write `guards.safetensors`."""
        save_file(self._asdict(), folder / NAME)

    @classmethod
    def load(cls, folder: Path, count: int, width: int | None) -> Self | None:
        """Read back what `save` wrote for `count` documents; None if there is nothing.

        width: the columns of a document's row, None where documents have none.

        Raises InputError for a damaged file.
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
                raise KeyError("other arrays than float16 [Q, H] and int32 [Q]")
            if vectors.shape[1] != width or not np.isfinite(vectors).all():
                raise KeyError(f"vectors of {vectors.shape[1]} columns instead of {width}")
            return cls(vectors, documents)
        except (OSError, KeyError, SafetensorError) as error:
            raise InputError(f"{path}: damaged ({error}); restore it or train it again") from None


class NewRow(NamedTuple):
    """What a document that is added is given.

    row: float32 [H]. asked: float16 [Q, H], the queries that came with it: guards of its own.
    """

    row: NDArray[np.float32]
    asked: NDArray[np.float16]


class Standing(NamedTuple):
    """What stands already when documents are added.

    rivals: bool [symbols], those of documents that can be found. guards: queries that must keep
    their answers; a document without any is stood for by its own row, as if it were a query.
    """

    rivals: NDArray[np.bool_]
    guards: Guards | None = None
