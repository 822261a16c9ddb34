"""Model: mean of the query's token embeddings, and a linear classifier per level of codes.

Levels are independent given the query, so the decoder state is the query vector.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from genir.config import StrictModel
from genir.errors import InputError
from genir.identifiers.base import Scheme, Vectors
from genir.identifiers.table import IdentifierTable
from genir.models.base import Batch, DocidModel
from genir.models.checkpoint_io import (
    load_weights,
    read_model,
    read_tokenizer,
    write_model,
)
from genir.models.tokenizer_training import train_vocabulary
from genir.tasks.base import TrainQueries
from genir.types import Document


class BagOfWordsOptions(StrictModel):
    """Keys of `[model]` besides `kind`."""

    width: int = Field(default=64, ge=1, description="dimension of an embedding")
    vocabulary_size: int = Field(default=1000, ge=300, description="tokens of the vocabulary")


class BagOfWords(DocidModel):
    """Generates codes from a bag of words. B queries, S tokens, K beams, H = width."""

    kind = "bag-of-words"
    Options = BagOfWordsOptions

    def __init__(self, options: BagOfWordsOptions, tokenizer: Any) -> None:
        super().__init__()
        self.options = options
        self.tokenizer = tokenizer
        self.words = nn.Embedding(len(tokenizer), options.width)
        self.levels = nn.ModuleList()

    # --- construction: `build`, then the scheme is fitted, then `build_head` ---

    @classmethod
    def build(cls, options: BagOfWordsOptions, corpus: Sequence[Document]) -> Self:
        """Train a tokenizer on the corpus and create the embeddings."""
        return cls(options, train_vocabulary(corpus, options.vocabulary_size))

    def document_vectors(self, corpus: Sequence[Document], queries: TrainQueries) -> Vectors:
        """Return vectors for schemes that cluster documents, float32 [documents, H]."""
        texts = [f"{one.title} {one.text}" for one in corpus]
        inputs = self.tokenizer(texts, padding=True, return_tensors="pt").to(self.device)
        return self._query(inputs["input_ids"], inputs["attention_mask"]).detach().cpu().numpy()

    def build_head(self, scheme: Scheme, table: IdentifierTable, vectors: Vectors | None) -> None:
        """Create a classifier for each level of the scheme.

        Raises:
            InputError: The scheme's identifiers are text.
        """
        if scheme.needs_tokenizer:
            raise InputError("[model] kind: bag-of-words generates codes; use a scheme of codes")
        sizes = scheme.level_sizes()
        self.levels = nn.ModuleList(nn.Linear(self.options.width, size) for size in sizes)

    # --- training ---

    def loss(self, batch: Batch, label_smoothing: float) -> Tensor:
        """Return the sum of the levels' cross-entropies, averaged over the batch by weight."""
        query = self._query(*batch.inputs)
        losses = [
            F.cross_entropy(level(query), target, label_smoothing=label_smoothing, reduction="none")
            for level, target in zip(self.levels, batch.targets.T, strict=True)
        ]
        return (sum(losses) * batch.weights).sum() / batch.weights.sum()

    def teacher_forced_states(self, inputs: tuple[Tensor, Tensor], symbols: Tensor) -> list[Tensor]:
        """Return a hidden state per level, [B, 1, H]: the same for all identifiers."""
        return [self._query(*inputs).unsqueeze(1)] * symbols.shape[2]

    def head_parameters(self) -> list[nn.Parameter]:
        """Return all parameters: none is pre-trained."""
        return list(self.parameters())

    # --- decoding ---

    def encode(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the query vectors, [B, H]."""
        return self._query(input_ids, attention_mask)

    def step(
        self, state: Tensor, parents: Tensor | None, symbols: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return the state and hidden states [B, 1, H], the same for all beams."""
        return state, state.unsqueeze(1)

    def logits(self, hidden: Tensor, depth: int, candidates: Tensor) -> Tensor:
        """Return the logits of candidates [B, K, C], float32 [B, K, C]."""
        scores = self.level_logits(hidden, depth)
        return scores.expand(-1, candidates.shape[1], -1).gather(2, candidates)

    def level_logits(self, hidden: Tensor, depth: int) -> Tensor:
        """Return the logits of all codes of a level, float32 [..., size]."""
        return self.levels[depth](hidden)

    def log_normaliser(self, hidden: Tensor, depth: int) -> Tensor:
        """Return the log-sum-exp of the level's logits, float32 [B, 1]."""
        return self.level_logits(hidden, depth).logsumexp(dim=-1)

    def states_for_prefixes(
        self, state: Tensor, queries: Tensor, symbols: Tensor, first: int = 0
    ) -> list[Tensor]:
        """Return the hidden states [N, H] of N prefixes at each depth, for exact search."""
        return [state[queries]] * (symbols.shape[1] + 1 - first)

    def _query(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the mean embedding of the tokens [B, S], float32 [B, H]."""
        mask = attention_mask.unsqueeze(2)
        return (self.words(input_ids) * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)

    # --- the model folder ---

    def save(self, folder: Path) -> None:
        """Write weights (safetensors), options (JSON) and the tokenizer."""
        write_model(folder, self, self.options)

    @classmethod
    def load(cls, folder: Path, scheme: Scheme, table: IdentifierTable) -> Self:
        """Load a saved model."""
        with read_model(folder, cls.kind, cls.Options) as (options, weights):
            model = cls(options, read_tokenizer(folder))
            model.build_head(scheme, table, None)
            load_weights(model, weights)
        return model
