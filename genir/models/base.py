"""The contract between a model, the training loop and the decoder. Knows no trie and no loop.

A model is made in two steps: `build` loads or creates the encoder and tokenizer from the recipe
(and the corpus, for a vocabulary from scratch); `attach` adds what emits identifiers once the
scheme is fitted. To add a kind: write one file with a subclass, and name it in `registry.py`.
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

from genir.config import Strict
from genir.errors import InputError
from genir.identifiers.base import Scheme, Vectors
from genir.identifiers.table import IdentifierTable
from genir.models.encoder import TextEncoder
from genir.models.guards import Guards, NewRow, Standing
from genir.records import Document
from genir.tasks.base import TrainQueries

NewRows = Mapping[int, NDArray[np.float32]]
"""Rows of parameters, float32 [H], by the symbol that they stand for."""


@dataclass(frozen=True)
class Batch:
    """A training batch on the device.

    input_ids, attention_mask: int64 [batch, source length].
    targets: int64 [batch, target length], identifier symbols or text tokens, padded with -1.
    rows: int64 [batch], the target's row in the identifier table, -1 for a text target.
    weights: float32 [batch].
    answers: int64 [batch, A], the numbers of the documents known to answer each source, padded with
    -1. sources: the texts that were read, without typing errors. Losses over lists need both.
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
        """Return the token ids of the sources and their mask."""
        return self.input_ids, self.attention_mask

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on a device."""
        tensors: dict[str, Any] = {
            k: v.to(device) for k, v in vars(self).items() if isinstance(v, Tensor)
        }
        return replace(self, **tensors)


class DocidModel(nn.Module, ABC):
    """A sequence-to-sequence model that emits identifiers.

    Decoding protocol, for B queries and K beams (K may grow from 1 after the first step):
    `start` encodes the queries; `step` returns hidden states [B, K, H] for the next symbol of each
    beam; `logits` scores candidate symbols; `log_normaliser` is the log-sum-exp over every symbol
    of the level, so that log p(symbol | prefix, query) = logits - log_normaliser.
    """

    kind: ClassVar[str]
    Options: ClassVar[type[Strict]]
    writes_text: ClassVar[bool] = False
    """Whether it can be trained on text targets."""
    separator: int | None = None
    """The symbol between identifiers of one target, in the place of the end of all but the last;
    None where only one can be written."""
    tokenizer: Any

    @classmethod
    @abstractmethod
    def build(cls, options: Any, corpus: Sequence[Document]) -> Self:
        """Load or create the encoder and tokenizer; `attach` must follow."""

    @classmethod
    def try_source(cls, options: Any, source_length: int) -> None:
        """Raise InputError if the pre-trained network that the options name cannot be used.

        For what is to be done before `build`, which finds out by itself. By default nothing.
        """
        return

    def start_from(self, parent: "DocidModel", table: IdentifierTable) -> Vectors | None:
        """Take over what a trained model of the same kind knows, before `attach`.

        Return where it put the documents of its table, float32 [documents, H], if it did.
        """
        raise InputError(f"[model] start: a {self.kind!r} model cannot start from another")

    same_as_start: ClassVar[frozenset[str]] = frozenset()
    """The options in which it must agree with a model that it starts from."""
    keeps_identifiers: ClassVar[bool] = False
    """Whether, started from a model of the same `[identifiers]`, it has that model's own."""

    def keep(self, parent: "DocidModel", scheme: Scheme, table: IdentifierTable) -> None:
        """Take over the identifiers of a parent, and what emits them, in place of `attach`."""
        raise NotImplementedError(f"a {self.kind!r} model makes identifiers anew")

    @abstractmethod
    def attach(self, scheme: Scheme, table: IdentifierTable, vectors: Vectors | None) -> None:
        """Add what emits the scheme's identifiers, started from vectors or codebooks if given."""

    @abstractmethod
    def loss(self, batch: Batch, label_smoothing: float) -> Tensor:
        """Return the weighted mean cross-entropy of a batch, a scalar float32 tensor."""

    def forward(self, batch: Batch, objective: "Objective") -> Tensor:
        """Return what training makes small: what distributed wrappers call."""
        return objective(self, batch)

    @abstractmethod
    def along(self, inputs: tuple[Tensor, Tensor], symbols: Tensor) -> list[Tensor]:
        """Return the hidden state before each symbol of C identifiers a source, as training has it.

        inputs: int64 [B, S] each, as for `start`. symbols: int64 [B, C, T], padded with -1. A
        tensor a depth, [B, C, H] ([B, 1, H] where it is alike for all), with gradients, for
        `logits` and `level_logits`.
        """

    def refuse_source(self, length: int) -> None:
        """Raise InputError for a network with fewer positions than `training.source_length`."""
        return

    def source_positions(self) -> list[int]:
        """Return the most tokens that each table of positions takes: nothing without a limit."""
        return []

    def refuse_target(self, length: int, key: str, start: int = 0) -> None:
        """Raise InputError for a decoder with fewer positions than `length`, which `key` asks for.

        start: how many of them come before those that `key` counts. By default nothing: without a
        decoder there are no positions.
        """
        return

    def document_vectors(self, corpus: Sequence[Document], queries: TrainQueries) -> Vectors:
        """Return where each document lies before training, float32 [documents, H].

        What code schemes are fitted on, and what atomic rows start from: MiniLM's vectors, for a
        model that has none of its own.
        """
        texts = [f"{document.title}. {document.text}" for document in corpus]
        return TextEncoder.pretrained().embed(texts, progress="embedding documents")

    def finish(self, corpus: Sequence[Document]) -> None:
        """Do what is left to do once the weights are trained. By default nothing."""
        return

    def hold(self, numbers: Sequence[int]) -> None:
        """Keep parameters that belong to other documents alone as they are. By default nothing."""
        return

    def adaptable(self) -> nn.Module:
        """Return the pre-trained network that adapters can be trained in, beside frozen weights.

        Raises InputError for a model that has none.
        """
        raise InputError(f"adapters: a {self.kind!r} model takes none; leave them at 0")

    @property
    def makes_rows(self) -> bool:
        """Tell whether a document that is added needs a row of parameters, from `new_rows`."""
        return False

    @property
    def row_width(self) -> int:
        """Return the columns of a document's row of parameters, where `makes_rows`."""
        raise NotImplementedError(f"a {self.kind!r} model makes no rows")

    def refuse_additions(self) -> None:
        """Raise InputError for a model that documents cannot be added to. By default nothing."""
        return

    def new_rows(
        self, corpus: Sequence[Document], queries: TrainQueries, standing: Standing
    ) -> Sequence[NewRow]:
        """Return the rows of new documents, without any training.

        queries: what each of them answers, if known.
        """
        raise NotImplementedError(f"a {self.kind!r} model makes no rows")

    def follow(self, scheme: Scheme, table: IdentifierTable, rows: NewRows) -> None:
        """Adapt to a table whose documents have changed; rows: those to write, by their symbol."""
        return

    def guard(self, queries: TrainQueries, table: IdentifierTable) -> Guards | None:
        """Return train queries as `new_rows` heeds them; by default None."""
        return None

    @contextmanager
    def keeping(self, symbols: NDArray[np.int64], documents: NDArray[np.int64]) -> Iterator[None]:
        """Have in the block only these symbols' rows, where `makes_rows`, and these documents."""
        yield

    @abstractmethod
    def start(self, input_ids: Tensor, attention_mask: Tensor) -> Any:
        """Encode queries, int64 [B, S] each, and return the decoder's state before any symbol."""

    @abstractmethod
    def step(
        self, state: Any, parents: Tensor | None, symbols: Tensor | None
    ) -> tuple[Any, Tensor]:
        """Advance the beams by one symbol and return (state, hidden [B, K, H]).

        parents: int64 [B, K], the former beam that each beam continues; symbols: int64 [B, K], the
        symbol it just took (any valid symbol for dead beams). Both None at the first step, where
        K = 1. Must not wait for the device.
        """

    def prepared(self) -> list[Any] | None:
        """Return what answering has made of the weights up to now, for those to hold who have
        recorded a search; None where none can be: a step waits for the device or looks at values.
        """
        return None

    reads_runs: bool = False
    """Whether the model has `continue_from` and `read`."""

    def continue_from(self, state: Any, slots: Tensor) -> Any:
        """Return a state whose rows continue rows `slots`, int64 [M], of the former one.

        Rows count over batch and beams; each keeps its query and how many symbols it has read.
        """
        raise NotImplementedError(f"a {self.kind!r} model reads one symbol a step")

    def read(
        self, state: Any, rows: Tensor, symbols: Tensor, lengths: Tensor, last: bool = False
    ) -> tuple[Any, Tensor]:
        """Let rows, int64 [M], read lengths [M] of their symbols [M, T]: (state, hidden [M, T, H]).

        Hidden states beyond a row's length mean nothing. last: those after each row's last symbol
        are all that is wanted: [M, 1, H]. Other rows stay as they are.
        """
        raise NotImplementedError(f"a {self.kind!r} model reads one symbol a step")

    same_symbols: bool = False
    """Whether every level has the same symbols, so that `logits` asks for no depth."""

    @abstractmethod
    def logits(self, hidden: Tensor, depth: int, candidates: Tensor) -> Tensor:
        """Score candidate symbols [B, K, C] (0 where there is none): float32 [B, K, C]."""

    @abstractmethod
    def level_logits(self, hidden: Tensor, depth: int) -> Tensor:
        """Score all symbols of a level after hidden states [..., H]: float32 [..., size]."""

    @abstractmethod
    def log_normaliser(self, hidden: Tensor, depth: int) -> Tensor:
        """Return the log-sum-exp of the logits of all symbols at a level: float32 [B, K]."""

    def scores(self, hidden: Tensor, depth: int, candidates: Tensor) -> tuple[Tensor, Tensor]:
        """Return `logits` of the candidates and `log_normaliser`, which may share their work."""
        return self.logits(hidden, depth, candidates), self.log_normaliser(hidden, depth)

    @abstractmethod
    def hidden_after(
        self, state: Any, queries: Tensor, symbols: Tensor, first: int = 0
    ) -> list[Tensor]:
        """Return hidden states [N, H] after symbols[:, :n], for n = first, ..., T.

        state: as `start` made it. queries: int64 [N], whose prefixes they are, of the B there.
        symbols: int64 [N, T] (any valid symbol past an identifier's end). Keeps no state, so that
        prefixes need not continue each other: for the searches that do not go level by level.
        """

    def log_levels(self, state: Any) -> list[Tensor] | None:
        """Return log p of every symbol, float32 [B, size] a level, where no prefix changes it.

        By default None: what comes next depends on the prefix.
        """
        return None

    def prior(self, state: Any) -> Tensor:
        """Return a score of every row in one step, float32 [B, rows], for look-ahead.

        Raises InputError for a model that has none.
        """
        raise InputError(
            f"[decoding] look_ahead: a {self.kind!r} model has no prior of documents; set it to 0"
        )

    @abstractmethod
    def head_parameters(self) -> list[nn.Parameter]:
        """Return the newly made parameters, which train at the higher rate."""

    def identifier_bytes(self) -> int:
        """Return the size of the parameters that belong to identifiers alone."""
        return 0

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write `model.safetensors`, `model.json` and the tokenizer's files."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path, scheme: Scheme, table: IdentifierTable) -> Self:
        """Read back what `save` wrote. Raises InputError on a missing or foreign file."""

    @property
    def device(self) -> torch.device:
        """Return where the parameters are."""
        return next(self.parameters()).device


Objective = Callable[[DocidModel, Batch], Tensor]
"""What training makes small: a scalar float32 tensor."""
