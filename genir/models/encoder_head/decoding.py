"""Decoding of an encoder-head model: the score of a prefix is the inner product of the query vector
with the sum of its codewords, so each level's logits are the same for every beam.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from genir.models.base import DocidModel
from genir.models.encoder import TextEncoder, pool
from genir.models.encoder_head.codebooks import CodebookHead
from genir.models.encoder_head.lexical import LexicalEncoder
from genir.models.encoder_head.term_set_head import TermSetHead
from genir.models.length_bucketing import encode_in_groups


@dataclass(frozen=True)
class EncoderHeadState:
    """Query vectors [B, H], and the next level.

    prefix: encoder states and attention mask, if the prior is by term sets.
    """

    query: Tensor
    depth: int
    prefix: tuple[Tensor, Tensor] | None = None


class InnerProductDecoder(DocidModel):
    """Decoder interface of an encoder-head model.

    scale, lexical_gain: factors of the dense and the lexical part of a query vector.
    """

    encoder: TextEncoder
    lexical: LexicalEncoder | None
    term_sets: TermSetHead | None
    head: CodebookHead
    scale: float
    lexical_gain: float

    def query_vectors(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return float32 [B, H]: the scaled unit vector, then the lexical sum."""
        return self._vectors(input_ids, self.encoder(input_ids, attention_mask))

    def _vectors(self, input_ids: Tensor, dense: Tensor) -> Tensor:
        dense = self.scale * dense
        if self.lexical is None:
            return dense
        return torch.cat([dense, self.lexical_gain * self.lexical(input_ids)], dim=1)

    def encode(self, input_ids: Tensor, attention_mask: Tensor) -> EncoderHeadState:
        """Encode the queries."""
        if self.term_sets is None:
            vectors = encode_in_groups(self.query_vectors, input_ids, attention_mask)
            return EncoderHeadState(vectors, 0)
        states = self.encoder.states(input_ids, attention_mask)
        query = self._vectors(input_ids, pool(states, attention_mask))
        return EncoderHeadState(query, 0, (states, attention_mask))

    def step(
        self, state: EncoderHeadState, parents: Tensor | None, symbols: Tensor | None
    ) -> tuple[EncoderHeadState, Tensor]:
        """Return the level's logits as hidden state, [B, 1, size], the same for every beam."""
        scores = self.head.scores(state.query, state.depth)
        return replace(state, depth=state.depth + 1), scores.unsqueeze(1)

    def prepared_weights(self) -> list[Any] | None:
        """Return the encoder's converted weights, and the normalised rows."""
        return [self.encoder.cast_cache.cast_copy, self.head.unit]

    def logits(self, hidden: Tensor, depth: int, candidates: Tensor) -> Tensor:
        """Return the candidates' inner products with the query, [B, K, C]."""
        batch, beams, slots = candidates.shape
        return hidden.squeeze(1).gather(1, candidates.view(batch, -1)).view(batch, beams, slots)

    def level_logits(self, hidden: Tensor, depth: int) -> Tensor:
        """Return the hidden states, which are the level's logits."""
        return hidden

    def log_normaliser(self, hidden: Tensor, depth: int) -> Tensor:
        """Return the log-sum-exp over the level's codebook, [B, 1]."""
        return hidden.logsumexp(dim=-1)

    def states_for_prefixes(
        self, state: EncoderHeadState, queries: Tensor, symbols: Tensor, first: int = 0
    ) -> list[Tensor]:
        """Return the levels' logits, [N, size] each, the same after every prefix."""
        depths = range(first, symbols.shape[1] + 1)
        return [self.head.scores(state.query, depth)[queries] for depth in depths]

    def prefix_free_log_probs(self, state: EncoderHeadState) -> list[Tensor]:
        """Return log p of every symbol, float32 [B, size] a level."""
        return [
            self.head.scores(state.query, depth).log_softmax(dim=-1)
            for depth in range(self.head.levels)
        ]

    def prior(self, state: EncoderHeadState) -> Tensor:
        """Return the log-softmax of the term-set scores or, without sets, of the row scores."""
        if self.term_sets is None or state.prefix is None:
            return self.head.row_scores(state.query).log_softmax(dim=-1)
        with torch.autocast(self.device.type, enabled=False):  # see `CodebookHead.scores`
            scores = self.term_sets.scores(state.prefix[0].float(), state.prefix[1])
        return scores.log_softmax(dim=-1)[:, self.head.documents.long()]
