"""Document head of an encoder-head model: one codebook per level, document vectors as sums of
codewords.

One level with one codeword for each document is an atomic softmax.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from genir.identifiers.table import PAD, IdentifierTable
from genir.models.engine.parallel_linear import linear_pair


class CodebookHead(nn.Module):
    """Codebooks, one per level; logits are inner products with the query vector [..., H].

    Attributes:
        codebooks: Trained columns, float32 [size, trained] a level.
        frozen_rows: Other columns, float32 [size, H - trained] a level; empty if H = trained.
        codes: Symbols of the table, [rows, levels]; on a CPU, it shares the table's memory.
        documents: Document number of each row, [rows]; likewise.
    """

    codes: Tensor
    documents: Tensor

    def __init__(
        self, sizes: Sequence[int], widths: tuple[int, int], table: IdentifierTable
    ) -> None:
        """Create codebooks of `sizes`; widths: number of trained columns, and of all columns."""
        super().__init__()
        self.trained, width = widths
        self.codebooks = nn.ParameterList(
            nn.Parameter(torch.randn(size, self.trained) * 0.02) for size in sizes
        )
        self.frozen_rows = nn.ParameterList()
        if width > self.trained:
            rest = (torch.zeros(size, width - self.trained) for size in sizes)
            self.frozen_rows.extend(nn.Parameter(zeros, requires_grad=False) for zeros in rest)
        self.register_buffer("codes", torch.from_numpy(table.symbols), persistent=False)
        self.register_buffer("documents", torch.from_numpy(table.documents), persistent=False)
        # Rows at unit length, with storage and version of the codebook they were computed from. Not
        # a buffer: in training, DDP would overwrite each process's own with another's.
        self.unit: tuple[Tensor, tuple[int, int]] | None = None

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
                codebook[: len(known)] = known[:, : self.trained]
                if self.frozen_rows:
                    self.frozen_rows[level][: len(known)] = known[:, self.trained :]

    @torch.no_grad()
    def blend_document_vectors(self, vectors: NDArray[np.float32]) -> None:
        """Add document vectors, [documents, trained], to the normalised rows (one level)."""
        (codebook,) = self.codebooks
        known = torch.from_numpy(vectors).to(codebook.device)
        moved = F.normalize(codebook, dim=1)
        moved[self.codes[:, 0].long()] += known[self.documents.long()]
        codebook.copy_(F.normalize(moved, dim=1))
        self.unit = None

    @torch.no_grad()
    def set_rows(self, size: int, rows: Mapping[int, NDArray[np.float32]]) -> None:
        """Grow the only level to `size` codewords, and write the given ones, float32 [H]."""
        device = self.codes.device
        places = torch.tensor(list(rows), dtype=torch.long, device=device)
        known = torch.from_numpy(np.stack(list(rows.values()))).to(device)
        lists = [self.codebooks, *([self.frozen_rows] if self.frozen_rows else [])]
        for parameters, columns in zip(lists, known.tensor_split([self.trained], 1), strict=False):
            old = parameters[0]
            grown = old.new_zeros(max(size, len(old)), old.shape[1])
            grown[: len(old)] = old
            grown[places] = columns
            parameters[0] = nn.Parameter(grown, old.requires_grad)
        self.unit = None

    @contextmanager
    def restricted_to(self, symbols: NDArray[np.int64]) -> Iterator[None]:
        """Restrict the only level in the block to these codewords, in the given order."""
        places = torch.from_numpy(symbols).to(self.codes.device)
        lists = [self.codebooks, *([self.frozen_rows] if self.frozen_rows else [])]
        whole = [parameters[0] for parameters in lists]
        try:
            for parameters, old in zip(lists, whole, strict=True):
                parameters[0] = nn.Parameter(old.detach()[places], old.requires_grad)
            yield
        finally:
            for parameters, old in zip(lists, whole, strict=True):
                parameters[0] = old
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

    def scores(self, hidden: Tensor, depth: int) -> Tensor:
        """Return the logits of a level, float32 [..., size], for hidden [..., H].

        Always in float32: bf16 has 8 significant bits, which produces ties in the ranking.
        """
        with torch.autocast(hidden.device.type, enabled=False):
            trained = hidden[..., : self.trained], self.normalized_codebook(depth)
            if not self.frozen_rows:
                return F.linear(*trained)
            scores, fixed = linear_pair(
                trained, (hidden[..., self.trained :], self.frozen_rows[depth])
            )
            return scores + fixed

    def training_scores(self, query: Tensor, depth: int) -> Tensor:
        """Return the training logits of a level, float32 [B, size].

        query: float32 [B, trained].
        """
        with torch.autocast(query.device.type, enabled=False):  # see `scores`
            return F.linear(query.float(), self.codebooks[depth])

    def normalized_codebook(self, depth: int) -> Tensor:
        """Return a level's trained codewords for inference; normalised if atomic.

        In training the norm of a row grows with its number of queries, which would favour
        documents with many queries (docs/design/).
        """
        codebook = self.codebooks[depth]
        if self.levels > 1:
            return codebook
        present = (codebook.data_ptr(), codebook._version)
        if self.training or self.unit is None or self.unit[1] != present:
            self.unit = (F.normalize(codebook.detach(), dim=1), present)
        return self.unit[0]

    def train(self, mode: bool = True) -> Self:
        """Set the mode; training mode drops the normalised rows."""
        if mode:
            self.unit = None  # a fused optimiser does not update the version
        return super().train(mode)

    def loss(self, query: Tensor, rows: Tensor, label_smoothing: float) -> Tensor:
        """Return the loss of each example, [B]: mean cross-entropy over several prefix lengths.

        Softmaxes are over all rows. The targets at a prefix length are all rows with the example's
        prefix, so a beam search prunes it only if other prefixes score higher.

        Args:
            query: Query vectors, float32 [B, trained].
            rows: Target rows, int64 [B].
            label_smoothing: Used at the full length.
        """
        measured, losses = self._normalized(), []
        for length, sums in self._prefix_vectors(list(self.codebooks)):
            if length in measured:
                with torch.autocast(query.device.type, enabled=False):  # see `scores`
                    logits = F.linear(query.float(), sums)
                losses.append(self._prefix_loss(logits, rows, length, label_smoothing))
        return torch.stack(losses).mean(dim=0)

    def _prefix_vectors(self, codebooks: Sequence[Tensor]) -> Iterator[tuple[int, Tensor]]:
        """Yield prefix lengths with the sums of the rows' codewords, float32 [rows, columns]."""
        sums: Tensor = torch.zeros((), device=self.codes.device)
        for level in range(self.levels):
            symbols = self.codes[:, level].long()
            known = (symbols != PAD).unsqueeze(1)
            # Indexing has a gradient that CPU threads accumulate in a non-deterministic order.
            sums = sums + F.embedding(symbols.clamp(min=0), codebooks[level]) * known
            yield level + 1, sums

    def row_vectors(self) -> Tensor:
        """Return the sum of each row's codewords, float32 [rows, H]."""
        *_, (_, trained) = self._prefix_vectors(
            [self.normalized_codebook(n) for n in range(self.levels)]
        )
        if not self.frozen_rows:
            return trained
        *_, (_, fixed) = self._prefix_vectors(list(self.frozen_rows))
        return torch.cat([trained, fixed], dim=1)

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

    def _prefix_loss(
        self, logits: Tensor, rows: Tensor, length: int, label_smoothing: float
    ) -> Tensor:
        if length == self.levels:
            return F.cross_entropy(logits, rows, reduction="none", label_smoothing=label_smoothing)
        prefixes = self.codes[:, :length]
        same = (prefixes.unsqueeze(0) == prefixes[rows].unsqueeze(1)).all(dim=-1)
        return logits.logsumexp(dim=1) - logits.masked_fill(~same, -torch.inf).logsumexp(dim=1)
