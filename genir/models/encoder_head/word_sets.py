"""Sets of weighted words beside the document vectors, for exact word matches.

Each document has the words with its largest BM25 weights; the score of a document is the sum of the
weights of the query's words, so with whole documents it would equal BM25's. PAG (arXiv:2404.14600,
section 3) and GLEN (arXiv:2311.03057) use word sets as identifiers; here they are whole words, and
their weights are not trained: trained ones memorise the train queries (docs/design/).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Self

import numpy as np
import scipy  # loads scipy.sparse when it is used
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from genir.cancellation import raise_if_cancelled
from genir.errors import InputError
from genir.models.encoder_head.word_rows import MAX_WORD_ID, TEXTS_PER_BLOCK, pad_sets
from genir.models.growing_tensor import GrowingTensor

K1, B = 0.9, 0.4
BUCKETS = 65_535
"""Hash buckets of compact word sets."""
MAX_ENTRIES = (1 << 31) - 1
"""Maximum number of words of all weighted sets: their places are 32-bit numbers."""
ROWS_PER_BLOCK = 4_096
"""Compact sets that are read at once on a CPU."""
MAX_HOT_ENTRIES = 1 << 22
"""Entries of a matrix of queries times words (16 MB); larger batches of queries are split."""


class WordSets(nn.Module, ABC):
    """Word sets of all documents (or symbols), and the word statistics of the corpus.

    Attributes:
        size: Maximum number of words of a set.
        frequencies: Number of documents with each word of the vocabulary, int32 [words].
        documents, mean_length: Number of documents, and mean number of terms of a document.
    """

    frequencies: Tensor
    documents: Tensor
    mean_length: Tensor
    per_document: ClassVar[tuple[str, ...]]
    """Names of the tensors that grow with the sets."""

    def __init__(self, size: int, words: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("frequencies", torch.zeros(words, dtype=torch.int32))
        self.register_buffer("documents", torch.zeros((), dtype=torch.int64))
        self.register_buffer("mean_length", torch.ones(()))

    def fit(self, counts: "scipy.sparse.csr_matrix") -> Self:
        """Set the statistics and the sets of a corpus; counts: see `count_words`."""
        documents = counts.shape[0]
        self.documents.fill_(documents)
        self.mean_length.fill_(counts.sum() / max(documents, 1) or 1.0)
        self._count(counts)
        self.write(documents, np.arange(documents), self.rows(counts))
        return self

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of sets."""

    @abstractmethod
    def _count(self, counts: "scipy.sparse.csr_matrix") -> None:
        """Set the frequencies; counts: words of each document, each once."""

    @abstractmethod
    def columns_of(self, ids: Tensor) -> Tensor:
        """Return the place of each word in the vocabulary, int64; 0 for an unknown one."""

    @abstractmethod
    def write(self, sets: int, places: NDArray[np.int64], rows: "scipy.sparse.csr_matrix") -> None:
        """Grow to a number of sets, and write some of them; rows: see `rows`."""

    @abstractmethod
    def keep(self, places: Tensor) -> None:
        """Replace the sets by the sets at some places, int64, in order; -1 for an empty set."""

    @abstractmethod
    def values_of(self, columns: Tensor) -> Tensor:
        """Return the value of each word in a query, float32 [B, W]; 0 for unknown ones."""

    @abstractmethod
    def _dot(self, hot: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the weighted sum of the values of each set's words, [sets]; hot: [words]."""

    @abstractmethod
    def _sum(self, hot: Tensor) -> Tensor:
        """Return `_dot` for several queries, float32 [sets, B]; hot: [words, B]."""

    def check(self, where: str) -> None:
        """Raise InputError if a loaded tensor has invalid values; where: prefix of messages."""
        frequencies, length = self.frequencies, float(self.mean_length)
        require_valid(where, "words.documents", bool(self.documents >= 0))
        require_valid(where, "words.mean_length", 0 < length < float("inf"))
        require_valid(where, "words.frequencies", _within(frequencies, 0, int(self.documents)))

    def forward(self, ids: Tensor) -> Tensor:
        """Return the score of each set, float32 [B, sets].

        ids: word ids of queries, int64 [B, W], 0 in unused slots. A repeated word counts once.
        """
        columns = self.columns_of(ids)
        values = self.values_of(columns)
        if ids.device.type == "cpu":
            return self._scores_in_turn(columns.numpy(), values.numpy())
        step = max(1, MAX_HOT_ENTRIES // len(self.frequencies))
        parts = zip(torch.split(columns, step), torch.split(values, step), strict=True)
        return torch.cat([self._scores_at_once(*part) for part in parts])

    def _scores_in_turn(self, columns: NDArray[np.int64], values: NDArray[np.float32]) -> Tensor:
        """Score one query after another: on a CPU ten times as fast as `_scores_at_once`."""
        found = np.empty((len(columns), len(self)), dtype=np.float32)
        hot = np.zeros(len(self.frequencies), dtype=np.float32)
        for scores, own, value in zip(found, columns, values, strict=True):
            raise_if_cancelled()
            hot[own] = value
            hot[0] = 0.0
            scores[:] = self._dot(hot)
            hot[own] = 0.0
        return torch.from_numpy(found)

    def _scores_at_once(self, columns: Tensor, values: Tensor) -> Tensor:
        hot = values.new_zeros(len(columns), len(self.frequencies))
        hot.scatter_(1, columns, values)
        hot[:, 0] = 0.0
        with torch.autocast(hot.device.type, enabled=False):
            return self._sum(hot.T.contiguous()).T

    def rows(self, counts: "scipy.sparse.csr_matrix") -> "scipy.sparse.csr_matrix":
        """Return the sets of documents, new ones too, under the statistics of the corpus.

        Args:
            counts: Words of the documents, see `count_words`.

        Returns:
            The `size` largest BM25 weights of each document, float32 [documents, MAX_WORD_ID].
        """
        starts = range(0, counts.shape[0], TEXTS_PER_BLOCK)
        blocks = [self._heaviest(counts[start : start + TEXTS_PER_BLOCK]) for start in starts]
        return scipy.sparse.vstack(blocks, format="csr") if blocks else counts.astype(np.float32)

    def _heaviest(self, counts: "scipy.sparse.csr_matrix") -> "scipy.sparse.csr_matrix":
        """Return the words with the largest BM25 weights, largest first; ties by id."""
        held = np.diff(counts.indptr)
        rows = np.repeat(np.arange(len(held)), held)
        ids = torch.from_numpy(counts.indices).to(self.frequencies.device)
        idf = self.idf(self.columns_of(ids)).cpu().numpy()
        lengths = np.asarray(counts.sum(axis=1)).ravel() / float(self.mean_length)
        norms = K1 * (1 - B + B * lengths)
        weights = idf * counts.data * (K1 + 1) / (counts.data + norms[rows])
        order = np.lexsort((counts.indices, -weights, rows))
        order = order[np.arange(len(order)) - counts.indptr[rows] < self.size]
        starts = np.concatenate([[0], held.clip(max=self.size).cumsum()])
        kept = weights[order].astype(np.float32), counts.indices[order], starts
        return scipy.sparse.csr_matrix(kept, shape=counts.shape)

    def idf(self, columns: Tensor) -> Tensor:
        """Return BM25's inverse document frequency of words, float32 in the shape of `columns`."""
        frequencies = self.frequencies[columns]
        return torch.log1p((self.documents - frequencies + 0.5) / (frequencies + 0.5))


class WeightedWordSets(WordSets):
    """Word sets with exact weights, one after another without unused slots.

    Attributes:
        columns: Words as places in the vocabulary, int32 [entries].
        weights: BM25 weights, float32 [entries].
        starts: Entries before each set, int32 [sets + 1].
        vocabulary: Word ids, int32 [words]; the first is 0.
    """

    columns: Tensor
    weights: Tensor
    starts: Tensor
    vocabulary: Tensor
    per_document = ("columns", "weights", "starts")

    def __init__(self, size: int, sets: int = 0, entries: int = 0, words: int = 1) -> None:
        super().__init__(size, words)
        self.register_buffer("columns", torch.zeros(entries, dtype=torch.int32))
        self.register_buffer("weights", torch.zeros(entries))
        self.register_buffer("starts", torch.zeros(sets + 1, dtype=torch.int32))
        self.register_buffer("vocabulary", torch.zeros(words, dtype=torch.int32))
        self._growing = GrowingTensor(), GrowingTensor()
        self._sorted: tuple[Tensor, Tensor, Tensor] | None = None  # vocabulary, sorted, its order

    def __len__(self) -> int:
        """Return the number of sets."""
        return len(self.starts) - 1

    def _count(self, counts: "scipy.sparse.csr_matrix") -> None:
        ids, found = np.unique(counts.indices, return_counts=True)
        self.vocabulary = torch.from_numpy(np.concatenate([[0], ids]).astype(np.int32))
        self.frequencies = torch.from_numpy(np.concatenate([[0], found]).astype(np.int32))

    def columns_of(self, ids: Tensor) -> Tensor:
        """Return the place of each word in the vocabulary, int64; 0 for an unknown one."""
        known = self._sorted
        if known is None or known[0] is not self.vocabulary:
            known = self._sorted = self.vocabulary, *self.vocabulary.sort()
        _, ordered, order = known
        asked = ids.to(ordered)
        place = torch.searchsorted(ordered, asked).clamp(max=len(ordered) - 1)
        return torch.where(ordered[place] == asked, order[place], 0)

    @torch.no_grad()
    def write(self, sets: int, places: NDArray[np.int64], rows: "scipy.sparse.csr_matrix") -> None:
        """Grow to a number of sets, and write some of them; new words join the vocabulary.

        Sets are appended. Emptied ones keep their entries, with weight 0. If other sets change,
        all are copied.
        """
        device, held = self.columns.device, len(self)
        order, lengths = np.argsort(places), np.diff(rows.indptr)
        is_new = places >= held
        if lengths[~is_new].any():
            sources = np.full(max(sets, held), -1)
            sources[:held], sources[places] = np.arange(held), held + np.arange(len(places))
            self._append(lengths, rows)
            self.keep(torch.from_numpy(sources).to(device))
            return
        emptied = torch.from_numpy(places[~is_new]).to(device)
        self.weights[self._entries(emptied)[0]] = 0.0
        appended = np.zeros(max(sets - held, 0), dtype=np.int64)
        appended[places[is_new] - held] = lengths[is_new]
        self._append(appended, rows[order])

    def _append(self, lengths: NDArray[np.int64], rows: "scipy.sparse.csr_matrix") -> None:
        """Append sets of the given lengths, whose entries are the ones of `rows`."""
        device, held = self.columns.device, len(self.columns)
        total = held + len(rows.indices)
        if total > MAX_ENTRIES:
            raise InputError(
                f"[model] word_set_size = {self.size}: more than {MAX_ENTRIES:,} words in all "
                "sets; reduce it and train again"
            )
        ids, weights = (torch.from_numpy(part).to(device) for part in (rows.indices, rows.data))
        columns = self.columns_of(ids)
        missing = torch.unique(ids[columns == 0])
        if len(missing):
            self.vocabulary = torch.cat([self.vocabulary, missing.to(self.vocabulary)])
            self.frequencies = F.pad(self.frequencies, (0, len(missing)))
            columns = self.columns_of(ids)
        added = slice(held, total)
        self.columns = self._growing[0].write(self.columns, total, added, columns)
        self.weights = self._growing[1].write(self.weights, total, added, weights)
        ends = held + torch.from_numpy(lengths.cumsum()).to(self.starts)
        self.starts = torch.cat([self.starts, ends])

    def _entries(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Return the entries of the sets at some places, int64, and the lengths of these sets."""
        held, empty = places.clamp(min=0), places < 0
        first = self.starts[held].long()
        lengths = (self.starts[held + 1] - first).masked_fill(empty, 0)
        offsets = first - lengths.cumsum(0) + lengths
        within = torch.arange(int(lengths.sum()), device=places.device)
        return torch.repeat_interleave(offsets, lengths) + within, lengths

    def keep(self, places: Tensor) -> None:
        """Replace the sets by the sets at some places, int64, in order; -1 for an empty set."""
        entries, lengths = self._entries(places)
        self.columns, self.weights = self.columns[entries], self.weights[entries]
        self.starts = F.pad(lengths.cumsum(0), (1, 0)).to(self.starts)

    def values_of(self, columns: Tensor) -> Tensor:
        """Return 1 for each known word, float32 [B, W]."""
        return (columns != 0).to(self.weights.dtype)

    def _dot(self, hot: NDArray[np.float32]) -> NDArray[np.float32]:
        parts = self.weights.numpy(), self.columns.numpy(), self.starts.numpy()
        return np.asarray(scipy.sparse.csr_matrix(parts, shape=(len(self), len(hot))) @ hot)

    def _sum(self, hot: Tensor) -> Tensor:
        return F.embedding_bag(
            self.columns,
            hot,
            self.starts,
            mode="sum",
            per_sample_weights=self.weights,
            include_last_offset=True,
        )

    def check(self, where: str) -> None:
        """Raise InputError if a loaded tensor has invalid values; where: prefix of messages."""
        super().check(where)
        ends = self.starts[[0, -1]].tolist() if len(self.starts) else []
        valid = ends == [0, len(self.columns)]
        valid = valid and _within(self.starts.long().diff(), 0, self.size)
        require_valid(where, "words.starts", valid)
        require_valid(where, "words.columns", _within(self.columns, 1, len(self.vocabulary) - 1))
        require_valid(
            where, "words.weights", bool((self.weights.isfinite() & (self.weights >= 0)).all())
        )
        valid = self.vocabulary[:1].tolist() == [0]
        valid = valid and _within(self.vocabulary[1:], 1, MAX_WORD_ID - 1)
        require_valid(where, "words.vocabulary", valid)

    def rows_at(self, places: Tensor) -> "scipy.sparse.csr_matrix":
        """Return the sets at some places, as `rows` does."""
        entries, lengths = self._entries(places)
        ids, weights = self.vocabulary[self.columns[entries]], self.weights[entries]
        starts = F.pad(lengths.cumsum(0), (1, 0))
        parts = (part.cpu().numpy() for part in (weights, ids, starts))
        return scipy.sparse.csr_matrix(tuple(parts), shape=(len(places), MAX_WORD_ID))


class CompactWordSets(WordSets):
    """Word sets of two bytes a word: hash buckets, weighted by their idf alone.

    Attributes:
        columns: Buckets from 1, as unsigned 16-bit numbers stored in int16, [sets, size]; 0 in
            unused slots.
    """

    columns: Tensor
    per_document = ("columns",)

    def __init__(self, size: int, sets: int = 0) -> None:
        super().__init__(size, BUCKETS + 1)
        self.register_buffer("columns", torch.zeros(sets, size, dtype=torch.int16))
        self._growing = GrowingTensor()

    def __len__(self) -> int:
        """Return the number of sets."""
        return len(self.columns)

    def _count(self, counts: "scipy.sparse.csr_matrix") -> None:
        rows = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
        buckets = self.columns_of(torch.from_numpy(counts.indices)).numpy()
        found = np.unique(rows * (BUCKETS + 1) + buckets) % (BUCKETS + 1)
        self.frequencies = torch.from_numpy(np.bincount(found, minlength=BUCKETS + 1)).int()

    def columns_of(self, ids: Tensor) -> Tensor:
        """Return the bucket of each word, int64."""
        return torch.where(ids > 0, 1 + ids.long() % BUCKETS, 0)

    @torch.no_grad()
    def write(self, sets: int, places: NDArray[np.int64], rows: "scipy.sparse.csr_matrix") -> None:
        """Grow to a number of sets, and write some of them; rows: see `rows`."""
        device = self.columns.device
        buckets = self.columns_of(torch.from_numpy(pad_sets(rows, self.size)[0]))
        stored = torch.where(buckets < 1 << 15, buckets, buckets - (1 << 16)).to(device)
        at = torch.from_numpy(places).to(device)
        self.columns = self._growing.write(self.columns, sets, at, stored)

    def keep(self, places: Tensor) -> None:
        """Replace the sets by the sets at some places, int64, in order; -1 for an empty set."""
        self.columns = self.columns[places.clamp(min=0)] * (places >= 0).unsqueeze(1)

    def values_of(self, columns: Tensor) -> Tensor:
        """Return the idf of each word, float32 [B, W]."""
        return self.idf(columns)

    def _dot(self, hot: NDArray[np.float32]) -> NDArray[np.float32]:
        buckets = self.columns.numpy().view(np.uint16)
        sums = np.empty(len(buckets), dtype=np.float32)
        for start in range(0, len(buckets), ROWS_PER_BLOCK):
            block = slice(start, start + ROWS_PER_BLOCK)
            sums[block] = hot[buckets[block]].sum(axis=1)
        return sums

    def _sum(self, hot: Tensor) -> Tensor:
        return F.embedding_bag(self.columns.int() & 0xFFFF, hot, mode="sum")


def empty_word_sets(weights: Mapping[str, Tensor], size: int, compact: bool) -> WordSets:
    """Create word sets for saved weights, with the shapes of their tensors `words.*`."""
    if compact:
        return CompactWordSets(size, len(weights["words.columns"]))
    names = "words.starts", "words.columns", "words.vocabulary"
    starts, entries, words = (len(weights[name]) for name in names)
    return WeightedWordSets(size, starts - 1, entries, words)


def require_valid(where: str, name: str, valid: bool) -> None:
    """Raise InputError if a tensor of a model folder is not valid."""
    if not valid:
        raise InputError(
            f"{where}: {name} has invalid values; restore the folder or train it again"
        )


def _within(values: Tensor, low: int, high: int) -> bool:
    """Return whether all values are in [low, high]; True without values."""
    return not values.numel() or low <= int(values.min()) <= int(values.max()) <= high
