"""Interfaces of a model for training, decoding and updates.

A model is a `DocidModel`: it can be trained (`Trainable`) and decoded (`ConstrainedDecoder`). The
others are optional, and asked for by `isinstance`: `Inheritable`, `Insertable`,
`MultiTokenDecoder` and `DocumentPrior`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import torch
from torch import Tensor, nn

from genir.config import StageConfig, StrictModel
from genir.errors import InputError
from genir.identifiers.base import Scheme, Vectors
from genir.identifiers.table import IdentifierTable
from genir.models.encoder import TextEncoder
from genir.models.insertion import row_width
from genir.models.tokenization import Prompt
from genir.tasks.base import TrainQueries
from genir.types import Document

Inputs = tuple[Tensor, ...]
"""Inputs of `ConstrainedDecoder.encode` for B queries, int64 [B, ...] each."""


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


class SymbolModel(nn.Module, ABC):
    """A network that emits identifiers symbol by symbol."""

    kind: ClassVar[str]
    tokenizer: Any
    separator: int | None = None
    """Symbol between the identifiers of a target, in place of the end symbol of all but the last.
    None if the model emits one identifier only."""

    @property
    def source_prompt(self) -> Prompt:
        """Text before each source text; by default none."""
        return Prompt()

    @property
    def device(self) -> torch.device:
        """Device of the parameters."""
        return next(self.parameters()).device


class Trainable(SymbolModel):
    """A model for the training loop.

    It is made in two steps: `build` loads or creates the encoder and the tokenizer, `build_head`
    adds the head that emits identifiers, once the scheme is fitted.
    """

    Options: ClassVar[type[StrictModel]]
    generates_text: ClassVar[bool] = False
    """Whether the model can be trained on text targets."""

    @classmethod
    @abstractmethod
    def build(cls, options: Any, corpus: Sequence[Document]) -> Self:
        """Load or create the encoder and tokenizer; `build_head` must follow."""

    @classmethod
    def check_pretrained(cls, options: Any, source_length: int) -> None:
        """Check the pre-trained network of the options before `build`. By default does nothing.

        Raises:
            InputError: The network cannot be used.
        """
        return

    @classmethod
    def check_recipe(cls, options: Any, stage: StageConfig) -> None:
        """Raise InputError for options that do not fit the rest of a recipe. By default none."""
        return

    @property
    def is_trainable(self) -> bool:
        """Whether training steps are possible; otherwise the model keeps its initial weights."""
        return True

    def check_source_length(self, length: int) -> None:
        """Raise InputError if the encoder has fewer positions than `training.source_length`."""
        return

    def source_positions(self) -> list[int]:
        """Return the size of each position table; empty without a limit."""
        return []

    def check_target_length(self, length: int, key: str, start: int = 0) -> None:
        """Raise InputError if the decoder has fewer positions than `length`, set by `key`.

        start: positions before the ones that `key` counts. By default does nothing, for models
        without a decoder.
        """
        return

    def document_vectors(self, corpus: Sequence[Document], queries: TrainQueries) -> Vectors:
        """Return the initial document vectors, float32 [documents, H].

        Code schemes are fitted on them, and atomic rows start from them. By default MiniLM's.
        """
        texts = [f"{document.title}. {document.text}" for document in corpus]
        return TextEncoder.pretrained().embed(texts, "document", progress="embedding documents")

    @abstractmethod
    def build_head(self, scheme: Scheme, table: IdentifierTable, vectors: Vectors | None) -> None:
        """Add the head of a fitted scheme, initialised from vectors or codebooks if given."""

    @abstractmethod
    def loss(self, batch: Batch, label_smoothing: float) -> Tensor:
        """Return the weighted mean cross-entropy of a batch, a scalar float32 tensor."""

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

    @abstractmethod
    def head_parameters(self) -> list[nn.Parameter]:
        """Return the newly created parameters, trained at the higher learning rate."""

    def adapter_target(self) -> nn.Module:
        """Return the pre-trained network that adapters can be added to.

        Raises:
            InputError: The model has no pre-trained network.
        """
        raise InputError(f"adapters: a {self.kind!r} model does not support them; set them to 0")

    def begin_training(self) -> None:
        """Switch from settings of an untrained model to those of a trained one. By default none.

        Called before the first step, after dev has been measured with the initial weights.
        """
        return

    def after_training(self, corpus: Sequence[Document]) -> None:
        """Finish the model after training. By default does nothing."""
        return

    def choose_settings(self, quality: Callable[[], float]) -> None:
        """Choose settings that training does not learn, after `after_training`. By default none.

        quality: returns RR@10 on dev queries under the present settings.
        """
        return

    def identifier_bytes(self) -> int:
        """Return the size in bytes of the parameters that belong to single documents."""
        return 0

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write `model.safetensors`, `model.json` and the tokenizer files."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path, scheme: Scheme, table: IdentifierTable) -> Self:
        """Load a saved model. Raises InputError if a file is missing or does not match."""


class ConstrainedDecoder(SymbolModel):
    """A model for beam search and exact search.

    For B queries and K beams (K may grow from 1 after the first step): `encode` encodes the
    queries, `step` returns hidden states [B, K, H] for the next symbol of each beam, and
    log p(symbol | prefix, query) = `logits` - `log_normaliser`. The normaliser is the log-sum-exp
    over the vocabulary of the level.
    """

    shares_vocabulary: bool = False
    """Whether all levels share one vocabulary, so that `logits` does not depend on the depth."""

    def word_inputs(self, texts: Sequence[str]) -> Tensor | None:
        """Return a third input of `encode` besides tokens, int64 [B, W]; by default None."""
        return None

    takes_vectors: ClassVar[bool] = False
    """Whether vectors of queries and documents may be given."""

    def vector_inputs(self, queries: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return the first two inputs of `encode` for queries of which some have vectors.

        Raises:
            InputError: The model reads text only (default).
        """
        raise InputError(
            f"vectors: a model of kind {self.kind!r} reads text only; search it with text, or use "
            "a model of kind 'encoder-head'"
        )

    def confidence(self, query: str, rows: Tensor, document: Document) -> float | None:
        """Return the probability that a document answers a query, 0 to 1; by default None.

        Unlike scores it is comparable between queries.

        Args:
            query: Query text, after spelling correction.
            rows: Rows of the document, int64 [R].
            document: The document.
        """
        return None

    @abstractmethod
    def encode(self, input_ids: Tensor, attention_mask: Tensor) -> Any:
        """Encode queries, int64 [B, S] each, and return the initial decoder state.

        A model with `word_inputs` takes them as a third argument.
        """

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


