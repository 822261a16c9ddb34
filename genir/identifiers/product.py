"""Product codes: each level quantises its own slice of the vector (Ultron, arXiv:2208.09257)."""

from functools import cached_property
from typing import Any, ClassVar

import faiss
import numpy as np

from genir.errors import InputError
from genir.identifiers.base import Vectors
from genir.identifiers.codes import CodeScheme


class Product(CodeScheme):
    """Product quantiser of faiss; codebooks [levels, codes, dimension / levels]."""

    name: ClassVar[str] = "product"

    def full_codebooks(self) -> Vectors:
        """Return the codewords in their slice of the vector, zero elsewhere."""
        levels, codes, width = self.codebooks.shape
        full = np.zeros((levels, codes, levels, width), dtype=np.float32)
        full[np.arange(levels), :, np.arange(levels)] = self.codebooks
        return full.reshape(levels, codes, levels * width)

    def _train(self, vectors: Vectors, codes: int) -> Vectors:
        levels, dimension = self.options.levels, vectors.shape[1]
        if dimension % levels:
            divisors = [n for n in range(1, dimension + 1) if dimension % n == 0]
            raise InputError(
                f"[identifiers] levels = {levels} does not divide the vectors' dimension "
                f"{dimension}; use one of {', '.join(map(str, divisors))}"
            )
        quantiser = faiss.ProductQuantizer(dimension, levels, codes.bit_length() - 1)
        quantiser.cp.seed = self.options.seed
        quantiser.cp.min_points_per_centroid = 1  # silences a warning; `fit` limits the codes
        quantiser.train(vectors)
        return faiss.vector_to_array(quantiser.centroids).reshape(levels, codes, -1).copy()

    @cached_property
    def quantiser(self) -> Any:
        """The quantiser of faiss with the fitted codebooks."""
        levels, codes, width = self.codebooks.shape
        quantiser = faiss.ProductQuantizer(levels * width, levels, codes.bit_length() - 1)
        faiss.copy_array_to_vector(self.codebooks.ravel(), quantiser.centroids)
        return quantiser
