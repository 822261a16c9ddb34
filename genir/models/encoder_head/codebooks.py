"""Document head of an encoder-head model: one codebook per level, document vectors as sums of
codewords.

One level with one codeword for each document is an atomic softmax.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from genir.identifiers.table import PAD, IdentifierTable
from genir.models.engine.parallel_linear import parallel_linear
from genir.models.growing_tensor import GrowingTensor

SAMPLE_ROWS = 4_096
"""Rows from which the similarity of documents is estimated."""


class CodebookHead(nn.Module):
    """Codebooks, one per level; logits are inner products with the query vector [..., H].

    Attributes:
        codebooks: Codewords, float32 [size, H] a level.
        codes: Symbols of the table, [rows, levels]; on a CPU, it shares the table's memory.
        documents: Document number of each row, [rows]; likewise.
        has_units: Whether a document has a row for each of its units.
    """

    codes: Tensor
    documents: Tensor

    def __init__(self, sizes: Sequence[int], width: int, table: IdentifierTable) -> None:
        """Create codebooks of `sizes` with `width` columns."""
        super().__init__()
        self.codebooks = nn.ParameterList(
            nn.Parameter(torch.randn(size, width) * 0.02) for size in sizes
        )
        self.register_buffer("codes", torch.from_numpy(table.symbols), persistent=False)
        self.register_buffer("documents", torch.from_numpy(table.documents), persistent=False)
        self.has_units = table.spans is not None
        # Rows at unit length, with storage and version of the codebook they were computed from. Not
        # a buffer: in training, DDP would overwrite each process's own with another's.
        self.unit: tuple[Tensor, tuple[int, int]] | None = None
        self._growing = GrowingTensor(), GrowingTensor()  # of the codebook and `unit`

    @property
    def levels(self) -> int:
        """Number of levels, including the tie-breaking level."""
        return len(self.codebooks)

    @torch.no_grad()
    def init_codebooks(self, codebooks: Sequence[NDArray[np.float32]]) -> None:
        """Copy initial codewords, [size, H] a level; tie-breaking levels start at zero."""
        for level, codebook in enumerate(self.codebooks):
            codebook.zero_()
            if level < len(codebooks):
                known = torch.from_numpy(np.asarray(codebooks[level]))
                codebook[: len(known)] = known

    @torch.no_grad()
    def blend_document_vectors(self, vectors: NDArray[np.float32]) -> None:
        """Add vectors of documents or, by document, of their units to the normalised rows.

        vectors: float32 [documents or units, H]. There must be one level.
        """
        (codebook,) = self.codebooks
        known = torch.from_numpy(vectors).to(codebook.device)
        moved = F.normalize(codebook, dim=1)
        own = self.documents.long()
        if self.has_units:
            own = torch.argsort(torch.argsort(own, stable=True))  # place of a row by document
        moved[self.codes[:, 0].long()] += known[own]
        codebook.copy_(F.normalize(moved, dim=1))
        self._drop_unit()

    @torch.no_grad()
    def set_rows(self, size: int, symbols: Tensor, rows: Tensor) -> None:
        """Grow the only level to `size` codewords, and write some of them, [symbols, H].

        Storage has room for further rows, so that most changes copy no other row.
        """
        old = self.codebooks[0]
        unit = None if self.unit is None or not self._is_unit_current() else self.unit[0]
        grown = self._growing[0].write(old, size, symbols, rows)
        self.codebooks = nn.ParameterList([nn.Parameter(grown, old.requires_grad)])
        if unit is not None:
            unit = self._growing[1].write(unit, size, symbols, F.normalize(rows, dim=1))
        self.unit = unit if unit is None else (unit, self._codebook_version())

    def keep(self, symbols: Tensor) -> None:
        """Replace the only level by some of its codewords, int64, in order."""
        old = self.codebooks[0]
        self.codebooks = nn.ParameterList([nn.Parameter(old.detach()[symbols], old.requires_grad)])
        self.unit = None

    def freeze_others(self, numbers: Sequence[int]) -> None:
        """Train only the codewords of these documents from now on (one level).

        Otherwise each step would lower the scores of documents without an example in the batch.
        """
        (codebook,) = self.codebooks
        mine = torch.isin(self.documents.long(), torch.tensor(numbers, device=self.codes.device))
        moves = torch.zeros(len(codebook), 1)
        moves[self.codes[mine, 0].long().cpu()] = 1
        codebook.register_hook(lambda gradient: gradient * moves.to(gradient))

    def update_table(self, table: IdentifierTable) -> None:
        """Switch to the symbols and documents of a changed table."""
        device = self.codes.device
        self.codes = torch.from_numpy(table.symbols).to(device)
        self.documents = torch.from_numpy(table.documents).to(device)
        self.has_units = table.spans is not None

    def scores(self, hidden: Tensor, depth: int) -> Tensor:
        """Return the logits of a level, float32 [..., size], for hidden [..., H].

        Always in float32: bf16 has 8 significant bits, which produces ties in the ranking.
        """
        with torch.autocast(hidden.device.type, enabled=False):
            return parallel_linear(hidden, self.normalized_codebook(depth))

    def training_scores(self, query: Tensor, depth: int) -> Tensor:
        """Return the training logits of a level, float32 [B, size].

        query: float32 [B, H].
        """
        with torch.autocast(query.device.type, enabled=False):  # see `scores`
            return F.linear(query.float(), self.codebooks[depth])

    def normalized_codebook(self, depth: int) -> Tensor:
        """Return a level's codewords for inference; normalised if atomic.

        In training the norm of a row grows with its number of queries, which would favour
        documents with many queries (docs/design/).
        """
        codebook = self.codebooks[depth]
        if self.levels > 1:
            return codebook
        if self.training or self.unit is None or not self._is_unit_current():
            self.unit = (F.normalize(codebook.detach(), dim=1), self._codebook_version())
        return self.unit[0]

    def _drop_unit(self) -> None:
        """Drop the normalised rows, and their storage."""
        self.unit = None
        self._growing[1].clear()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        for storage in self._growing:
            storage.clear()  # of the former device
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call]

    def _codebook_version(self) -> tuple[int, int]:
        return self.codebooks[0].data_ptr(), self.codebooks[0]._version

    def _is_unit_current(self) -> bool:
        return self.unit is not None and self.unit[1] == self._codebook_version()

    def train(self, mode: bool = True) -> Self:
        """Set the mode; training mode drops the normalised rows."""
        if mode:
            self._drop_unit()  # a fused optimiser does not update the version
        return super().train(mode)

    def loss(self, query: Tensor, rows: Tensor, label_smoothing: float) -> Tensor:
        """Return the loss of each example, [B]: mean cross-entropy over several prefix lengths.

        Softmaxes are over all rows. The targets at a prefix length are all rows with the example's
        prefix, so a beam search prunes it only if other prefixes score higher.

        Args:
            query: Query vectors, float32 [B, H].
            rows: Target rows, int64 [B].
            label_smoothing: Used at the full length.
        """
        measured, losses = self._normalized(), []
        for length, sums in self._prefix_vectors(list(self.codebooks), self.codes):
            if length in measured:
                with torch.autocast(query.device.type, enabled=False):  # see `scores`
                    logits = F.linear(query.float(), sums)
                losses.append(self._prefix_loss(logits, rows, length, label_smoothing))
        return torch.stack(losses).mean(dim=0)

    def _prefix_vectors(
        self, codebooks: Sequence[Tensor], codes: Tensor
    ) -> Iterator[tuple[int, Tensor]]:
        """Yield prefix lengths with the sums of the rows' codewords, float32 [rows, columns]."""
        sums: Tensor = torch.zeros((), device=self.codes.device)
        for level in range(self.levels):
            symbols = codes[:, level].long()
            known = (symbols != PAD).unsqueeze(1)
            # Indexing has a gradient that CPU threads accumulate in a non-deterministic order.
            sums = sums + F.embedding(symbols.clamp(min=0), codebooks[level]) * known
            yield level + 1, sums

    def row_vectors(self, rows: Tensor | None = None) -> Tensor:
        """Return the sum of each row's codewords, float32 [rows, H]; rows: int64, None for all."""
        codebooks = [self.normalized_codebook(level) for level in range(self.levels)]
        codes = self.codes if rows is None else self.codes[rows]
        *_, (_, sums) = self._prefix_vectors(codebooks, codes)
        return sums

    @torch.no_grad()
    def mean_similarity(self) -> float:
        """Return the mean cosine of two documents, from a sample of rows; 0 of fewer than two."""
        step = max(1, len(self.codes) // SAMPLE_ROWS)
        rows = torch.arange(0, len(self.codes), step, device=self.codes.device)
        vectors = F.normalize(self.row_vectors(rows), dim=1)
        pairs = len(rows) * (len(rows) - 1)
        own = vectors.square().sum()  # cosines of rows with themselves
        return float(vectors.sum(dim=0).square().sum() - own) / pairs if pairs else 0.0

    def row_scores(self, hidden: Tensor) -> Tensor:
        """Return each row's inner product with hidden [B, H]: the sum of its levels' logits."""
        sums = hidden.new_zeros(len(hidden), len(self.codes))
        for level in range(self.levels):
            symbols = self.codes[:, level].long()
            scores = self.scores(hidden, level)[:, symbols.clamp(min=0)]
            sums += scores.masked_fill(symbols == PAD, 0.0)
        return sums

    def _normalized(self) -> set[int]:
        """Return the prefix lengths in the loss: the full length, one less, and its halves."""
        lengths, length = {self.levels}, self.levels - 1
        while length >= 1:
            lengths.add(length)
            length //= 2
        return lengths

    def _best_rows(self, logits: Tensor, rows: Tensor) -> Tensor:
        """Return the row of each target's document with the largest logit, int64 [B].

        A document has a row for each of its units.
        """
        others = self.documents[rows].unsqueeze(1) != self.documents
        return logits.detach().masked_fill(others, -torch.inf).argmax(dim=1)

    def _prefix_loss(
        self, logits: Tensor, rows: Tensor, length: int, label_smoothing: float
    ) -> Tensor:
        if length == self.levels:
            rows = self._best_rows(logits, rows) if self.has_units else rows
            return F.cross_entropy(logits, rows, reduction="none", label_smoothing=label_smoothing)
        prefixes = self.codes[:, :length]
        same = (prefixes.unsqueeze(0) == prefixes[rows].unsqueeze(1)).all(dim=-1)
        return logits.logsumexp(dim=1) - logits.masked_fill(~same, -torch.inf).logsumexp(dim=1)