class DocidModel(Trainable, ConstrainedDecoder):
    """A complete model: trainable and decodable."""

    def forward(self, batch: Batch, objective: "Objective") -> Tensor:
        """Return the training loss; called by distributed wrappers."""
        return objective(self, batch)

    @property
    def has_document_rows(self) -> bool:
        """Whether each document has its own parameter row, made by `Insertable.init_rows`."""
        return row_width(self) is not None


class Inheritable(ABC):
    """A model that can start from a trained one of the same kind (`[model] init_from`)."""

    must_match_parent: ClassVar[frozenset[str]] = frozenset()
    """Options that must equal the parent model's."""

    @abstractmethod
    def inherit_weights(self, parent: DocidModel, table: IdentifierTable) -> Vectors | None:
        """Copy the weights of a trained model, before `build_head`.

        Returns:
            The parent's document vectors, float32 [documents, H], or None.

        Raises:
            InputError: The model cannot be initialised from this parent.
        """

    def inherit_identifiers(
        self, parent: DocidModel, scheme: Scheme, table: IdentifierTable
    ) -> bool:
        """Inherit the identifiers and head of a parent with the same `[identifiers]`.

        Returns:
            Whether they are inherited. If not (default), `build_head` follows.
        """
        return False


@runtime_checkable
class MultiTokenDecoder(Protocol):
    """A decoder that can read several symbols per step. K beams of B queries are B * K rows."""

    supports_multi_token: bool
    """Whether the loaded network can; not all can."""

    def select_rows(self, state: Any, slots: Tensor) -> Any:
        """Return a state whose rows are rows `slots`, int64 [M], of the given one.

        Rows count over batch and beams; each keeps its query and its number of symbols read.
        """

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


@runtime_checkable
class DocumentPrior(Protocol):
    """A decoder with a score of each document that does not depend on the prefix."""

    def prior(self, state: Any) -> Tensor:
        """Return a score of every table row, float32 [B, rows], for look-ahead."""


Objective = Callable[[DocidModel, Batch], Tensor]
"""Training objective: (model, batch) -> scalar float32 loss."""
