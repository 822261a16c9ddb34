"""Pre-trained encoder with a document head: the default model.

With atomic identifiers it is DynamicRetriever (2022): P(document | query) = softmax(W h), with one
row of W for each document; W initialised from document vectors is its OverDense variant. With
codes, each level has a codebook, and a document vector is the sum of its codewords. The score of a
prefix is the inner product of the query with this sum so far (RIPOR, 2024, section 3).
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Self

import numpy as np
import scipy  # loads scipy.sparse when it is used
import torch
from torch import Tensor, nn

from genir.config import StageConfig
from genir.corpus.analyzer import ENGLISH, Analyzer, detect_language
from genir.corpus.vectors import read_vectors
from genir.errors import InputError
from genir.identifiers.base import Scheme, Vectors
from genir.identifiers.table import IdentifierTable
from genir.models.base import Batch, DocidModel, Inheritable
from genir.models.checkpoint_io import load_weights, read_model, write_model
from genir.models.encoder import TextEncoder
from genir.models.encoder_head.codebooks import CodebookHead
from genir.models.encoder_head.decoding import document_text
from genir.models.encoder_head.given_vectors import (
    VECTORS,
    GivenVectors,
    embed_queries,
    vectors_of_documents,
)
from genir.models.encoder_head.insertable import InsertableHead
from genir.models.encoder_head.options import EncoderHeadOptions
from genir.models.encoder_head.row_init import nearest_units
from genir.models.encoder_head.term_set_head import (
    TermSetHead,
    bm25_weights,
    count_tokens,
    require_token_states,
    token_states,
)
from genir.models.encoder_head.word_rows import MAX_QUERY_WORDS, count_words, pad_ids
from genir.models.encoder_head.word_sets import (
    CompactWordSets,
    WeightedWordSets,
    WordSets,
    empty_word_sets,
    require_valid,
)
from genir.models.position_limits import position_table_sizes
from genir.models.size_limits import Weights, refuse_size
from genir.models.tokenization import Prompt, batches_by_length
from genir.progress import tracked
from genir.tasks.base import TrainQueries
from genir.types import Document

ATOMIC_SET_SIZE, MIN_SET_SIZE = 256, 64
"""Default words of a set with atomic identifiers, and the least if all documents are shorter."""
UNTRAINED_WEIGHT, TRAINED_WEIGHT = 1.8, 1.0
"""Weights of the word scores (docs/design/0021, 0024): a trained encoder needs words less."""
WORD_WEIGHTS = (0.3, 0.5, 0.7, 1.0, 1.4, 1.8, 2.4, 3.0)
"""Weights that `choose_settings` compares."""
SCALE_SAMPLE_SIZE = 64
"""Documents used to choose the bias of the term-set head."""


class EncoderHeadModel(InsertableHead, Inheritable):
    """Encoder with one codebook per level, and word sets beside it."""

    kind = "encoder-head"
    Options = EncoderHeadOptions
    must_match_parent = frozenset(
        {"encoder", "length", "query_prompt", "document_prompt", "vectors", "query_vectors"}
    )

    def __init__(self, options: EncoderHeadOptions, encoder: TextEncoder | GivenVectors) -> None:
        super().__init__()
        self.options = options
        self.scale = options.scale
        weight = torch.tensor(options.word_weight or UNTRAINED_WEIGHT)  # see `build_head`
        self.register_buffer("word_weight", weight)
        self.register_buffer("unrelated_similarity", torch.tensor(0.0))
        self.encoder = encoder
        self.tokenizer = encoder.tokenizer if isinstance(encoder, TextEncoder) else None
        self.analyzer = Analyzer(options.language or ENGLISH)
        self.words: WordSets | None = None
        self._corpus: Sequence[Document] = ()  # documents of which the word sets are fitted
        self._vectors = ""  # file of document vectors, while the model is built
        self.term_sets: TermSetHead | None = None
        self.head: CodebookHead

    # --- making --------------------------------------------------------------------------------

    @classmethod
    def build(cls, options: EncoderHeadOptions, corpus: Sequence[Document]) -> Self:
        """Load the encoder; `build_head`, which also fits the word sets, must follow."""
        if options.word_set_size != 0 and options.language is None:
            language = detect_language(map(document_text, corpus))
            options = options.model_copy(update={"language": language})
        model = cls(options, options.load_encoder())
        model._corpus, model._vectors = corpus, options.vectors
        if options.term_set_size:
            key = f"[model] term_set_size = {options.term_set_size}"
            require_token_states(model.text_encoder, key, options.encoder)
            special = sorted(set(model.tokenizer.all_special_ids))
            weights = bm25_weights(model._word_counts(corpus), special)
            model.term_sets = TermSetHead.build(
                weights, options.term_set_size, model.text_encoder.hidden_size
            )
            model.term_sets.init_embeddings(model.text_encoder.embeddings)
            sample = _texts(islice(corpus, SCALE_SAMPLE_SIZE))
            model.term_sets.calibrate_bias(*token_states(model.text_encoder, sample))
        return model

    @classmethod
    def check_pretrained(cls, options: EncoderHeadOptions, source_length: int) -> None:
        """Load the encoder and run it once. Raises InputError if it cannot be used."""
        cls(options, options.load_encoder()).check_source_length(source_length)

    @classmethod
    def check_recipe(cls, options: EncoderHeadOptions, stage: StageConfig) -> None:
        """Raise InputError for word sets that the search would ignore.

        With atomic identifiers word scores are part of the logits, with codes a document prior.
        """
        codes, strategy = stage.identifiers.scheme != "atomic", stage.decoding.strategy
        if options.word_set_size and codes and strategy != "lookahead":
            raise InputError(
                f"[model] word_set_size = {options.word_set_size}: with codes, word sets need "
                f"[decoding] strategy = 'lookahead', not {strategy!r}; set word_set_size to 0"
            )
        if options.compact_words and not (codes and options.word_set_size):
            raise InputError(
                "[model] compact_words: needs codes and word_set_size (the row of an atomic "
                "identifier has exact weights); remove it, or set word_set_size = 64 with codes"
            )

    def check_source_length(self, length: int) -> None:
        """Raise InputError if the encoder takes fewer tokens than `length`."""
        if isinstance(self.encoder, GivenVectors):
            return
        start, key = self.source_prompt.tokens, "[training] source_length"
        self.encoder.refuse_length(start + length, key, self.options.encoder, start)

    @property
    def is_trainable(self) -> bool:
        """Whether the model has a network."""
        return isinstance(self.encoder, TextEncoder)

    @property
    def source_prompt(self) -> Prompt:
        """Prompt of queries."""
        return self.text_encoder.prompts["query"] if self.is_trainable else Prompt()

    def source_positions(self) -> list[int]:
        """Return the sizes of the encoder's position tables."""
        return position_table_sizes(self.text_encoder.backbone) if self.is_trainable else []

    def word_inputs(self, texts: Sequence[str]) -> Tensor | None:
        """Return the word ids of queries, int64 [B, W]; None without word sets."""
        if self.words is None:
            return None
        return torch.from_numpy(pad_ids(self.analyzer.terms(texts), MAX_QUERY_WORDS))

    def inherit_weights(self, parent: DocidModel, table: IdentifierTable) -> Vectors:
        """Copy the parent's encoder and return its document vectors.

        Raises:
            InputError: The parent has another encoder, length, prompt, layer or dimension.
        """
        assert isinstance(parent, EncoderHeadModel)
        own, its = self.options.encoder, parent.options.encoder
        if own != its:
            raise InputError(
                f"[model] encoder = {own!r}, but the model to start from has {its!r}; use the same"
            )
        if isinstance(self.encoder, TextEncoder):
            self.encoder.copy_weights(parent.text_encoder)
        _, rows = np.unique(table.units, return_index=True)
        learned: Vectors = parent.head.row_vectors().detach().cpu().numpy()[rows]
        return learned

    def document_vectors(self, corpus: Sequence[Document], queries: TrainQueries) -> Vectors:
        """Return the initial document vectors, float32 [documents, H].

        Each is the unit mean of the document's vector and its train queries' vectors (OverDense).
        Documents with the same key are units of one document: a query belongs to the nearest.
        """
        dense = self._own_vectors(corpus)
        keys = [document.key for document in corpus]
        asked = [(key, text) for key in dict.fromkeys(keys) for text in queries.get(key, ())]
        if asked:
            texts, progress = [text for _, text in asked], "embedding queries"
            vectors = embed_queries(self.encoder, texts, progress)
            np.add.at(
                dense, nearest_units(keys, dense, [key for key, _ in asked], vectors), vectors
            )
        return dense / np.linalg.norm(dense, axis=1, keepdims=True)

    def _own_vectors(self, corpus: Sequence[Document]) -> Vectors:
        """Return the given vectors of documents, or the encoder's, float32 [documents, H]."""
        if self._vectors:
            keys = [document.key for document in corpus]  # repeated by the units of a document
            vectors = read_vectors(self._vectors, list(dict.fromkeys(keys)), keys)
            if vectors.shape[1] != self.encoder.dimension:
                raise InputError(
                    f"{self._vectors}: the vectors have {vectors.shape[1]} numbers, those of the "
                    f"encoder {self.options.encoder!r} {self.encoder.dimension}; name the encoder "
                    "that made them"
                )
            return vectors
        if isinstance(self.encoder, GivenVectors) or any(d.vector is not None for d in corpus):
            return vectors_of_documents(corpus, self.encoder.dimension)
        return self.encoder.embed(_texts(corpus), "document", progress="embedding documents")

    def _word_counts(self, corpus: Sequence[Document]) -> "scipy.sparse.csr_matrix":
        """Return word-piece counts of whole texts, float32 [documents, vocabulary]."""
        texts = [f"{document.title} {document.text}" for document in corpus]
        counts = [
            count_tokens(self._token_ids(some), len(self.tokenizer))
            for some in batches_by_length(texts)
        ]
        return (
            scipy.sparse.vstack(counts, format="csr")
            if counts
            else count_tokens([], len(self.tokenizer))
        )

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
                f"{scheme.name!r} needs; use kind = 'seq2seq', or a code scheme"
            )
        if self.options.row_init == "random" and len(scheme.level_sizes()) > 1:
            raise InputError(
                f"[model] row_init = 'random' is for the scheme 'atomic', not for {scheme.name!r}, "
                "whose codes start from their codebooks; remove it"
            )
        self.head = self._make_head(scheme, table)
        self._fit_words()
        if self.words is not None and self.has_document_rows:  # a set for each symbol
            owners = np.full(scheme.level_sizes()[0], -1, dtype=np.int64)
            owners[table.symbols[:, 0]] = table.units
            self.words.keep(torch.from_numpy(owners))
        if self.term_sets is not None:
            self.term_sets.init_embeddings(self.text_encoder.embeddings)
        if hasattr(scheme, "full_codebooks"):
            self.head.init_codebooks(scheme.full_codebooks())
        elif vectors is not None and len(scheme.level_sizes()) == 1:
            rows = np.zeros((scheme.level_sizes()[0], vectors.shape[1]), dtype=np.float32)
            rows[table.symbols[:, 0]] = vectors[table.units]
            if self.options.row_init == "vectors":
                self.head.init_codebooks([rows])
        self.unrelated_similarity.fill_(self.head.mean_similarity())
        if self.options.word_weight is None:
            self.word_weight.fill_(self._untrained_weight())

    def _untrained_weight(self) -> float:
        """Return the default weight of the word scores before training.

        Cosines of some encoders all lie between 0.7 and 0.9. Words weigh less if the mean cosine of
        two documents is above 0.25, the most that MiniLM has on five collections.
        """
        spread = 1 - min(float(self.unrelated_similarity), 0.99)
        return min(UNTRAINED_WEIGHT, UNTRAINED_WEIGHT / 0.75 * spread)

    def _fit_words(self) -> None:
        """Fit the word sets, if the options or the identifiers ask for them."""
        size, corpus = self.options.word_set_size, self._corpus
        self._corpus = ()
        if size is None and self.head.levels > 1:
            size = 0
        if size != 0:
            texts = map(document_text, tracked(corpus, "reading words"))
            counts = count_words(self.analyzer.terms(texts))
            if size is None:
                longest = int(np.diff(counts.indptr).max(initial=0))
                size = min(ATOMIC_SET_SIZE, max(longest, MIN_SET_SIZE))
            kind = CompactWordSets if self.options.compact_words else WeightedWordSets
            self.words = kind(size).fit(counts)
        self.options = self.options.model_copy(update={"word_set_size": size})

    def _make_head(self, scheme: Scheme, table: IdentifierTable) -> CodebookHead:
        return CodebookHead(scheme.level_sizes(), self.encoder.dimension, table)

    # --- training ------------------------------------------------------------------------------

    def loss(self, batch: Batch, label_smoothing: float) -> Tensor:
        """Return the cross-entropy over all documents, plus prefix and term-set losses.

        Word scores are excluded: the encoder would not learn the words they cover.
        """
        states = self.text_encoder.states(batch.input_ids, batch.attention_mask)
        query = self.scale * self.text_encoder.pooled(states, batch.attention_mask)
        losses = self.head.loss(query, batch.rows, label_smoothing)
        if self.term_sets is not None:
            documents = self.head.documents[batch.rows].long()
            losses = losses + self.term_sets.loss(states, batch.attention_mask, documents)
        return (losses * batch.weights).sum() / batch.weights.sum()

    def teacher_forced_states(self, inputs: tuple[Tensor, Tensor], symbols: Tensor) -> list[Tensor]:
        """Return each level's logits, [B, 1, size], without the word scores."""
        query = self.query_vectors(*inputs)
        return [
            self.head.training_scores(query, depth).unsqueeze(1)
            for depth in range(symbols.shape[2])
        ]

    def head_parameters(self) -> list[nn.Parameter]:
        """Return the codebooks and the parameters of the term-set head."""
        return [*self.head.codebooks, *(self.term_sets.parameters() if self.term_sets else ())]

    def begin_training(self) -> None:
        """Set the default weight of the word scores of a trained encoder."""
        if self.options.word_weight is None:
            self.word_weight.fill_(TRAINED_WEIGHT)

    def after_training(self, corpus: Sequence[Document]) -> None:
        """Add the trained encoder's document vector to each trained atomic row.

        A row has learned from its few train texts only. The encoder has read the whole document and
        has learned from the queries of all documents.
        """
        if self.head.levels == 1 and self.options.document_vector_weight:
            texts, progress = _texts(corpus), "anchoring documents"
            vectors = self.text_encoder.embed(texts, "document", progress=progress)
            self.head.blend_document_vectors(self.options.document_vector_weight * vectors)
        self.unrelated_similarity.fill_(self.head.mean_similarity())

    def choose_settings(self, quality: Callable[[], float]) -> None:
        """Choose the weight of the word scores, unless the recipe gives it.

        Of equally good weights, the nearest to the present one is taken.
        """
        if self.words is None or self.options.word_weight is not None:
            return
        qualities, known = {}, float(self.word_weight)
        for weight in tracked(WORD_WEIGHTS, "choosing word_weight"):
            self.word_weight.fill_(weight)
            qualities[weight] = quality()
        best = max(qualities, key=lambda weight: (qualities[weight], -abs(weight - known)))
        self.word_weight.fill_(best)

    def adapter_target(self) -> nn.Module:
        """Return the encoder network. Raises InputError for static embeddings."""
        if isinstance(self.encoder, GivenVectors) or self.encoder.is_static:
            raise InputError(
                "adapters: static embeddings and given vectors have no layers to adapt; set "
                "adapters to 0"
            )
        network: nn.Module = self.encoder.backbone
        return network

    def identifier_bytes(self) -> int:
        """Return the size of rows, word sets and term sets in bytes; codebooks are shared."""
        held: list[Tensor] = [*self.head.parameters()] if self.has_document_rows else []
        if self.words is not None:
            held += [getattr(self.words, name) for name in self.words.per_document]
        if self.term_sets is not None:
            held.append(self.term_sets.words)
        return sum(p.numel() * p.element_size() for p in held)

    # --- the model folder ----------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """Write weights, options, encoder configuration and tokenizer."""
        write_model(folder, self, self.options)
        self.encoder.save(folder)

    @classmethod
    def load(cls, folder: Path, scheme: Scheme, table: IdentifierTable) -> Self:
        """Load a saved model from local files only."""
        with read_model(folder, cls.kind, EncoderHeadOptions) as (options, weights):
            encoder = _restore_encoder(options, folder, weights)
            cls._refuse_sizes(folder, encoder, scheme, weights)
            model = cls(options, encoder)
            model.head = model._make_head(scheme, table)
            if options.word_set_size:
                compact = options.compact_words and not model.has_document_rows
                model.words = empty_word_sets(weights, options.word_set_size, compact)
                model._refuse_word_sets(folder, table, weights)
            if options.term_set_size:
                model.term_sets = TermSetHead.from_weights(
                    weights["term_sets.words"], weights["term_sets.embeddings"]
                )
            load_weights(model, weights)
            if model.words is not None:
                where, weight = f"{folder / 'model.safetensors'}", float(model.word_weight)
                require_valid(where, "word_weight", 0 <= weight < torch.inf)
                model.words.check(where)
        return model

    @staticmethod
    def _refuse_sizes(
        folder: Path, encoder: TextEncoder | GivenVectors, scheme: Scheme, weights: Weights
    ) -> None:
        """Raise InputError if the codebooks do not match the shapes of the weights."""
        where = f"{folder / 'identifiers' / 'scheme.json'}"
        for level, symbols in enumerate(scheme.level_sizes()):
            size = [symbols, encoder.dimension]
            refuse_size(weights, f"head.codebooks.{level}", size, where)

    def _refuse_word_sets(self, folder: Path, table: IdentifierTable, weights: Weights) -> None:
        """Raise InputError if the word sets do not fit the options or the table."""
        assert self.words is not None
        places = len(self.head.codebooks[0]) if self.has_document_rows else len(table.keys)
        if len(self.words) != places:
            raise InputError(
                f"{folder / 'model.safetensors'}: {len(self.words)} word sets instead of {places}; "
                "restore the folder or train it again"
            )
        if self.options.compact_words:
            size = [places, self.words.size]
            refuse_size(weights, "words.columns", size, f"{folder / 'model.json'}: word_set_size")


def _restore_encoder(
    options: EncoderHeadOptions, folder: Path, weights: Weights
) -> TextEncoder | GivenVectors:
    if options.encoder == VECTORS:
        return GivenVectors(weights["head.codebooks.0"].shape[1])
    return TextEncoder.restore(folder, weights)


def _texts(corpus: Iterable[Document]) -> list[str]:
    return [document_text(document) for document in corpus]
