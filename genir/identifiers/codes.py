"""Base of the code schemes: codebooks, and a tie-breaking level that makes codes unique.

A document vector is approximated by a sum of codewords, one per level. A last symbol, the tie,
separates documents with the same codes; it is 0 for most documents. The tie level always exists, so
inserted documents fit in without changing other identifiers; if a document is alone with its codes,
the tie is a forced step without cost. If all ties of some codes are used, the next nearest codeword
of the last level is chosen.
"""

from abc import abstractmethod
from collections.abc import Sequence, Set
from typing import Any, ClassVar, Self

import faiss
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from genir.config import StrictModel
from genir.errors import InputError
from genir.identifiers.base import Scheme, Vectors
from genir.identifiers.serialization import SchemeFiles
from genir.identifiers.tie_breaker import TieBreaker
from genir.identifiers.vectors import draw_rows, require_documents, require_vectors, track_chunks
from genir.types import Document, Identifier

POINTS_PER_CODE = 256
"""Maximum number of training vectors per codeword; faiss samples as many."""

VECTORS_PER_BATCH = 16_384
"""Vectors quantised per update of the progress bar."""


class CodeOptions(StrictModel):
    """Numbers of levels, of codes per level (a power of two) and of ties; clustering `seed`."""

    levels: int = Field(default=16, ge=1)
    codes: int = Field(default=256, ge=2, le=65_536)
    ties: int = Field(default=64, ge=2, le=65_536)
    seed: int = Field(default=0, ge=0)

    @field_validator("codes")
    @classmethod
    def _fill_bits(cls, codes: int) -> int:
        if codes & (codes - 1):
            low = 1 << codes.bit_length() - 1
            raise ValueError(f"faiss needs a power of two: {low} or {2 * low}")
        return codes


class CodeScheme(Scheme):
    """Codes of a quantiser, and a tie.

    If the corpus has fewer documents than `codes`, the largest power of two that they fill is used.

    Attributes:
        codebooks: float32 [levels, codes, dimension of a codeword].
        num_collisions: Documents with a tie above 0 or another codeword, since the first `encode`.
    """

    Options: ClassVar[type[StrictModel]] = CodeOptions
    needs_vectors: ClassVar[bool] = True
    full_depth: ClassVar[bool] = True
    tie_levels: ClassVar[int] = 1
    options: CodeOptions
    codebooks: Vectors
    num_collisions: int = 0

    @abstractmethod
    def _train(self, vectors: Vectors, codes: int) -> Vectors:
        """Return codebooks of `codes` codewords per level, trained on at least as many vectors."""

    @abstractmethod
    def full_codebooks(self) -> Vectors:
        """Return codewords at full dimension, float32 [levels, codes, dimension].

        A decoded vector is the sum of one codeword per level, without the tie level.
        """

    @property
    @abstractmethod
    def quantiser(self) -> Any:
        """The quantiser of faiss with the fitted codebooks."""

    @property
    def dimension(self) -> int:
        """Dimension of the vectors."""
        return self.full_codebooks().shape[2]

    def fit(self, corpus: Sequence[Document], vectors: Vectors | None = None) -> Self:
        """Train the codebooks on at most 256 vectors per code."""
        require_documents(self.name, corpus)
        vectors = require_vectors(self.name, corpus, vectors)
        codes = min(self.options.codes, max(2, 1 << len(vectors).bit_length() - 1))
        sample = draw_rows(vectors, POINTS_PER_CODE * codes, self.options.seed)
        if len(sample) < codes:  # a single document; faiss needs two points
            sample = np.repeat(sample, codes, axis=0)
        self.codebooks = self._train(sample, codes)
        return self

    def quantise(self, vectors: Vectors) -> NDArray[np.int32]:
        """Return codes [vectors, levels], without the tie."""
        levels, codes, _ = self.codebooks.shape
        found = np.empty((len(vectors), levels), np.int32)
        for rows in track_chunks(len(vectors), VECTORS_PER_BATCH, f"{self.name} codes"):
            packed = self.quantiser.compute_codes(vectors[rows])
            found[rows] = faiss.unpack_bitstrings(packed, levels, codes.bit_length() - 1)
        return found

    def decode(self, codes: NDArray[Any]) -> Vectors:
        """Return the vectors [documents, dimension] of codes [documents, levels]."""
        books = self.full_codebooks()[: codes.shape[1]]
        vectors = np.zeros((len(codes), books.shape[2]), dtype=np.float32)
        for level, book in enumerate(books):
            vectors += book[codes[:, level]]
        return vectors

    def encode(
        self,
        documents: Sequence[Document],
        vectors: Vectors | None = None,
        reserved: Set[Identifier] = frozenset(),
    ) -> list[list[Identifier]]:
        """Return each document's codes, followed by the lowest free tie."""
        vectors = require_vectors(self.name, documents, vectors, self.dimension)
        tie_breaker = TieBreaker(self.options.ties, reserved)
        self.num_collisions = self.num_collisions if reserved else 0
        identifiers = []
        for row, codes in enumerate(self.quantise(vectors).tolist()):
            place = tie_breaker.next_symbol(tuple(codes))
            place = place or self._nearest_free_code(
                documents[row].key, vectors[row], codes, tie_breaker
            )
            self.num_collisions += place[-1] > 0 or place[-2] != codes[-1]
            identifiers.append([place])
        return identifiers

    def _nearest_free_code(
        self, key: str, vector: Vectors, codes: list[int], tie_breaker: TieBreaker
    ) -> Identifier:
        """Return an identifier that differs in the last code: the nearest with a free tie."""
        rest = vector - self.decode(np.array([codes[:-1]], dtype=np.int64))[0]
        distances = np.square(self.full_codebooks()[-1] - rest).sum(axis=1)
        for code in np.argsort(distances, kind="stable").tolist():
            place = tie_breaker.next_symbol((*codes[:-1], code))
            if place is not None:
                return place
        raise InputError(
            f"document {key!r}: all {len(distances)} x {self.options.ties} identifiers with codes "
            f"{codes[:-1]} are used; raise ties, levels or codes in [identifiers] and train again"
        )

    def level_sizes(self) -> list[int]:
        """Return the number of codes of each level, and the number of ties."""
        levels, codes, _ = self.codebooks.shape
        return [codes] * levels + [self.options.ties]

    def to_text(self, identifier: Identifier) -> str:
        """Return the codes such as `12-7-200`, with a tie above 0 as `12-7-200+1`."""
        *codes, tie = identifier
        return "-".join(map(str, codes)) + (f"+{tie}" if tie else "")

    def fitted(self) -> dict[str, Any]:
        """Return the number of collisions."""
        return {"tied": self.num_collisions}

    def fitted_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the codebooks."""
        return {"codebooks": self.codebooks}

    def restore(self, saved: SchemeFiles) -> None:
        """Set codebooks and number of collisions. Raises InputError for codebooks of other size."""
        self.codebooks = saved.arrays({"codebooks": (np.float32, 3)})["codebooks"]
        levels, codes, width = self.codebooks.shape
        if levels != self.options.levels or codes < 2 or codes & (codes - 1) or not width:
            raise InputError(
                f"{saved.folder}: codebooks of shape {[levels, codes, width]} for "
                f"{self.options.levels} levels, each of a power of two of codes; restore them or "
                "train it again"
            )
        self.num_collisions = int(saved.fact("tied"))
