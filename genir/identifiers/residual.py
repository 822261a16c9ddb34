"""Residual codes: each level quantises the residual of the levels before it (RQ; RIPOR, TIGER)."""

from functools import cached_property
from typing import Any, ClassVar

import faiss
from pydantic import Field

from genir.config import StrictModel
from genir.identifiers.base import Vectors
from genir.identifiers.codes import CodeOptions, CodeScheme

TABLE_CODES = 8_192
"""Codewords up to which their inner products are cached: 3-4 times faster, at most 256 MB."""


class ResidualOptions(CodeOptions):
    """`beam`: partial codes kept at each level in training and encoding."""

    beam: int = Field(default=5, ge=1, le=1_024)


class Residual(CodeScheme):
    """Additive residual quantiser of faiss; codebooks [levels, codes, dimension]."""

    name: ClassVar[str] = "residual"
    Options: ClassVar[type[StrictModel]] = ResidualOptions
    options: ResidualOptions

    def full_codebooks(self) -> Vectors:
        """Return the codebooks, which have the full dimension."""
        return self.codebooks

    def _train(self, vectors: Vectors, codes: int) -> Vectors:
        quantiser = self._empty_quantiser(vectors.shape[1], self.options.levels, codes)
        # Progressive dimensions lower the error by about 4% on sentence vectors, but the PCA needs
        # more points than dimensions. Training on the top beam only is 4 times faster.
        growing = quantiser.Train_progressive_dim if len(vectors) > vectors.shape[1] else 0
        quantiser.train_type = growing | quantiser.Train_top_beam | quantiser.Skip_codebook_tables
        quantiser.cp.seed = self.options.seed
        quantiser.cp.min_points_per_centroid = 1  # silences a warning; `fit` limits the codes
        quantiser.train(vectors)
        books = faiss.vector_to_array(quantiser.codebooks)
        return books.reshape(self.options.levels, codes, vectors.shape[1]).copy()

    @cached_property
    def quantiser(self) -> Any:
        """The quantiser of faiss with the fitted codebooks."""
        levels, codes, dimension = self.codebooks.shape
        quantiser = self._empty_quantiser(dimension, levels, codes)
        faiss.copy_array_to_vector(self.codebooks.ravel(), quantiser.codebooks)
        quantiser.is_trained = True
        if levels * codes <= TABLE_CODES:
            quantiser.compute_codebook_tables()
            quantiser.use_beam_LUT = 1
        return quantiser

    def _empty_quantiser(self, dimension: int, levels: int, codes: int) -> Any:
        quantiser = faiss.ResidualQuantizer(dimension, levels, codes.bit_length() - 1)
        # faiss 1.15 mixes up vectors of a batch if the beam exceeds the number of code sequences.
        quantiser.max_beam_size = min(self.options.beam, codes**levels)
        quantiser.max_mem_distances = 1 << 28
        return quantiser
