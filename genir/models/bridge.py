"""A pre-trained encoder with a docid head on top: the default model. Knows no trie and no loop.

With atomic identifiers it is DynamicRetriever (2022): P(document | query) = softmax(W h), one row
of W a document; W started from document vectors is its OverDense. With codes, each level has a
codebook and a document's row is the sum of its codewords, so that the score of a prefix is the
inner product with what is known of the document so far (RIPOR, 2024, section 3).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from genir.config import Strict
from genir.identifiers.base import Scheme, Vectors
from genir.identifiers.table import IdentifierTable
from genir.models.base import Batch, DocidModel
from genir.models.codebooks import CodebookHead
from genir.models.encoder import MINILM, TextEncoder
from genir.models.files import read_model, write_model
from genir.models.lexical import LexicalEncoder, special_ids
from genir.records import Document
from genir.tasks.base import TrainQueries


class BridgeOptions(Strict):
    """`[model]` of a bridge."""

    encoder: str = Field(default=MINILM, description="minilm, a local folder, or a hub name")
    length: int = Field(default=256, ge=8, description="tokens of a document that its vector sees")
    scale: float = Field(default=20.0, gt=0, description="of the cosine softmax")
    lexical: int = Field(default=384, ge=0, description="size of the word channel; 0 = none")


@dataclass(frozen=True)
class BridgeState:
    """The query vectors [B, H] and how many symbols are out."""

    query: Tensor
    depth: int


class BridgeModel(DocidModel):
    """Encoder (dense and lexical) + codebooks."""

    kind = "bridge"
    Options = BridgeOptions

    def __init__(self, options: BridgeOptions, encoder: TextEncoder) -> None:
        super().__init__()
        self.options = options
        self.encoder = encoder
        self.tokenizer = encoder.tokenizer
        self.lexical: LexicalEncoder | None = None
        if options.lexical:
            vocabulary, special = len(self.tokenizer), special_ids(self.tokenizer)
            self.lexical = LexicalEncoder(vocabulary, options.lexical, special)
        self.head: CodebookHead

    @classmethod
    def build(cls, options: BridgeOptions, corpus: Sequence[Document]) -> Self:
        """Load the encoder and count the corpus's word pieces; `attach` must follow."""
        model = cls(options, TextEncoder.pretrained(options.encoder, options.length))
        if model.lexical is not None:
            model.lexical.fit(model.lexical.count(model._word_pieces(corpus)))
        return model

    def _word_pieces(self, corpus: Sequence[Document]) -> list[list[int]]:
        texts = [f"{document.title} {document.text}" for document in corpus]
        ids: list[list[int]] = self.tokenizer(texts, add_special_tokens=False, verbose=False)[
            "input_ids"
        ]
        return ids

    def document_vectors(self, corpus: Sequence[Document], queries: TrainQueries) -> Vectors:
        """Return where each document lies before training, float32 [documents, H].

        The dense part is the unit mean of the document's vector and its train queries' vectors
        (OverDense); the lexical part is BM25-weighted.
        """
        texts = [f"{document.title}. {document.text}" for document in corpus]
        dense = self.encoder.embed(texts, progress="embedding documents")
        asked = [(n, text) for n, d in enumerate(corpus) for text in queries.get(d.key, ())]
        if asked:
            vectors = self.encoder.embed([text for _, text in asked], progress="embedding queries")
            np.add.at(dense, [n for n, _ in asked], vectors)
        dense /= np.linalg.norm(dense, axis=1, keepdims=True)
        if self.lexical is None:
            return dense
        words = self.lexical.document_vectors(self.lexical.count(self._word_pieces(corpus)))
        return np.concatenate([dense, words], axis=1)

    @property
    def width(self) -> int:
        """Return the size of a query vector."""
        return self.encoder.dimension + (self.lexical.dimension if self.lexical else 0)

    def attach(self, scheme: Scheme, table: IdentifierTable, vectors: Vectors | None) -> None:
        """Start a codebook a level: from the scheme's codewords, or from the vectors (atomic)."""
        self.head = CodebookHead(scheme.level_sizes(), self.width, table)
        words: NDArray[np.float32] | None = vectors
        if hasattr(scheme, "full_codebooks"):
            self.head.start_from(scheme.full_codebooks())
        elif words is not None and len(scheme.level_sizes()) == 1:
            self.head.start_from([words])

    def learned_vectors(self, table: IdentifierTable) -> Vectors:
        """Return the sum of each document's codewords, float32 [documents, H]."""
        rows = np.array([table.rows_of(n)[0] for n in range(len(table.keys))])
        vectors: Vectors = self.head.row_vectors().detach().cpu().numpy()[rows]
        return vectors

    def query_vectors(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return float32 [B, H]: the scaled unit vector, then the lexical sum."""
        dense = self.options.scale * self.encoder(input_ids, attention_mask)
        if self.lexical is None:
            return dense
        return torch.cat([dense, self.lexical(input_ids)], dim=1)

    def loss(self, batch: Batch, label_smoothing: float) -> Tensor:
        """Return the cross-entropy over all documents, plus that over prefixes of codes."""
        query = self.query_vectors(batch.input_ids, batch.attention_mask).float()
        losses = self.head.loss(query, batch.rows, label_smoothing)
        return (losses * batch.weights).sum() / batch.weights.sum()

    def start(self, input_ids: Tensor, attention_mask: Tensor) -> BridgeState:
        """Encode the queries; a document's place in the codebooks needs no further context."""
        return BridgeState(self.query_vectors(input_ids, attention_mask).float(), 0)

    def step(
        self, state: BridgeState, parents: Tensor | None, symbols: Tensor | None
    ) -> tuple[BridgeState, Tensor]:
        """Return the query itself as every beam's hidden state, [B, 1, H]: levels just add up."""
        return BridgeState(state.query, state.depth + 1), state.query.unsqueeze(1)

    def logits(self, hidden: Tensor, depth: int, candidates: Tensor) -> Tensor:
        """Return inner products with the level's codewords, [B, K, C]."""
        return self.head.logits(hidden, depth, candidates)

    def log_normaliser(self, hidden: Tensor, depth: int) -> Tensor:
        """Return the log-sum-exp over the level's codebook, [B, 1]: the same for every beam."""
        return self.head.scores(hidden, depth).logsumexp(dim=-1)

    def head_parameters(self) -> list[nn.Parameter]:
        """Return the codebooks and the word vectors."""
        words = [] if self.lexical is None else list(self.lexical.parameters())
        return [*self.head.parameters(), *words]

    def save(self, folder: Path) -> None:
        """Write weights, genir's options, the encoder's configuration and the tokenizer."""
        self.encoder.backbone.config.save_pretrained(folder)
        write_model(folder, self, self.options)

    @classmethod
    def load(cls, folder: Path, scheme: Scheme, table: IdentifierTable) -> Self:
        """Read back what `save` wrote, from local files alone."""
        with read_model(folder, cls.kind, BridgeOptions) as (options, weights):
            model = cls(options, TextEncoder.restore(folder, options.length))
            model.head = CodebookHead(scheme.level_sizes(), model.width, table)
            model.load_state_dict(weights)
        return model
