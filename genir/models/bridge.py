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

from genir.config import Strict
from genir.errors import InputError
from genir.identifiers.base import Scheme, Vectors
from genir.identifiers.table import IdentifierTable
from genir.models.additions import keep_guards, new_rows
from genir.models.base import Batch, DocidModel, NewRows
from genir.models.codebooks import CodebookHead
from genir.models.encoder import MINILM, TextEncoder, by_size, pool
from genir.models.files import read_model, write_model
from genir.models.guards import Guards, NewRow, Standing
from genir.models.inner_products import InnerProducts
from genir.models.lexical import LexicalEncoder, bm25_weights, count_pieces, special_ids
from genir.models.limits import refuse_longer, tabled
from genir.models.sets import SetHead
from genir.models.sizes import Weights, refuse_size
from genir.records import Document
from genir.tasks.base import TrainQueries

SAMPLE = 64
"""Documents used to choose the bias of the term-set head."""


class BridgeOptions(Strict):
    """Options of `[model]` for kind "bridge"."""

    encoder: str = Field(default=MINILM, description="minilm, a local folder, or a hub name")
    length: int = Field(default=256, ge=8, description="tokens of a document that are encoded")
    scale: float = Field(default=20.0, gt=0, description="scale of the cosine softmax")
    rows: Literal["vectors", "random"] = Field(
        default="vectors", description="initial atomic rows (OverDense or Vanilla)"
    )
    lexical: int = Field(default=384, ge=0, description="dimension of the lexical part; 0 = none")
    lexical_gain: float = Field(default=0.1, gt=0, description="weight of the lexical scores")
    anchor: float = Field(
        default=0.8,
        ge=0,
        description="weight of the trained encoder's document vector in a trained atomic row",
    )
    set_words: int = Field(
        default=0, ge=0, description="words of a term-set identifier, the prior (PAG); 0 = none"
    )

    def weights(self) -> list[str]:
        """Return the names of the pre-trained networks."""
        return [self.encoder]


