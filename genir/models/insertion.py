"""Insertion of documents into a trained model: the interface of a model, and its data."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from torch import nn

from genir.errors import InputError
from genir.identifiers.base import Scheme
from genir.identifiers.table import IdentifierTable
from genir.tasks.base import TrainQueries
from genir.types import Document

NAME = "guards.safetensors"
RowsBySymbol = Mapping[int, NDArray[np.float32]]
"""Parameter rows, float32 [H], by identifier symbol."""


class ProtectedQueries(NamedTuple):
    """Train queries whose results must not change when documents are added.

    vectors: queries as rows, float32 [Q, row width]. documents: document numbers, int32 [Q].
    """

    vectors: NDArray[np.float32]
    documents: NDArray[np.int32]

    def renumber(self, numbers: NDArray[np.int64]) -> "ProtectedQueries":
        """Map document numbers to new ones, int64 [documents]; -1 drops the document."""
        documents = numbers[self.documents]
        kept = documents >= 0
        if kept.all():  # avoid a copy of the vectors
            return ProtectedQueries(self.vectors, documents.astype(np.int32))
        return ProtectedQueries(self.vectors[kept], documents[kept].astype(np.int32))

    def with_queries(self, asked: Mapping[int, NDArray[np.float32]]) -> "ProtectedQueries":
        """Replace the queries of some documents: float32 [Q, row width] by document number."""
        kept = ~np.isin(self.documents, list(asked))
        if kept.all() and not any(map(len, asked.values())):
            return self
        vectors = [self.vectors[kept], *asked.values()]
        counts = [len(own) for own in asked.values()]
        numbers = np.repeat(np.array(list(asked), dtype=np.int32), counts)
        return ProtectedQueries(
            np.concatenate(vectors), np.concatenate([self.documents[kept], numbers])
        )

    def save(self, folder: Path) -> None:
        """Write `guards.safetensors`."""
        save_file(self._asdict(), folder / NAME)

    @classmethod
    def load(cls, folder: Path, count: int, width: int | None) -> Self | None:
        """Load saved queries for `count` documents; None if there is no file.

        width: number of columns of a document row; None if documents have no rows.

        Raises:
            InputError: The file is damaged.
        """
        path = folder / NAME
        if not path.is_file():
            return None
        try:
            arrays = load_file(path)
            vectors, documents = arrays["vectors"], arrays["documents"]
            valid = vectors.dtype == np.float32 and vectors.ndim == 2 and documents.ndim == 1
            valid = valid and documents.dtype == np.int32 and len(vectors) == len(documents)
            if not valid or not 0 <= documents.min(initial=0) <= documents.max(initial=0) < count:
                raise KeyError("arrays must be float32 [Q, row width] and int32 [Q]")
            if vectors.shape[1] != width or not np.isfinite(vectors).all():
                raise KeyError(f"vectors of {vectors.shape[1]} columns instead of {width}")
            return cls(vectors, documents)
        except (OSError, KeyError, SafetensorError) as error:
            raise InputError(f"{path}: damaged ({error}); restore it or train it again") from None


class NewDocument(NamedTuple):
    """Parameters of an inserted document.

    rows: of its identifiers, one for each unit, float32 [units, row width]. query_rows: its queries
    as rows, to be protected from now on, float32 [Q, row width].
    """

    rows: NDArray[np.float32]
    query_rows: NDArray[np.float32]

    @classmethod
    def join(cls, units: "Sequence[NewDocument]") -> "NewDocument":
        """Return the document that has all rows and queries of its units."""
        rows, query_rows = (np.concatenate(parts) for parts in zip(*units, strict=True))
        return cls(rows, query_rows)


class ExistingDocuments(NamedTuple):
    """Existing documents and protected queries at an insertion.

    live_symbols: whether each symbol's document can be found, bool [symbols]. protected_queries:
    protected queries; a document without any is represented by its own row as a query.
    """

    live_symbols: NDArray[np.bool_]
    protected_queries: ProtectedQueries | None = None


class Insertable(ABC):
    """A model with parameters that belong to documents, and follow the table in updates.

    New documents of other models use existing symbols.
    """

    @property
    @abstractmethod
    def row_width(self) -> int | None:
        """Number of columns of a document's parameter row; None if documents have no rows."""

    @abstractmethod
    def require_insertable(self) -> None:
        """Raise InputError if documents cannot be added."""

    @abstractmethod
    def init_rows(
        self, corpus: Sequence[Document], queries: TrainQueries, context: ExistingDocuments
    ) -> Sequence[NewDocument]:
        """Return the parameter rows of new documents, without training.

        Args:
            corpus: New documents; consecutive ones with the same key are units of one document.
            queries: Known queries of these documents, by key.
        """

    @abstractmethod
    def copy_rows(self, symbols: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the parameter rows of symbols, in the form `with_table` takes them.

        Args:
            symbols: Identifier symbols, int64 [n].

        Returns:
            float32 [n, row width].
        """

    @abstractmethod
    def with_table(
        self,
        scheme: Scheme,
        table: IdentifierTable,
        rows: RowsBySymbol,
        documents: Mapping[int, Document],
    ) -> Self:
        """Return the model for a changed table; this one still answers for the former table.

        Args:
            rows: Parameter rows to write, by symbol.
            documents: New and replaced documents, by number.
        """

    @abstractmethod
    def protected_queries(
        self, queries: TrainQueries, table: IdentifierTable
    ) -> ProtectedQueries | None:
        """Return the train queries that `init_rows` protects; None without any."""

    @abstractmethod
    def freeze_others(self, numbers: Sequence[int]) -> None:
        """Freeze the parameters of documents, except the given ones."""

    @abstractmethod
    def restricted_to(self, symbols: NDArray[np.int64], documents: NDArray[np.int64]) -> Self:
        """Return the model with the rows of these symbols, or of these documents, in order."""


def row_width(model: nn.Module) -> int | None:
    """Return the columns of a document's parameter row; None if documents have no rows."""
    return model.row_width if isinstance(model, Insertable) else None


def protect_queries(
    model: nn.Module, queries: TrainQueries, table: IdentifierTable
) -> ProtectedQueries | None:
    """Return the train queries that later insertions must respect; None without document rows."""
    return model.protected_queries(queries, table) if isinstance(model, Insertable) else None


def require_insertable(model: nn.Module, scheme: Scheme) -> None:
    """Raise InputError if documents cannot be added without training."""
    if isinstance(model, Insertable):
        model.require_insertable()
    elif not scheme.needs_tokenizer and len(scheme.level_sizes()) == 1:
        raise InputError(
            f"atomic identifiers: a {model.kind!r} model must learn each document's symbol, so "
            "documents cannot be added; train with kind = 'encoder-head', or with codes or text"
        )
