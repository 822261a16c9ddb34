"""The docid head of a bridge: one codebook a level, documents as sums of codewords.

One level with a codeword a document is the atomic softmax. Knows no text and no trie.
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
from genir.models.concurrent import linear_pair


class CodebookHead(nn.Module):
    """Codebooks, one a level; logits are inner products with the query vector [..., H].

    Its first columns are trained: `codebooks`, float32 [size, trained]. The rest is fixed: `fixed`,
    float32 [size, H - trained], there if H > trained.
    codes: [rows, levels], the table's symbols; documents: [rows], whose rows they are. Both are the
    table's own memory on a CPU.
    """

    codes: Tensor
    documents: Tensor

    def __init__(
        self, sizes: Sequence[int], widths: tuple[int, int], table: IdentifierTable
    ) -> None:
        """Make codebooks of `sizes`; widths: the columns trained, and all of them."""
        super().__init__()
        self.trained, width = widths
        self.codebooks = nn.ParameterList(
            nn.Parameter(torch.randn(size, self.trained) * 0.02) for size in sizes
        )
        self.fixed = nn.ParameterList()
        if width > self.trained:
            rest = (torch.zeros(size, width - self.trained) for size in sizes)
            self.fixed.extend(nn.Parameter(zeros, requires_grad=False) for zeros in rest)
        self.register_buffer("codes", torch.from_numpy(table.symbols), persistent=False)
        self.register_buffer("documents", torch.from_numpy(table.documents), persistent=False)
        # Rows at unit length, and the storage and version of the codebook that they are made of.
        # No buffer: each process makes its own, which DDP would otherwise overwrite in training.
        self.unit: tuple[Tensor, tuple[int, int]] | None = None

    @property
    def levels(self) -> int:
        """Return the number of levels, the tie level included."""
        return len(self.codebooks)

    @torch.no_grad()
    def start_from(self, codebooks: Sequence[NDArray[np.float32]]) -> None:
        """Copy known codewords, [size, H] a level; levels beyond them (ties) start at zero."""
        for level, codebook in enumerate(self.codebooks):
            codebook.zero_()
            if level < len(codebooks):
                known = torch.from_numpy(np.asarray(codebooks[level]))
                codebook[: len(known)] = known[:, : self.trained]
                if self.fixed:
                    self.fixed[level][: len(known)] = known[:, self.trained :]

    @torch.no_grad()
    def anchor(self, vectors: NDArray[np.float32]) -> None:
        """Add a vector a document, [documents, trained], to its rows at unit length (one level)."""
        (codebook,) = self.codebooks
        known = torch.from_numpy(vectors).to(codebook.device)
        moved = F.normalize(codebook, dim=1)
        moved[self.codes[:, 0].long()] += known[self.documents.long()]
        codebook.copy_(F.normalize(moved, dim=1))
        self.unit = None

    @torch.no_grad()
    def put(self, size: int, rows: Mapping[int, NDArray[np.float32]]) -> None:
        """Make room for `size` codewords of the only level, and write some of them, float32 [H]."""
        device = self.codes.device
        places = torch.tensor(list(rows), dtype=torch.long, device=device)
        known = torch.from_numpy(np.stack(list(rows.values()))).to(device)
        lists = [self.codebooks, *([self.fixed] if self.fixed else [])]
        for parameters, columns in zip(lists, known.tensor_split([self.trained], 1), strict=False):
            old = parameters[0]
            grown = old.new_zeros(max(size, len(old)), old.shape[1])
            grown[: len(old)] = old
            grown[places] = columns
            parameters[0] = nn.Parameter(grown, old.requires_grad)
        self.unit = None

    @contextmanager
    def keeping(self, symbols: NDArray[np.int64]) -> Iterator[None]:
        """Have only these codewords of the only level in the block, in their order."""
        places = torch.from_numpy(symbols).to(self.codes.device)
        lists = [self.codebooks, *([self.fixed] if self.fixed else [])]
        whole = [parameters[0] for parameters in lists]
        try:
            for parameters, old in zip(lists, whole, strict=True):
                parameters[0] = nn.Parameter(old.detach()[places], old.requires_grad)
            yield
        finally:
            for parameters, old in zip(lists, whole, strict=True):
                parameters[0] = old
            self.unit = None

    def hold(self, numbers: Sequence[int]) -> None:
        """Train the codewords of these documents alone from now on (one level).

        Else each step would push away the rows of documents that have no example in it.
        """
        (codebook,) = self.codebooks
        mine = torch.isin(self.documents.long(), torch.tensor(numbers, device=self.codes.device))
        moves = torch.zeros(len(codebook), 1)
        moves[self.codes[mine, 0].long().cpu()] = 1
        codebook.register_hook(lambda gradient: gradient * moves.to(gradient))

    def follow(self, table: IdentifierTable) -> None:
        """Take over the symbols and documents of a table that has changed."""
        device = self.codes.device
        self.codes = torch.from_numpy(table.symbols).to(device)
        self.documents = torch.from_numpy(table.documents).to(device)

    def scores(self, hidden: Tensor, depth: int) -> Tensor:
        """Return logits of the whole level, float32 [..., size], of hidden [..., H].

        Never in bf16, which has 8 bits: enough to learn, but it ties what ranking tells apart.
        """
        with torch.autocast(hidden.device.type, enabled=False):
            trained = hidden[..., : self.trained], self.answering(depth)
            if not self.fixed:
                return F.linear(*trained)
            scores, fixed = linear_pair(trained, (hidden[..., self.trained :], self.fixed[depth]))
            return scores + fixed

    def training_scores(self, query: Tensor, depth: int) -> Tensor:
        """Return logits of the whole level, float32 [B, size], as `loss` has them.

        query: float32 [B, trained].
        """
        with torch.autocast(query.device.type, enabled=False):  # see `scores`
            return F.linear(query.float(), self.codebooks[depth])

    def answering(self, depth: int) -> Tensor:
        """Return a level's trained codewords as they answer: at unit length where they are rows.

        In training a row grows with the queries it has; left so, it would win by its length against
        documents that had fewer (docs/design/).
        """
        codebook = self.codebooks[depth]
        if self.levels > 1:
            return codebook
        present = (codebook.data_ptr(), codebook._version)
        if self.training or self.unit is None or self.unit[1] != present:
            self.unit = (F.normalize(codebook.detach(), dim=1), present)
        return self.unit[0]

    def train(self, mode: bool = True) -> Self:
        """Set the mode; rows at unit length do not outlive the training that changes the rows."""
        if mode:
            self.unit = None  # a fused optimiser's steps leave no trace in the version
        return super().train(mode)

    def loss(self, query: Tensor, rows: Tensor, label_smoothing: float) -> Tensor:
        """Return per-example losses [B]: the mean over prefix lengths of softmaxes over all rows.

        query: float32 [B, trained]; rows: int64 [B]. At a prefix length, the targets are all the
        rows that share the example's prefix, so a beam is pruned only if the prefix truly loses.
        """
        measured, losses = self._measured(), []
        for length, sums in self._prefix_vectors(list(self.codebooks)):
            if length in measured:
                with torch.autocast(query.device.type, enabled=False):  # see `scores`
                    logits = F.linear(query.float(), sums)
                losses.append(self._prefix_loss(logits, rows, length, label_smoothing))
        return torch.stack(losses).mean(dim=0)

    def _prefix_vectors(self, codebooks: Sequence[Tensor]) -> Iterator[tuple[int, Tensor]]:
        """Yield (prefix length, sum of the rows' codewords so far, float32 [rows, columns])."""
        sums: Tensor = torch.zeros((), device=self.codes.device)
        for level in range(self.levels):
            symbols = self.codes[:, level].long()
            known = (symbols != PAD).unsqueeze(1)
            # Not indexing, whose gradient several CPU threads add up in any order.
            sums = sums + F.embedding(symbols.clamp(min=0), codebooks[level]) * known
            yield level + 1, sums

    def row_vectors(self) -> Tensor:
        """Return the sum of each row's codewords, float32 [rows, H]."""
        *_, (_, trained) = self._prefix_vectors([self.answering(n) for n in range(self.levels)])
        if not self.fixed:
            return trained
        *_, (_, fixed) = self._prefix_vectors(list(self.fixed))
        return torch.cat([trained, fixed], dim=1)

    def row_scores(self, hidden: Tensor) -> Tensor:
        """Return each row's inner product with hidden [B, H]: the sum of its levels' scores."""
        sums = hidden.new_zeros(len(hidden), len(self.codes))
        for level in range(self.levels):
            symbols = self.codes[:, level].long()
            scores = self.scores(hidden, level)[:, symbols.clamp(min=0)]
            sums += scores.masked_fill(symbols == PAD, 0.0)
        return sums

    def _measured(self) -> set[int]:
        """Return the prefix lengths that the loss sees: all of it, and halves of it."""
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