class BridgeModel(InnerProducts):
    """Encoder (dense and lexical) with one codebook per level."""

    kind = "bridge"
    Options = BridgeOptions
    same_as_start = frozenset({"encoder", "length"})

    def __init__(self, options: BridgeOptions, encoder: TextEncoder) -> None:
        super().__init__()
        self.options = options
        self.scale, self.lexical_gain = options.scale, options.lexical_gain
        self.encoder = encoder
        self.tokenizer = encoder.tokenizer
        self.lexical: LexicalEncoder | None = None
        if options.lexical:
            vocabulary, special = len(self.tokenizer), special_ids(self.tokenizer)
            self.lexical = LexicalEncoder(vocabulary, options.lexical, special)
        self.sets: SetHead | None = None
        self.head: CodebookHead

    # --- making --------------------------------------------------------------------------------

    @classmethod
    def build(cls, options: BridgeOptions, corpus: Sequence[Document]) -> Self:
        """Load the encoder and count the word pieces of the corpus; `attach` must follow."""
        model = cls(options, TextEncoder.pretrained(options.encoder, options.length))
        if model.lexical is not None:
            model.lexical.fit(model._word_counts(corpus))
        if options.set_words:
            model._refuse_narrow_words()
            bags = model._word_counts(corpus)
            weights = bm25_weights(bags, special_ids(model.tokenizer))
            model.sets = SetHead.build(weights, options.set_words, model.encoder.dimension)
            model.sets.start_from(model.encoder.embeddings)
            model.sets.open_at(*model.encoder.read_tokens(_texts(corpus[:SAMPLE])))
        return model

    @classmethod
    def try_source(cls, options: BridgeOptions, source_length: int) -> None:
        """Load the encoder and run it once. Raises InputError if it cannot be used."""
        cls(options, TextEncoder.pretrained(options.encoder, options.length)).refuse_source(
            source_length
        )

    def _refuse_narrow_words(self) -> None:
        words, states = self.encoder.embeddings.shape[1], self.encoder.dimension
        if words != states:
            raise InputError(
                f"[model] set_words = {self.options.set_words}: the encoder "
                f"{self.options.encoder!r} has embeddings of {words} and states of {states} "
                "dimensions, which must be equal; set it to 0, or use another encoder"
            )

    def refuse_source(self, length: int) -> None:
        """Raise InputError if the encoder takes fewer tokens than `length`."""
        self.encoder.refuse_length(length, "[training] source_length", self.options.encoder)

    def source_positions(self) -> list[int]:
        """Return the sizes of the encoder's position tables."""
        return tabled(self.encoder.backbone)

    @property
    def width(self) -> int:
        """Dimension of a query vector."""
        return self.encoder.dimension + (self.lexical.dimension if self.lexical else 0)

    def start_from(self, parent: DocidModel, table: IdentifierTable) -> Vectors:
        """Copy the parent's encoder and return its document vectors.

        Raises:
            InputError: The parent has another encoder or lexical dimension.
        """
        assert isinstance(parent, BridgeModel)
        for name in ("encoder", "lexical"):
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
        counts = [count_pieces(self._pieces(some), len(self.tokenizer)) for some in by_size(texts)]
        return vstack(counts, format="csr") if counts else count_pieces([], len(self.tokenizer))

    def _pieces(self, texts: list[str]) -> list[list[int]]:
        ids: list[list[int]] = self.tokenizer(texts, add_special_tokens=False, verbose=False)[
            "input_ids"
        ]
        return ids

    def attach(self, scheme: Scheme, table: IdentifierTable, vectors: Vectors | None) -> None:
        """Initialise the codebooks from the scheme's codewords, or from the vectors (atomic).

        Raises:
            InputError: Text identifiers, which have no codebooks, or random rows with codes.
        """
        if scheme.needs_tokenizer:
            raise InputError(
                f"[model] kind: a bridge cannot emit text, which scheme {scheme.name!r} needs; "
                "use kind = 'seq2seq', or a code scheme"
            )
        if self.options.rows == "random" and len(scheme.level_sizes()) > 1:
            raise InputError(
                f"[model] rows = 'random' is for the scheme 'atomic', not for {scheme.name!r}, "
                "whose codes start from their codebooks; remove it"
            )
        self.head = self._head(scheme, table)
        if self.sets is not None:
            self.sets.start_from(self.encoder.embeddings)
        if hasattr(scheme, "full_codebooks"):
            self.head.start_from(scheme.full_codebooks())
        elif vectors is not None and len(scheme.level_sizes()) == 1:
            rows = np.zeros((scheme.level_sizes()[0], vectors.shape[1]), dtype=np.float32)
            rows[table.symbols[:, 0]] = vectors[table.documents]
            if self.options.rows == "random":  # the lexical columns are never trained
                rows[:, : self.encoder.dimension] = self.head.codebooks[0].detach().numpy()
            self.head.start_from([rows])

    def _head(self, scheme: Scheme, table: IdentifierTable) -> CodebookHead:
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
        if self.sets is not None:
            documents = self.head.documents[batch.rows].long()
            losses = losses + self.sets.loss(states, batch.attention_mask, documents)
        return (losses * batch.weights).sum() / batch.weights.sum()

    def along(self, inputs: tuple[Tensor, Tensor], symbols: Tensor) -> list[Tensor]:
        """Return each level's logits, [B, 1, size], without the lexical part."""
        query = self.dense_vectors(*inputs)
        return [
            self.head.training_scores(query, depth).unsqueeze(1)
            for depth in range(symbols.shape[2])
        ]

    def head_parameters(self) -> list[nn.Parameter]:
        """Return the codebooks and the parameters of the term-set head."""
        return [*self.head.codebooks, *(self.sets.parameters() if self.sets else ())]

    def finish(self, corpus: Sequence[Document]) -> None:
        """Add the trained encoder's document vector to each trained atomic row.

        A row has learned from its few train texts only. The encoder has read the whole document and
        has learned from the queries of all documents.
        """
        if self.head.levels > 1 or not self.options.anchor:
            return
        vectors = self.encoder.embed(_texts(corpus), progress="anchoring documents")
        self.head.anchor(self.options.anchor * vectors)

    def hold(self, numbers: Sequence[int]) -> None:
        """Freeze the rows of other documents if identifiers are atomic."""
        if self.makes_rows:
            self.head.hold(numbers)

    def adaptable(self) -> nn.Module:
        """Return the encoder network."""
        network: nn.Module = self.encoder.backbone
        return network

    # --- a corpus that changes -----------------------------------------------------------------

    @property
    def makes_rows(self) -> bool:
        """Whether identifiers are atomic, so that a new document needs a new row."""
        return self.head.levels == 1

    @property
    def row_width(self) -> int:
        """Dimension of a query vector."""
        return self.width

    def new_rows(
        self, corpus: Sequence[Document], queries: TrainQueries, standing: Standing
    ) -> list[NewRow]:
        """Return the rows of new documents (IncDSI; see `placing`)."""
        return new_rows(self, corpus, queries, standing)

    def guard(self, queries: TrainQueries, table: IdentifierTable) -> Guards | None:
        """Return protected train queries; None for codes, which do not change."""
        return keep_guards(self, queries, table) if self.makes_rows else None

    def follow(self, scheme: Scheme, table: IdentifierTable, rows: NewRows) -> None:
        """Write new rows, and switch to the rows of the table."""
        if rows:
            self.head.put(scheme.level_sizes()[0], rows)
        self.head.follow(table)

    def refuse_additions(self) -> None:
        """Raise InputError for term sets, whose words are chosen in training."""
        if self.sets is not None:
            raise InputError(
                "[model] set_words: documents cannot be added to a model with term sets, whose "
                "words are chosen in training; train it again, or roll a deletion back"
            )

    @contextmanager
    def keeping(self, symbols: NDArray[np.int64], documents: NDArray[np.int64]) -> Iterator[None]:
        """Restrict the model in the block to these rows (if `makes_rows`) and term sets."""
        rows = self.head.keeping(symbols) if self.makes_rows else nullcontext()
        sets = nullcontext() if self.sets is None else self.sets.keeping(documents)
        with rows, sets:
            yield

    def identifier_bytes(self) -> int:
        """Return the size of codebooks and term sets in bytes."""
        held = [*self.head.parameters(), *([self.sets.words] if self.sets else [])]
        return sum(p.numel() * p.element_size() for p in held)

    # --- the model folder ----------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """Write weights, options, encoder configuration and tokenizer."""
        write_model(folder, self, self.options)
        self.encoder.config.save_pretrained(folder)

    @classmethod
    def load(cls, folder: Path, scheme: Scheme, table: IdentifierTable) -> Self:
        """Load a saved model from local files only."""
        with read_model(folder, cls.kind, BridgeOptions) as (options, weights):
            encoder = TextEncoder.restore(folder, options.length, weights)
            cls._refuse_sizes(folder, options, encoder, scheme, weights)
            model = cls(options, encoder)
            most = min(model.source_positions(), default=options.length)
            refuse_longer(f"{folder / 'model.json'}: length", options.length, most, "the encoder")
            model.head = model._head(scheme, table)
            if options.set_words:
                model.sets = SetHead.like(weights["sets.words"], weights["sets.embeddings"])
            model.load_state_dict(weights)
        return model

    @staticmethod
    def _refuse_sizes(
        folder: Path, options: BridgeOptions, encoder: TextEncoder, scheme: Scheme, weights: Weights
    ) -> None:
        """Raise InputError if the lexical part or codebooks do not match the weights' shapes."""
        where = f"{folder / 'model.json'}: lexical"
        if options.lexical:
            size = [len(encoder.tokenizer), options.lexical]
            refuse_size(weights, "lexical.weight", size, where)
        where = f"{folder / 'identifiers' / 'scheme.json'}"
        for level, symbols in enumerate(scheme.level_sizes()):
            size = [symbols, encoder.dimension]
            refuse_size(weights, f"head.codebooks.{level}", size, where)


def _texts(corpus: Sequence[Document]) -> list[str]:
    return [f"{document.title}. {document.text}" for document in corpus]
