"""Initial embeddings of new symbols: the mean token embedding plus document offsets."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from genir.identifiers.base import Vectors
from genir.identifiers.table import IdentifierTable

INIT_NOISE = 0.1
"""Scale of random noise relative to the spread of token embeddings; separates equal symbols."""


def init_symbol_embeddings(
    embeddings: Tensor,
    sizes: Sequence[int],
    table: IdentifierTable,
    vectors: Vectors | None,
    codebooks: Sequence[Any] | None,
) -> Tensor:
    """Return an embedding for every symbol of every level, float32 [sum of sizes, H].

    Offsets from the mean token are the level's codebook or the mean document vector of each symbol,
    scaled to the spread of the tokens, plus noise. Without either, or if the width differs, they
    are noise only.

    Args:
        embeddings: Token embeddings, [tokens, H].
        vectors: Document vectors, [documents, H], or None.
        codebooks: Codewords of each level, [size, H], or None.
    """
    width = embeddings.shape[1]
    levels = []
    for level, size in enumerate(sizes):
        rows = INIT_NOISE * torch.randn(size, width)
        codebook = codebooks[level] if codebooks is not None and level < len(codebooks) else None
        if codebook is not None and tuple(codebook.shape) == (size, width):
            rows += _standardise(torch.as_tensor(codebook).float(), torch.ones(size) > 0)
        elif vectors is not None and vectors.shape[1] == width:
            rows += _standardise(*_centroids(table, level, size, torch.from_numpy(vectors)))
        levels.append(rows)
    spread = embeddings.std(dim=0).mean().cpu()
    return embeddings.mean(dim=0).cpu() + spread * torch.cat(levels)


def _centroids(
    table: IdentifierTable, level: int, size: int, vectors: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the mean vector of each symbol's documents, and whether it has any."""
    held = torch.from_numpy(table.symbols[:, level]).long()
    documents = torch.from_numpy(table.documents)[held >= 0]
    held = held[held >= 0]
    sums = torch.zeros(size, vectors.shape[1]).index_add(0, held, vectors[documents])
    counts = held.bincount(minlength=size)
    return sums / counts.clamp(min=1)[:, None], counts > 0


def _standardise(rows: Tensor, known: Tensor) -> Tensor:
    """Centre the known rows and scale them to unit spread; other rows become 0."""
    centred = (rows - rows[known].mean(dim=0)) * known[:, None]
    return centred / centred[known].square().mean().sqrt().clamp(min=1e-6)
