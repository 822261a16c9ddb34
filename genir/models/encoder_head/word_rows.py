"""Words of texts as sparse matrices: one row a text, one column a word id."""

from collections.abc import Iterable, Sequence
from itertools import chain, islice
from zlib import crc32

import numpy as np
import scipy  # loads scipy.sparse when it is used
import torch
from numpy.typing import NDArray
from torch import Tensor

from genir.errors import InputError

MAX_WORD_ID = 1 << 24
"""Word ids are exact in float32, so that they can be columns of a document row."""
MAX_QUERY_WORDS = 32
"""Distinct words of a query that are compared."""
TEXTS_PER_BLOCK = 4_096
"""Texts whose terms are held at once as strings."""


def word_ids(terms: Iterable[str]) -> NDArray[np.int64]:
    """Return the id of each term, from 1 to `MAX_WORD_ID` - 1: a hash of its UTF-8 bytes."""
    found = (1 + crc32(term.encode()) % (MAX_WORD_ID - 1) for term in terms)
    return np.fromiter(found, dtype=np.int64)


def pad_ids(terms: Iterable[Sequence[str]], width: int) -> NDArray[np.int64]:
    """Return the distinct word ids of each text, int64 [texts, width]; further ones are dropped."""
    rows = [word_ids(dict.fromkeys(own))[:width] for own in terms]
    ids = np.zeros((len(rows), width), dtype=np.int64)
    for row, found in zip(ids, rows, strict=True):
        row[: len(found)] = found
    return ids


def count_words(terms: Iterable[Sequence[str]]) -> "scipy.sparse.csr_matrix":
    """Count the words of texts, int32 [texts, MAX_WORD_ID].

    Terms are read in blocks: as strings, those of a corpus take ten times the memory.
    """
    remaining, blocks = iter(terms), [scipy.sparse.csr_matrix((0, MAX_WORD_ID), dtype=np.int32)]
    while block := list(islice(remaining, TEXTS_PER_BLOCK)):
        ids = word_ids(chain.from_iterable(block))
        rows = np.repeat(np.arange(len(block)), [len(own) for own in block])
        ones = np.ones(len(ids), dtype=np.int32)
        blocks.append(scipy.sparse.csr_matrix((ones, (rows, ids)), shape=(len(block), MAX_WORD_ID)))
    return scipy.sparse.vstack(blocks, format="csr")


def query_lengths(ids: Tensor) -> Tensor:
    """Return the length of each query's vector of words, float32 [B, 1]: the root of their number.

    ids: word ids, distinct in a row, int64 [B, W], 0 in unused slots. Word scores are divided by
    it, so that a long query does not outweigh the dense part, and a single name is not outweighed.
    """
    return (ids != 0).sum(dim=1, keepdim=True).clamp(min=1).float().sqrt()


def match_scores(ids: NDArray[np.int64], sets: "scipy.sparse.csr_matrix") -> NDArray[np.float32]:
    """Return the same scores as `WordSets.forward` for given sets, float32 [texts, sets].

    ids: word ids of texts, distinct in a row, int64 [texts, W], 0 in unused slots. sets: weights,
    float32 [sets, MAX_WORD_ID].
    """
    vocabulary, columns = np.unique(sets.indices, return_inverse=True)
    if not len(vocabulary):
        return np.zeros((len(ids), sets.shape[0]), dtype=np.float32)
    place = np.searchsorted(vocabulary, ids).clip(max=len(vocabulary) - 1)
    known = (vocabulary[place] == ids) & (ids != 0)
    starts = np.concatenate([[0], known.sum(axis=1).cumsum()])
    ones = np.ones(starts[-1], dtype=np.float32)
    texts = scipy.sparse.csr_matrix((ones, place[known], starts), shape=(len(ids), len(vocabulary)))
    narrow = scipy.sparse.csr_matrix(
        (sets.data, columns, sets.indptr), shape=(sets.shape[0], len(vocabulary))
    )
    return np.asarray((texts @ narrow.T).toarray(), dtype=np.float32)


def pad_sets(
    sets: "scipy.sparse.csr_matrix", size: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the word ids of sets, int64, and their weights, float32, [sets, size] each; 0 in
    unused slots."""
    lengths = np.diff(sets.indptr)
    used = np.arange(size) < lengths[:, None]
    ids, weights = np.zeros(used.shape, dtype=np.int64), np.zeros(used.shape, dtype=np.float32)
    ids[used], weights[used] = sets.indices, sets.data
    return ids, weights


def unpad_sets(ids: NDArray[np.float32], weights: NDArray[np.float32]) -> "scipy.sparse.csr_matrix":
    """Return padded sets as weights, float32 [sets, MAX_WORD_ID].

    Raises:
        InputError: A word id is not a whole number below `MAX_WORD_ID`.
    """
    if ((ids < 0) | (ids >= MAX_WORD_ID) | (ids % 1 != 0)).any():
        raise InputError(f"a row has word ids that are not whole numbers below {MAX_WORD_ID:,}")
    used = (weights != 0) & (ids != 0)
    starts = np.concatenate([[0], used.sum(axis=1).cumsum()])
    columns = ids[used].astype(np.int32)
    return scipy.sparse.csr_matrix((weights[used], columns, starts), shape=(len(ids), MAX_WORD_ID))


def join_rows(vectors: Tensor, sets: "scipy.sparse.csr_matrix", size: int) -> Tensor:
    """Return vectors [N, H] with word ids and weights as further columns, float32."""
    parts = (torch.from_numpy(part).to(vectors) for part in pad_sets(sets, size))
    return torch.cat([vectors, *parts], dim=1)
