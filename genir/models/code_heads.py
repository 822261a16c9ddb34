"""Heads of a seq2seq model for codes: decoder inputs and logits of the symbols of each level.

To add a head, write a subclass and list it in `head_registry.py`.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genir.errors import InputError
from genir.identifiers.base import Vectors
from genir.identifiers.table import IdentifierTable
from genir.models.backbone import score_tokens
from genir.models.symbol_init import init_symbol_embeddings


class HeadContext(NamedTuple):
    """What a head is initialised from.

    Attributes:
        sizes: Symbols of each level.
        embeddings: Token embeddings of the network, [tokens, H].
        table: Identifiers of the documents.
        vectors: Document vectors, [documents, H], or None.
        codebooks: Codewords of each level, [levels, size, H], or None.
    """

    sizes: Sequence[int]
    embeddings: Tensor
    table: IdentifierTable
    vectors: Vectors | None
    codebooks: Any


class CodeHead(nn.Module, ABC):
    """Symbols of all levels; each level has its own inputs and its own output matrix.

    Attributes:
        symbols: Decoder inputs, one row for each symbol of each level, [sum of sizes, H].
    """

    name: ClassVar[str]
    needs_codebooks: ClassVar[bool] = False
    """Whether the scheme must have codebooks (residual, product)."""
    reads_prefix: ClassVar[bool] = False
    """Whether logits depend on the prefix by more than the decoder state; see `with_prefix`."""
    first: Tensor

    def __init__(self, sizes: Sequence[int], symbols: Tensor) -> None:
        super().__init__()
        self.sizes = list(sizes)
        self.offsets = list(accumulate(self.sizes, initial=0))
        self.register_buffer("first", torch.tensor(self.offsets), persistent=False)
        self.symbols = nn.Parameter(symbols)

    @classmethod
    @abstractmethod
    def build(cls, context: HeadContext) -> Self:
        """Return the initial head."""

    def inputs(self, symbols: Tensor, levels: Tensor) -> Tensor:
        """Return the decoder inputs of symbols [N, T] of `levels`, [T] or [N, T]: [N, T, H]."""
        return F.embedding(symbols + self.first[levels], self.symbols)

    def with_prefix(self, hidden: Tensor, inputs: Tensor) -> Tensor:
        """Return decoder states [N, T, H] with all that `logits` reads; by default unchanged.

        inputs: decoder inputs, [N, T, H].
        """
        return hidden

    @abstractmethod
    def rows(self, depth: int) -> Tensor:
        """Return the output matrix of a level, [size, H]."""

    def logits(self, hidden: Tensor, depth: int, candidates: Tensor | None = None) -> Tensor:
        """Return logits of a level's symbols, or of candidates [..., C]: float32 [..., size or C].

        hidden: decoder states before the symbol, [..., H].
        """
        return score_tokens(hidden, self.rows(depth), None, candidates)

    def _level(self, rows: Tensor, depth: int) -> Tensor:
        return rows[self.offsets[depth] : self.offsets[depth + 1]]


class TiedHead(CodeHead):
    """One embedding for each symbol, shared by input and output (DSI)."""

    name = "tied"

    @classmethod
    def build(cls, context: HeadContext) -> Self:
        """Start from token embeddings, with offsets from codebooks or document vectors."""
        rows = init_symbol_embeddings(
            context.embeddings, context.sizes, context.table, context.vectors, context.codebooks
        )
        return cls(context.sizes, rows)

    def rows(self, depth: int) -> Tensor:
        """Return the symbols of the level."""
        return self._level(self.symbols, depth)


class InnerProductHead(CodeHead):
    """Logit of a code: inner product of its codeword with the decoder state after the prefix.

    RIPOR (arXiv:2311.09134), section 3.1. Inputs and codewords start from the codebooks, and are
    trained separately. The symbols of the last level, which separate documents with equal codes,
    have logit 0.

    Attributes:
        codewords: Output matrix of all levels but the last, [sum of sizes, H].
    """

    name = "inner-product"
    needs_codebooks = True
    ties: Tensor

    def __init__(self, sizes: Sequence[int], symbols: Tensor, codewords: Tensor) -> None:
        super().__init__(sizes, symbols)
        self.codewords = nn.Parameter(codewords)
        ties = torch.zeros(self.sizes[-1], symbols.shape[1])
        self.register_buffer("ties", ties, persistent=False)

    @classmethod
    def build(cls, context: HeadContext) -> Self:
        """Start from the codebooks.

        Raises:
            InputError: The codewords have another dimension than the decoder.
        """
        width = context.embeddings.shape[1]
        codewords = torch.from_numpy(np.asarray(context.codebooks, dtype=np.float32)).flatten(0, 1)
        if codewords.shape[1] != width:
            raise InputError(
                f"[model] head = 'inner-product': codewords of dimension {codewords.shape[1]}, "
                f"but decoder states of dimension {width}; fit the codes on this model's vectors"
            )
        ties = torch.zeros(context.sizes[-1], width)
        return cls(context.sizes, torch.cat([codewords, ties]), codewords.clone())

    def rows(self, depth: int) -> Tensor:
        """Return the codewords of the level; zeros for the last one."""
        if depth + 1 == len(self.sizes):
            return self.ties
        return self._level(self.codewords, depth)
