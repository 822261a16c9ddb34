"""Pre-trained encoder with a document head: the default model.

With atomic identifiers it is DynamicRetriever (2022): P(document | query) = softmax(W h), with one
row of W for each document; W initialised from document vectors is its OverDense variant. With
codes, each level has a codebook, and a document vector is the sum of its codewords. The score of a
prefix is the inner product of the query with this sum so far (RIPOR, 2024, section 3).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.sparse import csr_matrix, vstack
from torch import Tensor, nn

from genir.config import StrictModel
from genir.errors import InputError
from genir.identifiers.base import Scheme, Vectors
from genir.identifiers.table import IdentifierTable
from genir.models.base import Batch, DocidModel, RowsBySymbol
from genir.models.checkpoint_io import read_model, write_model
from genir.models.encoder import MINILM, TextEncoder, batches_by_length, pool
from genir.models.encoder_head.codebooks import CodebookHead
from genir.models.encoder_head.decoding import InnerProductDecoder
from genir.models.encoder_head.lexical import (
    LexicalEncoder,
    bm25_weights,
    count_tokens,
    special_ids,
)
from genir.models.encoder_head.protected_queries import (
    ExistingDocuments,
    NewDocument,
    ProtectedQueries,
)
from genir.models.encoder_head.row_init import init_rows, sample_protected_queries
from genir.models.encoder_head.term_set_head import TermSetHead
from genir.models.position_limits import position_table_sizes, require_within
from genir.models.size_limits import Weights, refuse_size
from genir.tasks.base import TrainQueries
from genir.types import Document

SCALE_SAMPLE_SIZE = 64
"""Documents used to choose the bias of the term-set head."""


class EncoderHeadOptions(StrictModel):
    """Options of `[model]` for kind "encoder-head"."""

    encoder: str = Field(default=MINILM, description="minilm, a local folder, or a hub name")
    length: int = Field(default=256, ge=8, description="tokens of a document that are encoded")
    scale: float = Field(default=20.0, gt=0, description="scale of the cosine softmax")
    row_init: Literal["vectors", "random"] = Field(
        default="vectors", description="initial atomic rows (OverDense or Vanilla)"
    )
    lexical_dim: int = Field(
        default=384, ge=0, description="dimension of the lexical part; 0 = none"
    )
    lexical_gain: float = Field(default=0.1, gt=0, description="weight of the lexical scores")
    document_vector_weight: float = Field(
        default=0.8,
        ge=0,
        description="weight of the trained encoder's document vector in a trained atomic row",
    )
    term_set_size: int = Field(
        default=0, ge=0, description="words of a term-set identifier, the prior (PAG); 0 = none"
    )

    def weights(self) -> list[str]:
        """Return the names of the pre-trained networks."""
        return [self.encoder]


class EncoderHeadModel(InnerProductDecoder):
    """Encoder (dense and lexical) with one codebook per level."""

    kind = "encoder-head"
    Options = EncoderHeadOptions
    must_match_parent = frozenset({"encoder", "length"})

    def __init__(self, options: EncoderHeadOptions, encoder: TextEncoder) -> None:
        super().__init__()
        self.options = options
        self.scale, self.lexical_gain = options.scale, options.lexical_gain
        self.encoder = encoder
        self.tokenizer = encoder.tokenizer
        self.lexical: LexicalEncoder | None = None
        if options.lexical_dim:
            vocabulary, special = len(self.tokenizer), special_ids(self.tokenizer)
            self.lexical = LexicalEncoder(vocabulary, options.lexical_dim, special)
        self.term_sets: TermSetHead | None = None
        self.head: CodebookHead

    # --- making --------------------------------------------------------------------------------

    @classmethod
    def build(cls, options: EncoderHeadOptions, corpus: Sequence[Document]) -> Self:
        """Load the encoder and count the word pieces of the corpus; `build_head` must follow."""
        model = cls(options, TextEncoder.pretrained(options.encoder, options.length))
        if model.lexical is not None:
            model.lexical.fit(model._word_counts(corpus))
        if options.term_set_size:
            model._check_lexical_dim()
            bags = model._word_counts(corpus)
            weights = bm25_weights(bags, special_ids(model.tokenizer))
            model.term_sets = TermSetHead.build(
                weights, options.term_set_size, model.encoder.dimension
            )
            model.term_sets.init_embeddings(model.encoder.embeddings)
            model.term_sets.calibrate_bias(
                *model.encoder.tokenize(_texts(corpus[:SCALE_SAMPLE_SIZE]))
            )
        return model

    @classmethod
    def check_pretrained(cls, options: EncoderHeadOptions, source_length: int) -> None:
        """Load the encoder and run it once. Raises InputError if it cannot be used."""
        cls(options, TextEncoder.pretrained(options.encoder, options.length)).check_source_length(
            source_length
        )

    def _check_lexical_dim(self) -> None:
        words, states = self.encoder.embeddings.shape[1], self.encoder.dimension
        if words != states:
            raise InputError(
                f"[model] term_set_size = {self.options.term_set_size}: the encoder "
                f"{self.options.encoder!r} has embeddings of {words} and states of {states} "
                "dimensions, which must be equal; set it to 0, or use another encoder"
            )

    def check_source_length(self, length: int) -> None:
        """Raise InputError if the encoder takes fewer tokens than `length`."""
        self.encoder.refuse_length(length, "[training] source_length", self.options.encoder)

    def source_positions(self) -> list[int]:
        """Return the sizes of the encoder's position tables."""
        return position_table_sizes(self.encoder.backbone)

    @property
    def width(self) -> int:
        """Dimension of a query vector."""
        return self.encoder.dimension + (self.lexical.dimension if self.lexical else 0)

    def inherit_weights(self, parent: DocidModel, table: IdentifierTable) -> Vectors:
        """Copy the parent's encoder and return its document vectors.

        Raises:
            InputError: The parent has another encoder or lexical dimension.
        """
        assert isinstance(parent, EncoderHeadModel)
        for name in ("encoder", "lexical_dim"):
            own, its = getattr(self.options, name), getattr(parent.options, name)
            if own not in (its, 0):
                raise InputError(
                    f"[model] {name} = {own!r}, but the model to start from has {its!r}; "
                    "use the same value"
                )
        self.encoder.load_state_dict(parent.encoder.state_dict())
        rows = np.array([table.rows_of(number)[0] for number in range(len(table.keys))])
        learned: Vectors = parent.head.row_vectors().detach().cpu().numpy()[rows]
        return learned[:, : self.width]

    def document_vectors(self, corpus: Sequence[Document], queries: TrainQueries) -> Vectors:
        """Return the initial document vectors, float32 [documents, H].

        The dense part is the unit mean of the document's vector and its train queries' vectors
        (OverDense); the lexical part is BM25-weighted.
        """
        dense = self.encoder.embed(_texts(corpus), progress="embedding documents")
        asked = [(n, text) for n, d in enumerate(corpus) for text in queries.get(d.key, ())]
        if asked:
            vectors = self.encoder.embed([text for _, text in asked], progress="embedding queries")
            np.add.at(dense, [n for n, _ in asked], vectors)
        dense /= np.linalg.norm(dense, axis=1, keepdims=True)
        if self.lexical is None:
            return dense
        words = self.lexical.document_vectors(self._word_counts(corpus))
        return np.concatenate([dense, words], axis=1)

    def _word_counts(self, corpus: Sequence[Document]) -> csr_matrix:
        """Return word-piece counts of whole texts, float32 [documents, vocabulary]."""
        texts = [f"{document.title} {document.text}" for document in corpus]
        counts = [
            count_tokens(self._token_ids(some), len(self.tokenizer))
            for some in batches_by_length(texts)
        ]
        return vstack(counts, format="csr") if counts else count_tokens([], len(self.tokenizer))

    def _token_ids(self, texts: list[str]) -> list[list[int]]:
        ids: list[list[int]] = self.tokenizer(texts, add_special_tokens=False, verbose=False)[
            "input_ids"
        ]
        return ids

    def build_head(self, scheme: Scheme, table: IdentifierTable, vectors: Vectors | None) -> None:
        """Initialise the codebooks from the scheme's codewords, or from the vectors (atomic).

        Raises:
            InputError: Text identifiers, which have no codebooks, or random rows with codes.
        """
        if scheme.needs_tokenizer:
            raise InputError(
                "[model] kind: an encoder-head model cannot emit text, which scheme "
                f"{scheme.name!r} needs; "
                "use kind = 'seq2seq', or a code scheme"
            )
        if self.options.row_init == "random" and len(scheme.level_sizes()) > 1:
            raise InputError(
                f"[model] row_init = 'random' is for the scheme 'atomic', not for {scheme.name!r}, "
                "whose codes start from their codebooks; remove it"
            )
        self.head = self._make_head(scheme, table)
        if self.term_sets is not None:
            self.term_sets.init_embeddings(self.encoder.embeddings)
        if hasattr(scheme, "full_codebooks"):
            self.head.init_codebooks(scheme.full_codebooks())
        elif vectors is not None and len(scheme.level_sizes()) == 1:
            rows = np.zeros((scheme.level_sizes()[0], vectors.shape[1]), dtype=np.float32)
            rows[table.symbols[:, 0]] = vectors[table.documents]
            if self.options.row_init == "random":  # the lexical columns are never trained
                rows[:, : self.encoder.dimension] = self.head.codebooks[0].detach().numpy()
            self.head.init_codebooks([rows])

    def _make_head(self, scheme: Scheme, table: IdentifierTable) -> CodebookHead:
        return CodebookHead(scheme.level_sizes(), (self.encoder.dimension, self.width), table)

    # --- training ------------------------------------------------------------------------------

    def dense_vectors(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the trained part of the query vectors, float32 [B, dimension]."""
        return self.scale * self.encoder(input_ids, attention_mask)

    def loss(self, batch: Batch, label_smoothing: float) -> Tensor:
        """Return the cross-entropy over all documents, plus prefix and term-set losses.

        Lexical scores are excluded: the dense part would not learn the words they cover.
        """
        states = self.encoder.states(batch.input_ids, batch.attention_mask)
        query = self.scale * pool(states, batch.attention_mask)
        losses = self.head.loss(query, batch.rows, label_smoothing)
        if self.term_sets is not None:
            documents = self.head.documents[batch.rows].long()
            losses = losses + self.term_sets.loss(states, batch.attention_mask, documents)
        return (losses * batch.weights).sum() / batch.weights.sum()

    def teacher_forced_states(self, inputs: tuple[Tensor, Tensor], symbols: Tensor) -> list[Tensor]:
        """Return each level's logits, [B, 1, size], without the lexical part."""
        query = self.dense_vectors(*inputs)
        return [
            self.head.training_scores(query, depth).unsqueeze(1)
            for depth in range(symbols.shape[2])
        ]

    def head_parameters(self) -> list[nn.Parameter]:
        """Return the codebooks and the parameters of the term-set head."""
        return [*self.head.codebooks, *(self.term_sets.parameters() if self.term_sets else ())]

    def after_training(self, corpus: Sequence[Document]) -> None:
        """Add the trained encoder's document vector to each trained atomic row.

        A row has learned from its few train texts only. The encoder has read the whole document and
        has learned from the queries of all documents.
        """
        if self.head.levels > 1 or not self.options.document_vector_weight:
            return
        vectors = self.encoder.embed(_texts(corpus), progress="anchoring documents")
        self.head.blend_document_vectors(self.options.document_vector_weight * vectors)

    def freeze_others(self, numbers: Sequence[int]) -> None:
        """Freeze the rows of other documents if identifiers are atomic."""
        if self.has_document_rows:
            self.head.freeze_others(numbers)

    def adapter_target(self) -> nn.Module:
        """Return the encoder network."""
        network: nn.Module = self.encoder.backbone
        return network

    # --- a corpus that changes -----------------------------------------------------------------

    @property
    def has_document_rows(self) -> bool:
        """Whether identifiers are atomic, so that a new document needs a new row."""
        return self.head.levels == 1

    @property
    def row_width(self) -> int:
        """Dimension of a query vector."""
        return self.width

    def init_rows(
        self, corpus: Sequence[Document], queries: TrainQueries, context: ExistingDocuments
    ) -> list[NewDocument]:
        """Return the rows of new documents (IncDSI; see `incdsi`)."""
        return init_rows(self, corpus, queries, context)

    def protected_queries(
        self, queries: TrainQueries, table: IdentifierTable
    ) -> ProtectedQueries | None:
        """Return protected train queries; None for codes, which do not change."""
        return sample_protected_queries(self, queries, table) if self.has_document_rows else None

    def update_table(self, scheme: Scheme, table: IdentifierTable, rows: RowsBySymbol) -> None:
        """Write new rows, and switch to the rows of the table."""
        if rows:
            self.head.set_rows(scheme.level_sizes()[0], rows)
        self.head.update_table(table)

    def require_insertable(self) -> None:
        """Raise InputError for term sets, whose words are chosen in training."""
        if self.term_sets is not None:
            raise InputError(
                "[model] term_set_size: documents cannot be added to a model with term sets, whose "
                "words are chosen in training; train it again, or roll a deletion back"
            )

    @contextmanager
    def restricted_to(
        self, symbols: NDArray[np.int64], documents: NDArray[np.int64]
    ) -> Iterator[None]:
        """Restrict the model in the block to these rows (if `has_document_rows`) and term sets."""
        rows = self.head.restricted_to(symbols) if self.has_document_rows else nullcontext()
        sets = nullcontext() if self.term_sets is None else self.term_sets.restricted_to(documents)
        with rows, sets:
            yield

    def identifier_bytes(self) -> int:
        """Return the size of codebooks and term sets in bytes."""
        held = [*self.head.parameters(), *([self.term_sets.words] if self.term_sets else [])]
        return sum(p.numel() * p.element_size() for p in held)

    # --- the model folder ----------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """Write weights, options, encoder configuration and tokenizer."""
        write_model(folder, self, self.options)
        self.encoder.config.save_pretrained(folder)

    @classmethod
    def load(cls, folder: Path, scheme: Scheme, table: IdentifierTable) -> Self:
        """Load a saved model from local files only."""
        with read_model(folder, cls.kind, EncoderHeadOptions) as (options, weights):
            encoder = TextEncoder.restore(folder, options.length, weights)
            cls._refuse_sizes(folder, options, encoder, scheme, weights)
            model = cls(options, encoder)
            most = min(model.source_positions(), default=options.length)
            require_within(f"{folder / 'model.json'}: length", options.length, most, "the encoder")
            model.head = model._make_head(scheme, table)
            if options.term_set_size:
                model.term_sets = TermSetHead.from_weights(
                    weights["term_sets.words"], weights["term_sets.embeddings"]
                )
            model.load_state_dict(weights)
        return model

    @staticmethod
    def _refuse_sizes(
        folder: Path,
        options: EncoderHeadOptions,
        encoder: TextEncoder,
        scheme: Scheme,
        weights: Weights,
    ) -> None:
        """Raise InputError if the lexical part or codebooks do not match the weights' shapes."""
        where = f"{folder / 'model.json'}: lexical_dim"
        if options.lexical_dim:
            size = [len(encoder.tokenizer), options.lexical_dim]
            refuse_size(weights, "lexical.weight", size, where)
        where = f"{folder / 'identifiers' / 'scheme.json'}"
        for level, symbols in enumerate(scheme.level_sizes()):
            size = [symbols, encoder.dimension]
            refuse_size(weights, f"head.codebooks.{level}", size, where)


def _texts(corpus: Sequence[Document]) -> list[str]:
    return [f"{document.title}. {document.text}" for document in corpus]
