"""Decoding of an encoder-head model: the score of a prefix is the inner product of the query vector
with the sum of its codewords, so each level's logits are the same for every beam.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from genir.corpus.analyzer import Analyzer
from genir.errors import InputError
from genir.models.base import DocidModel
from genir.models.encoder import TextEncoder
from genir.models.encoder_head.codebooks import CodebookHead
from genir.models.encoder_head.confidence import (
    has_known_word,
    probability,
    share_of_words,
)
from genir.models.encoder_head.given_vectors import GivenVectors, embed_queries
from genir.models.encoder_head.term_set_head import TermSetHead
from genir.models.encoder_head.word_rows import query_lengths
from genir.models.encoder_head.word_sets import WordSets
from genir.models.length_bucketing import encode_in_groups
from genir.types import Document
from genir.vector_query import VectorQuery


@dataclass(frozen=True)
class EncoderHeadState:
    """Query vectors [B, H], and the next level.

    word_scores: weighted scores of the word sets, float32 [B, sets]; None without sets.
    prefix: encoder states and attention mask, if the prior is by term sets.
    """

    query: Tensor
    depth: int
    word_scores: Tensor | None = None
    prefix: tuple[Tensor, Tensor] | None = None


def document_text(document: Document) -> str:
    """Return the text of a document for the encoder and for its word set."""
    return f"{document.title}. {document.text}"


class InnerProductDecoder(DocidModel):
    """Decoder interface of an encoder-head model.

    scale: factor of a query vector. word_weight: factor of the scores of word sets.
    unrelated_similarity: mean cosine of two documents, when the model was trained.
    """

    takes_vectors = True
    encoder: TextEncoder | GivenVectors
    analyzer: Analyzer
    words: WordSets | None
    term_sets: TermSetHead | None
    head: CodebookHead
    scale: float
    word_weight: Tensor
    unrelated_similarity: Tensor

    @property
    def text_encoder(self) -> TextEncoder:
        """The encoder of a model that reads texts."""
        assert isinstance(self.encoder, TextEncoder)
        return self.encoder

    def vector_inputs(self, queries: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return the vectors of queries, float32 [B, H], and a mask of ones.

        Raises:
            InputError: A vector has another dimension, or the model has term sets.
        """
        if self.term_sets is not None:
            raise InputError(
                "vectors: a model with term sets ([model] term_set_size) reads the tokens of a "
                "query; search it with text"
            )
        vectors = torch.from_numpy(embed_queries(self.encoder, queries, work="answering"))
        return vectors, torch.ones(len(vectors), 1, dtype=torch.long)

    def query_vectors(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the scaled unit vectors of queries, float32 [B, H].

        input_ids: tokens, int64 [B, S], or unit vectors, float32 [B, H] (`vector_inputs`).
        """
        if input_ids.is_floating_point():
            return self.scale * input_ids
        return self.scale * self.text_encoder(input_ids, attention_mask)

    def encode(
        self, input_ids: Tensor, attention_mask: Tensor, words: Tensor | None = None
    ) -> EncoderHeadState:
        """Encode the queries; words: word ids, int64 [B, W], if the model has word sets."""
        scores = None
        if self.words is not None and words is not None:
            scores = self.word_weight * self.words(words) / query_lengths(words)
        if input_ids.is_floating_point():
            return EncoderHeadState(self.query_vectors(input_ids, attention_mask), 0, scores)
        if self.term_sets is None:
            vectors = encode_in_groups(self.query_vectors, input_ids, attention_mask)
            return EncoderHeadState(vectors, 0, scores)
        states = self.text_encoder.states(input_ids, attention_mask)
        query = self.scale * self.text_encoder.pooled(states, attention_mask)
        return EncoderHeadState(query, 0, scores, (states, attention_mask))

    def level_scores(self, state: EncoderHeadState, depth: int) -> Tensor:
        """Return the logits of a level, float32 [B, size].

        With atomic identifiers they include the word scores, which belong to symbols.
        """
        scores = self.head.scores(state.query, depth)
        if state.word_scores is None or self.head.levels > 1:
            return scores
        return scores + state.word_scores

    def step(
        self, state: EncoderHeadState, parents: Tensor | None, symbols: Tensor | None
    ) -> tuple[EncoderHeadState, Tensor]:
        """Return the level's logits as hidden state, [B, 1, size], the same for every beam."""
        scores = self.level_scores(state, state.depth)
        return replace(state, depth=state.depth + 1), scores.unsqueeze(1)

    @torch.inference_mode()
    def confidence(self, query: str, rows: Tensor, document: Document) -> float | None:
        """Return the probability that a document answers a query, 0 to 1.

        None for a query without a vector, if vectors are given.
        """
        if isinstance(self.encoder, GivenVectors) and not isinstance(query, VectorQuery):
            return None
        vector = torch.from_numpy(embed_queries(self.encoder, [query], work="answering")[0])
        own = F.normalize(self.head.row_vectors(rows), dim=1)
        cosine, unrelated = float((own @ vector.to(own)).max()), float(self.unrelated_similarity)
        read = not isinstance(query, VectorQuery)
        if read and not has_known_word(self.text_encoder.tokenizer, query):
            cosine = unrelated
        shared = share_of_words(self.analyzer, self.words, query, document_text(document))
        return probability(cosine, unrelated, shared)

    def prepared_weights(self) -> list[Any] | None:
        """Return the encoder's converted weights, the normalised rows and the word sets."""
        if isinstance(self.encoder, GivenVectors) or self.encoder.synchronises:
            return None
        sets = [] if self.words is None else list(self.words.buffers())
        return [self.encoder.cast_cache.cast_copy, self.head.unit, *sets]

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
        return [self.level_scores(state, depth)[queries] for depth in depths]

    def prefix_free_log_probs(self, state: EncoderHeadState) -> list[Tensor]:
        """Return log p of every symbol, float32 [B, size] a level."""
        return [
            self.level_scores(state, depth).log_softmax(dim=-1) for depth in range(self.head.levels)
        ]

    def prior(self, state: EncoderHeadState) -> Tensor:
        """Return a score of each row: the log-softmax of the term-set scores or, without term sets,
        of the row scores. With word sets and codes, it is the word scores.
        """
        if self.term_sets is None or state.prefix is None:
            return self._row_prior(state)
        with torch.autocast(self.device.type, enabled=False):  # see `CodebookHead.scores`
            scores = self.term_sets.scores(state.prefix[0].float(), state.prefix[1])
        return scores.log_softmax(dim=-1)[:, self.head.documents.long()]

    def _row_prior(self, state: EncoderHeadState) -> Tensor:
        if state.word_scores is not None and self.head.levels > 1:  # no part of the logits
            return state.word_scores[:, self.head.documents.long()]
        scores = self.head.row_scores(state.query)
        if state.word_scores is not None:
            scores = scores + state.word_scores[:, self.head.codes[:, 0].long()]
        return scores.log_softmax(dim=-1)
