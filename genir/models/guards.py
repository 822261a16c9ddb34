"""Queries whose answers a new document must not take away: train queries as vectors."""

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
        return Guards(self.vectors[kept], documents[kept].astype(np.int32))

    def save(self, folder: Path) -> None:
        """Write `guards.safetensors`."""
        save_file(self._asdict(), folder / NAME)

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """Read back what `save` wrote; None if there is nothing. Raises InputError if damaged."""
        path = folder / NAME
        if not path.is_file():
            return None
        try:
            arrays = load_file(path)
            return cls(arrays["vectors"], arrays["documents"])
        except (OSError, KeyError, SafetensorError) as error:
            raise InputError(f"{path}: damaged ({error}); restore it or train it again") from None


class Standing(NamedTuple):
    """What stands already when documents are added.

    rivals: bool [symbols], those of documents that can be found. guards: queries that must keep
    their answers; without any, each old row stands for a query that its own document answers.
    """

    rivals: NDArray[np.bool_]
    guards: Guards | None = None
