"""Bag-of-words embeddings beside the dense encoder, for exact word matches.

Each word piece has a random projection vector (Johnson-Lindenstrauss). The inner product of a
query's sum and a document's BM25-weighted sum approximates their BM25 score, without an index at
query time. The vectors are not trained: trained ones memorise the train queries and do not help
others (docs/design/).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from torch import Tensor, nn

K1, B = 0.9, 0.4


class LexicalEncoder(nn.Module):
    """Sum of the idf-weighted vectors of a query's distinct word pieces.

    weight: word vectors times idf, float32 [vocabulary, dimension].
    """

    weight: Tensor
    idf: Tensor
    average_length: Tensor

    def __init__(self, vocabulary: int, dimension: int, special: Sequence[int]) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        vectors = torch.randn(vocabulary, dimension, generator=generator) / dimension**0.5
        self.special = frozenset(special)
        self.register_buffer("weight", vectors)
        self.register_buffer("idf", torch.ones(vocabulary))
        self.register_buffer("average_length", torch.ones(()))

    @property
    def dimension(self) -> int:
        """Dimension of a vector."""
        return self.weight.shape[1]

    def fit(self, bags: csr_matrix) -> None:
        """Set idf and average length from word-piece counts [documents, vocabulary]."""
        self.idf.copy_(torch.from_numpy(inverse_frequency(bags, sorted(self.special))))
        self.average_length.fill_(mean_length(bags))
        self.weight.mul_(self.idf.unsqueeze(1))

    def document_vectors(self, bags: csr_matrix) -> NDArray[np.float32]:
        """Return BM25-weighted sums of the word vectors, float32 [documents, dimension]."""
        weights = bm25_saturation(bags, float(self.average_length))
        used = np.unique(weights.indices)  # the vectors of a whole vocabulary take 50 MB
        pieces = torch.from_numpy(used).to(self.idf.device).long()
        idf = self.idf[pieces].clamp(min=1e-6).unsqueeze(1)
        words = torch.where(idf > 1e-6, self.weight[pieces] / idf, 0.0).cpu().numpy()
        return np.asarray(weights[:, used] @ words, dtype=np.float32)

    def forward(self, input_ids: Tensor) -> Tensor:
        """Return query vectors, float32 [batch, dimension], of tokens int64 [batch, length].

        Each distinct word piece counts once; special tokens have weight 0.
        """
        ordered = input_ids.sort(dim=1).values
        first = torch.ones_like(ordered, dtype=torch.bool)
        first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
        counted = first & (self.idf[ordered] > 0)
        weights = counted.to(self.weight.dtype)
        return nn.functional.embedding_bag(
            ordered, self.weight, mode="sum", per_sample_weights=weights
        )


def count_tokens(ids: Sequence[Sequence[int]], vocabulary: int) -> csr_matrix:
    """Return word-piece counts, float32 [texts, vocabulary]."""
    lengths = [len(row) for row in ids]
    columns = np.fromiter((i for row in ids for i in row), dtype=np.int64, count=sum(lengths))
    rows = np.repeat(np.arange(len(ids)), lengths)
    ones = np.ones(len(columns), dtype=np.float32)
    return csr_matrix((ones, (rows, columns)), shape=(len(ids), vocabulary))


def inverse_frequency(bags: csr_matrix, special: Sequence[int]) -> NDArray[np.float32]:
    """Return BM25's idf of each word piece, 0 for special ones; bags: [documents, vocabulary]."""
    documents, frequency = bags.shape[0], bags.getnnz(axis=0)
    idf = np.log1p((documents - frequency + 0.5) / (frequency + 0.5)).astype(np.float32)
    idf[list(special)] = 0.0
    return idf


def mean_length(bags: csr_matrix) -> float:
    """Return the mean number of word pieces of a document."""
    return float(bags.sum()) / max(bags.shape[0], 1)


def bm25_saturation(bags: csr_matrix, average_length: float) -> csr_matrix:
    """Return BM25's saturated term frequencies, without idf, [documents, vocabulary]."""
    weights = bags.tocoo(copy=True)
    lengths = np.asarray(bags.sum(axis=1)).ravel() / average_length
    norm = K1 * (1 - B + B * lengths[weights.row])
    weights.data = weights.data * (K1 + 1) / (weights.data + norm)
    return weights.tocsr()


def bm25_weights(bags: csr_matrix, special: Sequence[int]) -> csr_matrix:
    """Return the BM25 weight of each word piece of a document, [documents, vocabulary]."""
    idf = inverse_frequency(bags, special)
    return bm25_saturation(bags, max(mean_length(bags), 1.0)).multiply(idf).tocsr()


def special_ids(tokenizer: Any) -> list[int]:
    """Return the ids of the special tokens of a tokenizer."""
    return sorted(set(tokenizer.all_special_ids))
