"""Prefix-aware weight-adaptive head of NCI (arXiv:2206.02743, section 3.3).

The output matrix of a position is a shared one plus a correction that a small transformer makes
from the prefix: logit(c) = h . (E_c + W_c a), where h is the decoder state, E_c the symbol's
embedding, a the adaptor's state after the same prefix, and W_c a matrix [H, H] of the symbol. This
is the additive form that the official code trains with (`adaptor_efficient`).
"""

from dataclasses import dataclass
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genir.models.backbone import score_tokens
from genir.models.code_heads import CodeHead, HeadContext
from genir.models.symbol_init import init_symbol_embeddings

ADAPTOR_LAYERS = 4
ADAPTOR_HEADS = 8
ADAPTOR_FEEDFORWARD = 2048
ADAPTOR_DROPOUT = 0.1
"""The adaptor of the official code; the trainer sets the dropout of all modules."""


class PawaHead(CodeHead):
    """Tied embeddings, corrected by the prefix.

    Attributes:
        memory: Learned vector that the adaptor attends to instead of a source, [1, 1, H].
        corrections: Matrix W_c of each symbol, [sum of sizes * H, H]; zero at first.
    """

    name = "pawa"
    reads_prefix = True

    def __init__(self, sizes: list[int], symbols: Tensor) -> None:
        super().__init__(sizes, symbols)
        width = symbols.shape[1]
        layer = nn.TransformerDecoderLayer(
            width, _heads(width), ADAPTOR_FEEDFORWARD, ADAPTOR_DROPOUT, batch_first=True
        )
        self.adaptor = nn.TransformerDecoder(layer, ADAPTOR_LAYERS)
        self.memory = nn.Parameter(torch.rand(1, 1, width))
        self.corrections = nn.Parameter(torch.zeros(len(symbols) * width, width))

    @classmethod
    def build(cls, context: HeadContext) -> Self:
        """Start like the tied head, with corrections of zero."""
        rows = init_symbol_embeddings(
            context.embeddings, context.sizes, context.table, context.vectors, context.codebooks
        )
        return cls(list(context.sizes), rows)

    def rows(self, depth: int) -> Tensor:
        """Return the shared output matrix of the level."""
        return self._level(self.symbols, depth)

    def with_prefix(self, hidden: Tensor, inputs: Tensor) -> Tensor:
        """Append the adaptor's states to decoder states, [N, T, H] each: [N, T, 2 H].

        inputs: decoder inputs, from the start token on.
        """
        length = inputs.shape[1]
        mask = torch.ones(length, length, dtype=torch.bool, device=inputs.device).triu(1)
        memory = self.memory.expand(len(inputs), -1, -1)
        adapted = self.adaptor(inputs, memory, tgt_mask=mask)
        return torch.cat([hidden, adapted.to(hidden.dtype)], dim=-1)

    def logits(self, hidden: Tensor, depth: int, candidates: Tensor | None = None) -> Tensor:
        """Return logits of a level's symbols, or of candidates; hidden: [..., 2 H]."""
        state, adapted = hidden.chunk(2, dim=-1)
        width = state.shape[-1]
        first, last = (width * self.offsets[level] for level in (depth, depth + 1))
        change = F.linear(adapted, self.corrections[first:last])
        change = change.view(*change.shape[:-1], self.sizes[depth], width)
        added = (change @ state.to(change.dtype).unsqueeze(-1)).squeeze(-1).float()
        every = score_tokens(state, self.rows(depth), None, None) + added
        return every if candidates is None else every.gather(-1, candidates)


def _heads(width: int) -> int:
    """Return the number of attention heads: the official 8, or the largest that divides it."""
    return next(heads for heads in range(ADAPTOR_HEADS, 0, -1) if width % heads == 0)


@dataclass(frozen=True)
class PrefixState:
    """Decoder state with the inputs read so far.

    Attributes:
        decoder: State of the decoder.
        inputs: Decoder inputs of each beam, [B, K, positions, H].
    """

    decoder: Any
    inputs: Tensor

    @classmethod
    def start(cls, decoder: Any, width: int) -> Self:
        """Return the state before the start token."""
        lengths = decoder.lengths
        return cls(decoder, torch.zeros(len(lengths), 1, 0, width, device=lengths.device))

    @property
    def lengths(self) -> Tensor:
        """Number of positions decoded by each row, int64 [B * K]."""
        lengths: Tensor = self.decoder.lengths
        return lengths

    def step(
        self, steps: Any, head: CodeHead, parents: Tensor | None, inputs: Tensor
    ) -> tuple[Self, Tensor]:
        """Decode one position of each beam, inputs [B, K, H], to states [B, K, width].

        steps: decoder. parents: previous beams, int64 [B, K]; None at the first step.
        """
        decoder, hidden = steps.step(self.decoder, parents, inputs)
        before = self.inputs
        if parents is not None:
            places = parents[..., None, None].expand(-1, -1, *before.shape[2:])
            before = before.gather(1, places)
        read = torch.cat([before, inputs.unsqueeze(2)], dim=2)
        whole = head.with_prefix(hidden.new_zeros(*read.shape).flatten(0, 1), read.flatten(0, 1))
        last = whole[:, -1, hidden.shape[-1] :].view(hidden.shape)
        return type(self)(decoder, read), torch.cat([hidden, last], dim=-1)
