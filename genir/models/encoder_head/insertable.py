"""Insertion of documents into an encoder-head model: rows and word sets that follow the table."""

from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from genir.errors import InputError
from genir.identifiers.base import Scheme, Vectors
from genir.identifiers.table import IdentifierTable
from genir.models.encoder_head.decoding import InnerProductDecoder, document_text
from genir.models.encoder_head.row_init import init_rows, sample_protected_queries
from genir.models.encoder_head.word_rows import count_words, join_rows, unpad_sets
from genir.models.encoder_head.word_sets import WeightedWordSets
from genir.models.insertion import (
    ExistingDocuments,
    Insertable,
    NewDocument,
    ProtectedQueries,
    RowsBySymbol,
)
from genir.models.shallow_copy import shallow_copy
from genir.tasks.base import TrainQueries
from genir.types import Document


class InsertableHead(InnerProductDecoder, Insertable):
    """Encoder-head model whose rows and word sets follow the table."""

    def freeze_others(self, numbers: Sequence[int]) -> None:
        """Freeze the rows of other documents if identifiers are atomic."""
        if self.has_document_rows:
            self.head.freeze_others(numbers)

    @property
    def row_width(self) -> int | None:
        """Columns of a row for atomic identifiers: vector, word ids, word weights. None for codes.

        A query as a row has its vector, then its word ids.
        """
        if self.head.levels > 1:
            return None
        return self.encoder.dimension + 2 * (self.words.size if self.words is not None else 0)

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

    def with_table(
        self,
        scheme: Scheme,
        table: IdentifierTable,
        rows: RowsBySymbol,
        documents: Mapping[int, Document],
    ) -> Self:
        """Return the model with new rows or word sets, and with the rows of the table."""
        changed = self._with_own_sets()
        if rows:
            changed._write_rows(scheme.level_sizes()[0], rows)
        elif changed.words is not None and documents:
            terms = self.analyzer.terms(map(document_text, documents.values()))
            numbers = np.array(list(documents), dtype=np.int64)
            changed.words.write(len(table.keys), numbers, changed.words.rows(count_words(terms)))
        changed.head.update_table(table)
        return changed

    def _with_own_sets(self) -> Self:
        """Return a copy with the same tensors, whose rows, words and term sets can be replaced."""
        changed = shallow_copy(self)
        for name in ("head", "words", "term_sets"):
            part = getattr(self, name)
            setattr(changed, name, part if part is None else shallow_copy(part))
        return changed

    def _write_rows(self, size: int, rows: RowsBySymbol) -> None:
        symbols, known = np.array(list(rows), dtype=np.int64), np.stack(list(rows.values()))
        vectors, ids, weights = self.split_rows(known)
        device = self.device
        self.head.set_rows(
            size, torch.from_numpy(symbols).to(device), torch.from_numpy(vectors).to(device)
        )
        if self.words is not None:
            self.words.write(size, symbols, unpad_sets(ids, weights))

    @torch.no_grad()
    def copy_rows(self, symbols: NDArray[np.int64]) -> Vectors:
        """Return the rows of symbols, float32 [n, row_width]."""
        places = torch.from_numpy(symbols).to(self.device)
        rows = self.head.codebooks[0].detach()[places].float()
        if self.words is not None:
            assert isinstance(self.words, WeightedWordSets)
            rows = join_rows(rows, self.words.rows_at(places), self.words.size)
        return rows.cpu().numpy()

    def split_rows(self, rows: Vectors) -> tuple[Vectors, Vectors, Vectors]:
        """Return vectors, word ids and word weights of rows, float32 [rows, row_width]."""
        width, size = self.encoder.dimension, self.words.size if self.words is not None else 0
        return rows[:, :width], rows[:, width : width + size], rows[:, width + size :]

    def require_insertable(self) -> None:
        """Raise InputError for term sets, whose words are chosen in training."""
        if self.term_sets is not None:
            raise InputError(
                "[model] term_set_size: documents cannot be added to a model with term sets, whose "
                "words are chosen in training; train it again, or roll a deletion back"
            )

    def restricted_to(self, symbols: NDArray[np.int64], documents: NDArray[np.int64]) -> Self:
        """Return the model with these rows (if `has_document_rows`) and sets only, in order."""
        changed, places = self._with_own_sets(), torch.from_numpy(documents).to(self.device)
        if changed.term_sets is not None:
            changed.term_sets.keep(places)
        if self.has_document_rows:
            places = torch.from_numpy(symbols).to(self.device)
            changed.head.keep(places)
        if changed.words is not None:
            changed.words.keep(places)
        return changed
