"""The interface of a model for the training loop and the decoder.

A model is made in two steps. `build` loads or creates the encoder and tokenizer from the recipe and
the corpus. `build_head` adds the head that emits identifiers, once the scheme is fitted. To add a
model, write one file with a subclass, and register it in `registry.py`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from genir.config import StrictModel
from genir.errors import InputError
from genir.identifiers.base import Scheme, Vectors
from genir.identifiers.table import IdentifierTable
from genir.models.encoder import TextEncoder
from genir.models.encoder_head.protected_queries import (
    ExistingDocuments,
    NewDocument,
    ProtectedQueries,
)
from genir.tasks.base import TrainQueries
from genir.types import Document

RowsBySymbol = Mapping[int, NDArray[np.float32]]
"""Parameter rows, float32 [H], by identifier symbol."""


@dataclass(frozen=True)
class Batch:
    """A training batch on the device.

    Attributes:
        input_ids: Source tokens, int64 [batch, source length].
        attention_mask: 1 for tokens, 0 for padding, same shape.
        targets: Identifier symbols or text tokens, int64 [batch, target length], padded with -1.
        rows: Table row of each target, int64 [batch]; -1 for a text target.
        weights: Example weights, float32 [batch].
        answers: Numbers of the relevant documents of each source, int64 [batch, A], padded with -1.
            Ranking losses need them and `sources`.
        sources: Source texts without synthetic typing errors.
    """

    input_ids: Tensor
    attention_mask: Tensor
    targets: Tensor
    rows: Tensor
    weights: Tensor
    answers: Tensor = field(default_factory=lambda: torch.empty(0, 0, dtype=torch.long))
    sources: tuple[str, ...] = ()

    @property
    def inputs(self) -> tuple[Tensor, Tensor]:
        """Source token ids and attention mask."""
        return self.input_ids, self.attention_mask

    def to(self, device: torch.device) -> "Batch":
        """Return a copy on a device."""
        tensors: dict[str, Any] = {
            k: v.to(device) for k, v in vars(self).items() if isinstance(v, Tensor)
        }
        return replace(self, **tensors)


class DocidModel(nn.Module, ABC):
    """A model that emits identifiers symbol by symbol.

    Decoding, for B queries and K beams (K may grow from 1 after the first step): `encode` encodes
    the queries, `step` returns hidden states [B, K, H] for the next symbol of each beam, and
    log p(symbol | prefix, query) = `logits` - `log_normaliser`. The normaliser is the log-sum-exp
    over the vocabulary of the level.
    """

    kind: ClassVar[str]
    Options: ClassVar[type[StrictModel]]
    generates_text: ClassVar[bool] = False
    """Whether the model can be trained on text targets."""
    separator: int | None = None
    """Symbol between the identifiers of a target, in place of the end symbol of all but the last.
    None if the model emits one identifier only."""
    tokenizer: Any

    @classmethod
    @abstractmethod
    def build(cls, options: Any, corpus: Sequence[Document]) -> Self:
        """Load or create the encoder and tokenizer; `build_head` must follow."""

    @classmethod
    def check_pretrained(cls, options: Any, source_length: int) -> None:
        """Check the pre-trained network of the options before `build`. By default does nothing.

        Raises:
            InputError: It cannot be used.
        """
        return

    def inherit_weights(self, parent: "DocidModel", table: IdentifierTable) -> Vectors | None:
        """Copy the weights of a trained model of the same kind, before `build_head`.

        Returns:
            The parent's document vectors, float32 [documents, H], or None.

        Raises:
            InputError: The model cannot be initialised from another one.
        """
        raise InputError(f"[model] init_from: a {self.kind!r} model cannot start from another")

    must_match_parent: ClassVar[frozenset[str]] = frozenset()
    """Options that must equal those of the parent model."""
    inherits_identifiers: ClassVar[bool] = False
    """Whether a model initialised from one with the same `[identifiers]` inherits them."""

    def inherit_identifiers(
        self, parent: "DocidModel", scheme: Scheme, table: IdentifierTable
    ) -> None:
        """Inherit the identifiers and the head of a parent, in place of `build_head`."""
        raise NotImplementedError(f"a {self.kind!r} model cannot inherit identifiers")

    @abstractmethod
    def build_head(self, scheme: Scheme, table: IdentifierTable, vectors: Vectors | None) -> None:
        """Add the head of a fitted scheme, initialised from vectors or codebooks if given."""

    @abstractmethod
    def loss(self, batch: Batch, label_smoothing: float) -> Tensor:
        """Return the weighted mean cross-entropy of a batch, a scalar float32 tensor."""

    def forward(self, batch: Batch, objective: "Objective") -> Tensor:
        """Return the training loss; called by distributed wrappers."""
        return objective(self, batch)

    @abstractmethod
    def teacher_forced_states(self, inputs: tuple[Tensor, Tensor], symbols: Tensor) -> list[Tensor]:
        """Return hidden states before each symbol of C identifiers per source, teacher-forced.

        Args:
            inputs: Token ids and attention mask, int64 [B, S] each.
            symbols: Identifier symbols, int64 [B, C, T], padded with -1.

        Returns:
            One tensor per depth with gradients, [B, C, H], or [B, 1, H] if it is the same for all
            identifiers; for `logits` and `level_logits`.
        """

    def check_source_length(self, length: int) -> None:
        """Raise InputError if the encoder has fewer positions than `training.source_length`."""
        return

    def source_positions(self) -> list[int]:
        """Return the size of each position table; empty without a limit."""
        return []

    def check_target_length(self, length: int, key: str, start: int = 0) -> None:
        """Raise InputError if the decoder has fewer positions than `length`, set by `key`.

        start: positions before those that `key` counts. By default does nothing, for models
        without a decoder.
        """
        return

    def document_vectors(self, corpus: Sequence[Document], queries: TrainQueries) -> Vectors:
        """Return the initial document vectors, float32 [documents, H].

        Code schemes are fitted on them, and atomic rows start from them. By default MiniLM's.
        """
        texts = [f"{document.title}. {document.text}" for document in corpus]
        return TextEncoder.pretrained().embed(texts, progress="embedding documents")

    def after_training(self, corpus: Sequence[Document]) -> None:
        """Finish the model after training. By default does nothing."""
        return

    def freeze_others(self, numbers: Sequence[int]) -> None:
        """Freeze parameters that belong only to other documents. By default does nothing."""
        return

    def adapter_target(self) -> nn.Module:
        """Return the pre-trained network that adapters can be added to.

        Raises:
            InputError: The model has none.
        """
        raise InputError(f"adapters: a {self.kind!r} model does not support them; set them to 0")

    @property
    def has_document_rows(self) -> bool:
        """Whether each document has its own parameter row, made by `init_rows`."""
        return False

    @property
    def row_width(self) -> int:
        """Number of columns of a document's parameter row, if `has_document_rows`."""
        raise NotImplementedError(f"a {self.kind!r} model has no document rows")

    def require_insertable(self) -> None:
        """Raise InputError if documents cannot be added. By default does nothing."""
        return

    def init_rows(
        self, corpus: Sequence[Document], queries: TrainQueries, context: ExistingDocuments
    ) -> Sequence[NewDocument]:
        """Return the parameter rows of new documents, without training.

        Args:
            corpus: New documents.
            queries: Known queries of these documents, by key.
            context: Existing documents and protected queries.
        """
        raise NotImplementedError(f"a {self.kind!r} model has no document rows")

    def update_table(self, scheme: Scheme, table: IdentifierTable, rows: RowsBySymbol) -> None:
        """Update to a changed table; rows: parameter rows to write, by symbol."""
        return

    def protected_queries(
        self, queries: TrainQueries, table: IdentifierTable
    ) -> ProtectedQueries | None:
        """Return the train queries that `init_rows` protects, or None (default)."""
        return None

    @contextmanager
    def restricted_to(
        self, symbols: NDArray[np.int64], documents: NDArray[np.int64]
    ) -> Iterator[None]:
        """Restrict the model in the block to these rows (if `has_document_rows`) and documents."""
        yield

    @abstractmethod
    def encode(self, input_ids: Tensor, attention_mask: Tensor) -> Any:
        """Encode queries, int64 [B, S] each, and return the initial decoder state."""

    @abstractmethod
    def step(
        self, state: Any, parents: Tensor | None, symbols: Tensor | None
    ) -> tuple[Any, Tensor]:
        """Advance the beams by one symbol. Must not synchronise with the device.

        Args:
            state: Decoder state.
            parents: Previous beam that each beam continues, int64 [B, K]; None at the first step.
            symbols: Last symbol of each beam, int64 [B, K], any valid symbol for dead beams; None
                at the first step, where K = 1.

        Returns:
            The new state, and hidden states [B, K, H].
        """

    def prepared_weights(self) -> list[Any] | None:
        """Return the prepared weights, which captured searches must keep alive.

        None if searches cannot be captured, because a step synchronises with the device.
        """
        return None

    supports_multi_token: bool = False
    """Whether `select_rows` and `read` are implemented."""

    def select_rows(self, state: Any, slots: Tensor) -> Any:
        """Return a state whose rows are rows `slots`, int64 [M], of the given one.

        Rows count over batch and beams; each keeps its query and its number of symbols read.
        """
        raise NotImplementedError(f"a {self.kind!r} model reads one symbol per step")

    def extend(
        self, state: Any, rows: Tensor, symbols: Tensor, lengths: Tensor, last: bool = False
    ) -> tuple[Any, Tensor]:
        """Read several symbols at some rows of the state; other rows are unchanged.

        Args:
            state: Decoder state.
            rows: Rows of the state, int64 [M].
            symbols: Symbols to read, int64 [M, T].
            lengths: Number of symbols of each row, int64 [M].
            last: Return the hidden states of last symbols only, [M, 1, H].

        Returns:
            The new state, and hidden states [M, T, H]; undefined beyond a row's length.
        """
        raise NotImplementedError(f"a {self.kind!r} model reads one symbol per step")

    shares_vocabulary: bool = False
    """Whether all levels share one vocabulary, so that `logits` does not depend on the depth."""

    @abstractmethod
    def logits(self, hidden: Tensor, depth: int, candidates: Tensor) -> Tensor:
        """Return logits of candidate symbols [B, K, C] (0 in unused slots), float32 [B, K, C]."""

    @abstractmethod
    def level_logits(self, hidden: Tensor, depth: int) -> Tensor:
        """Return logits of the level's vocabulary for hidden [..., H], float32 [..., size]."""

    @abstractmethod
    def log_normaliser(self, hidden: Tensor, depth: int) -> Tensor:
        """Return the log-sum-exp of the logits of a level's vocabulary, float32 [B, K]."""

    def scores(self, hidden: Tensor, depth: int, candidates: Tensor) -> tuple[Tensor, Tensor]:
        """Return `logits` and `log_normaliser`, computed together if that is faster."""
        return self.logits(hidden, depth, candidates), self.log_normaliser(hidden, depth)

    @abstractmethod
    def states_for_prefixes(
        self, state: Any, queries: Tensor, symbols: Tensor, first: int = 0
    ) -> list[Tensor]:
        """Return hidden states [N, H] after symbols[:, :n], for n = first, ..., T.

        It keeps no state, so prefixes need not extend each other (for exact search).

        Args:
            state: Result of `encode` for B queries.
            queries: Query index of each prefix, int64 [N].
            symbols: int64 [N, T], any valid symbol after the end of an identifier.
            first: Length of the shortest prefix.
        """

    def prefix_free_log_probs(self, state: Any) -> list[Tensor] | None:
        """Return log p of every symbol, float32 [B, size] a level, if prefixes do not matter.

        By default None: the next symbol depends on the prefix.
        """
        return None

    def prior(self, state: Any) -> Tensor:
        """Return a score of every table row, float32 [B, rows], for look-ahead.

        Raises:
            InputError: The model has no document prior.
        """
        raise InputError(
            f"[decoding] lookahead_weight: a {self.kind!r} model has no document prior; set it to 0"
        )

    @abstractmethod
    def head_parameters(self) -> list[nn.Parameter]:
        """Return the newly created parameters, trained at the higher learning rate."""

    def identifier_bytes(self) -> int:
        """Return the size in bytes of the parameters that belong to identifiers only."""
        return 0

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write `model.safetensors`, `model.json` and the tokenizer files."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path, scheme: Scheme, table: IdentifierTable) -> Self:
        """Load a saved model. Raises InputError if a file is missing or does not match."""

    @property
    def device(self) -> torch.device:
        """Device of the parameters."""
        return next(self.parameters()).device


Objective = Callable[[DocidModel, Batch], Tensor]
"""Training objective: (model, batch) -> scalar float32 loss."""
