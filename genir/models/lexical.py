"""A bag-of-words embedding beside the text encoder: exact words, as parameters.

A dense encoder blurs rare words; BM25 lives on them. Here every word piece has a vector, a random
projection (Johnson-Lindenstrauss), so that the inner product of a query's sum and a document's
BM25-weighted sum is near their BM25 score. At query time these are parameters like any other: no
index is consulted. They are not trained: trained with the rest they learn the train queries by
heart and help no others (docs/design/).
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

    weight: float32 [vocabulary, dimension], word vectors times idf.
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
        """Return the size of a vector."""
        return self.weight.shape[1]

    def fit(self, bags: csr_matrix) -> None:
        """Set idf and average length from word-piece counts [documents, vocabulary]."""
        self.idf.copy_(torch.from_numpy(inverse_frequency(bags, sorted(self.special))))
        self.average_length.fill_(mean_length(bags))
        self.weight.mul_(self.idf.unsqueeze(1))

    def document_vectors(self, bags: csr_matrix) -> NDArray[np.float32]:
        """Return BM25-weighted sums of the word vectors, float32 [documents, dimension]."""
        weights = saturated(bags, float(self.average_length))
        used = np.unique(weights.indices)  # all words of a vocabulary are 50 MB, few are in a text
        pieces = torch.from_numpy(used).to(self.idf.device).long()
        idf = self.idf[pieces].clamp(min=1e-6).unsqueeze(1)
        words = torch.where(idf > 1e-6, self.weight[pieces] / idf, 0.0).cpu().numpy()
        return np.asarray(weights[:, used] @ words, dtype=np.float32)

    def forward(self, input_ids: Tensor) -> Tensor:
        """Return query vectors, float32 [batch, dimension], of tokens int64 [batch, length].

        Each distinct word piece counts once; special ones have no idf, so they weigh nothing.
        """
        ordered = input_ids.sort(dim=1).values
        first = torch.ones_like(ordered, dtype=torch.bool)
        first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
        counted = first & (self.idf[ordered] > 0)
        weights = counted.to(self.weight.dtype)
        return nn.functional.embedding_bag(
            ordered, self.weight, mode="sum", per_sample_weights=weights
        )


def count_pieces(ids: Sequence[Sequence[int]], vocabulary: int) -> csr_matrix:
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


def saturated(bags: csr_matrix, average_length: float) -> csr_matrix:
    """Return counts as BM25 takes them, [documents, vocabulary], without idf."""
    weights = bags.tocoo(copy=True)
    lengths = np.asarray(bags.sum(axis=1)).ravel() / average_length
    norm = K1 * (1 - B + B * lengths[weights.row])
    weights.data = weights.data * (K1 + 1) / (weights.data + norm)
    return weights.tocsr()


def bm25_weights(bags: csr_matrix, special: Sequence[int]) -> csr_matrix:
    """Return what each word piece of a document adds to its BM25 score, [documents, vocabulary]."""
    idf = inverse_frequency(bags, special)
    return saturated(bags, max(mean_length(bags), 1.0)).multiply(idf).tocsr()


def special_ids(tokenizer: Any) -> list[int]:
    """Return the ids of a tokenizer's special tokens, which carry no meaning as words."""
    return sorted(set(tokenizer.all_special_ids))
