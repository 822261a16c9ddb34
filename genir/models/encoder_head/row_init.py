"""Parameter rows of new documents for an encoder-head model: their texts, competing rows, and old
queries."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from random import Random

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from genir.identifiers.base import Vectors
from genir.identifiers.table import IdentifierTable
from genir.models.encoder_head.decoding import InnerProductDecoder, document_text
from genir.models.encoder_head.given_vectors import embed_queries
from genir.models.encoder_head.incdsi import (
    IncDSIWeights,
    RankingConstraints,
    optimize_rows,
)
from genir.models.encoder_head.word_rows import (
    MAX_QUERY_WORDS,
    count_words,
    join_rows,
    match_scores,
    pad_ids,
    query_lengths,
    unpad_sets,
)
from genir.models.encoder_head.word_sets import WeightedWordSets
from genir.models.insertion import (
    ExistingDocuments,
    NewDocument,
    ProtectedQueries,
)
from genir.progress import tracked
from genir.tasks.base import TrainQueries
from genir.tasks.chunking import clauses
from genir.types import Document

DOCUMENTS_PER_BATCH = 64
"""New documents optimized in one batch."""
BLOCK_ROWS = 512
"""Rows, or protected queries, compared in one block: 1.6 MB at 768 columns."""
MAX_OWN_QUERIES, MAX_CLAUSES, CLAUSE_WORDS = 16, 8, 24
"""Maximum number of queries and of clauses of a new document, and of words of a clause."""
WEIGHT_OF_CLAUSES, WEIGHT_OF_QUERIES = 2.0, 2.0
"""Weights of the mean clause and query vectors in the initial row; the document vector has 1."""
MAX_PROTECTED_QUERIES = 16_384
"""Maximum number of train queries kept, sampled uniformly: 59 MB at 896 columns."""
MARGIN = 3.0
"""Old queries are constraints if a new row scores within this distance (logits) of the limit."""


def sample_protected_queries(
    model: InnerProductDecoder, queries: TrainQueries, table: IdentifierTable, seed: int = 0
) -> ProtectedQueries | None:
    """Return a sample of train queries as vectors; None if there are none."""
    asked = [(table.number(key), text) for key in sorted(queries) for text in queries[key]]
    if len(asked) > MAX_PROTECTED_QUERIES:
        asked = Random(f"guards {seed}").sample(asked, MAX_PROTECTED_QUERIES)
    if not asked:
        return None
    rows = query_rows(model, [text for _, text in asked], progress="embedding train queries")
    return ProtectedQueries(rows, np.array([n for n, _ in asked], dtype=np.int32))


def query_rows(model: InnerProductDecoder, texts: Sequence[str], progress: str = "") -> Vectors:
    """Return the vectors of queries as in inference, then their word ids, float32 [texts, H]."""
    dense = model.scale * embed_queries(model.encoder, texts, progress)
    if model.words is None:
        return dense
    ids = np.zeros((len(texts), 2 * model.words.size), dtype=np.float32)
    width = min(MAX_QUERY_WORDS, ids.shape[1])
    ids[:, :width] = pad_ids(model.analyzer.terms(texts), width)
    return np.concatenate([dense, ids], axis=1)


def init_rows(
    model: InnerProductDecoder,
    corpus: Sequence[Document],
    queries: TrainQueries,
    existing: ExistingDocuments,
) -> list[NewDocument]:
    """Return the rows of new documents; see `incdsi`. Later batches compete with earlier ones."""
    field, made = InsertionContext(model, existing), list[NewDocument]()
    asked = _queries_of_units(model, corpus, queries)
    for batch in tracked(_batches(corpus), "placing documents"):
        made += _optimize_batch(model, corpus[batch], asked[batch], field)
    return made


def _batches(corpus: Sequence[Document]) -> list[slice]:
    """Divide documents into batches; the units of a document, which do not compete, stay in one."""
    ends = [n for n in range(1, len(corpus)) if corpus[n].key != corpus[n - 1].key]
    starts = [0]
    for end in ends:
        if end - starts[-1] >= DOCUMENTS_PER_BATCH:
            starts.append(end)
    return [slice(*pair) for pair in pairwise([*starts, len(corpus)])] if corpus else []


def _queries_of_units(
    model: InnerProductDecoder, corpus: Sequence[Document], queries: TrainQueries
) -> list[list[str]]:
    """Return the given queries of each document; of its units, a query belongs to the nearest."""
    own = [list(queries.get(document.key, ()))[:MAX_OWN_QUERIES] for document in corpus]
    places: dict[str, list[int]] = {}
    for number, document in enumerate(corpus):
        places.setdefault(document.key, []).append(number)
    for key, numbers in places.items():
        if len(numbers) == 1 or not queries.get(key):
            continue
        texts = own[numbers[0]]
        units = model.document_vectors([corpus[number] for number in numbers], {})
        asked = embed_queries(model.encoder, texts)
        nearest = nearest_units([key] * len(numbers), units, [key] * len(texts), asked)
        for place, number in enumerate(numbers):
            own[number] = [text for text, at in zip(texts, nearest, strict=True) if at == place]
    return own


def nearest_units(
    keys: Sequence[str], units: Vectors, asked: Sequence[str], queries: Vectors
) -> list[int]:
    """Return the number of the unit of its document with the largest inner product of each query.

    Args:
        keys: Document key of each unit.
        units: Vectors of units, float32 [units, H].
        asked: Document key of each query.
        queries: Vectors of queries, float32 [Q, H].
    """
    places: dict[str, list[int]] = {}
    for number, key in enumerate(keys):
        places.setdefault(key, []).append(number)
    found = []
    for key, query in zip(asked, queries, strict=True):
        own = places[key]
        found.append(own[int((units[own] @ query).argmax())] if len(own) > 1 else own[0])
    return found


def own_texts(document: Document, asked: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the given queries of a document, and clauses of its text."""
    own = dict.fromkeys(clauses(document.text, MAX_CLAUSES, CLAUSE_WORDS))
    return list(asked), list(own)


class InsertionContext:
    """Existing rows and protected queries that constrain new rows, read in blocks.

    A full copy of the rows would double the memory of the model for each change.
    """

    def __init__(self, model: InnerProductDecoder, existing: ExistingDocuments) -> None:
        head, device = model.head, model.device
        self.head, self.scale, self.width = head, model.scale, model.encoder.dimension
        assert model.words is None or isinstance(model.words, WeightedWordSets)
        self.words, self.word_weight = model.words, model.word_weight
        self.rivals = torch.from_numpy(existing.live_symbols).to(device)
        self.protected = existing.protected_queries
        owners = torch.zeros(0, dtype=torch.long, device=device)
        if existing.protected_queries is not None:
            owners = self._nearest_symbols(existing.protected_queries)
        self.owners = owners
        bare = self.rivals.clone()
        bare[owners] = False
        self.bare = bare.nonzero().squeeze(1)
        self.joined: list[tuple[Tensor, Tensor, Tensor]] = []

    @torch.no_grad()
    def _nearest_symbols(self, protected: ProtectedQueries) -> Tensor:
        """Return the symbol of its document that is nearest to each protected query, int64 [Q]."""
        head, device = self.head, self.rivals.device
        order = torch.argsort(head.documents.long(), stable=True)
        owners, ordered = torch.from_numpy(protected.documents).to(device), head.documents[order]
        low, high = (torch.searchsorted(ordered, owners, right=end) for end in (False, True))
        symbols = head.codes[:, 0].long()[order]
        nearest = symbols[low]
        units = int((high - low).max()) if len(low) else 1
        if units == 1:
            return nearest
        codebook = head.normalized_codebook(0).detach()
        queries = torch.from_numpy(protected.vectors[:, : self.width]).to(device)
        best = (queries * codebook[nearest]).sum(dim=1)
        for place in range(1, units):
            other = symbols[torch.minimum(low + place, high - 1)]
            score = (queries * codebook[other]).sum(dim=1)
            nearest = torch.where(score > best, other, nearest)
            best = torch.maximum(score, best)
        return nearest

    @torch.no_grad()
    def _rows(self, symbols: Tensor | slice) -> Tensor:
        """Return the rows of symbols, with vectors at unit length, [symbols, row width]."""
        vectors = self.head.normalized_codebook(0).detach()[symbols]
        if self.words is None:
            return vectors
        if isinstance(symbols, slice):
            symbols = torch.arange(*symbols.indices(len(self.words)), device=vectors.device)
        return join_rows(vectors, self.words.rows_at(symbols), self.words.size)

    def _asked(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield protected queries as rows, and the score of each one's own document, [Q].

        For a document without queries, the vector of its row is used as the query.
        """
        for block in _blocks(len(self.owners)):
            assert self.protected is not None
            asked = torch.from_numpy(self.protected.vectors[block]).to(self.owners.device)
            yield asked, self.own_scores(asked, self._rows(self.owners[block]))
        for block in _blocks(len(self.bare)):
            rows = self._rows(self.bare[block])
            asked = torch.zeros_like(rows)
            asked[:, : self.width] = self.scale * rows[:, : self.width]
            yield asked, self.own_scores(asked, rows)
        for _, asked, answers in self.joined:
            yield asked, answers

    def scores(self, asked: Tensor, rows: Tensor) -> Tensor:
        """Return the scores of rows for queries, float32 [T, M]; see `word_scores`."""
        return asked[:, : self.width] @ rows[:, : self.width].T + self.word_scores(asked, rows)

    def word_scores(self, asked: Tensor, rows: Tensor) -> Tensor:
        """Return the weighted word scores of rows for queries, float32 [T, M].

        asked: queries as rows, [T, row width]; rows: [M, row width].
        """
        if self.words is None:
            return asked.new_zeros(len(asked), len(rows))
        size = self.words.size
        ids, words = (part[:, self.width :].cpu().numpy() for part in (asked, rows))
        own = unpad_sets(words[:, :size], words[:, size:])
        scores = torch.from_numpy(match_scores(ids.astype(np.int64), own))
        return self.word_weight * scores.to(asked.device) / query_lengths(asked[:, self.width :])

    def own_scores(self, asked: Tensor, rows: Tensor) -> Tensor:
        """Return the score of the n-th row for the n-th query, float32 [T]."""
        vectors = asked[:, : self.width], rows[:, : self.width]
        return (vectors[0] * vectors[1]).sum(dim=1) + self.word_scores(asked, rows).diagonal()

    def highest_rival(self, asked: Tensor) -> Tensor:
        """Return the best score of an existing row for T queries; -inf if there is none."""
        best = torch.full((len(asked),), -torch.inf, device=asked.device)
        for block in _blocks(len(self.rivals)):
            scores = self.scores(asked, self._rows(block))
            scores[:, ~self.rivals[block]] = -torch.inf
            best = torch.maximum(best, scores.amax(dim=1))
        for rows, _, _ in self.joined:
            best = torch.maximum(best, self.scores(asked, rows).amax(dim=1))
        return best

    def ranking_constraints(self, start: Tensor) -> RankingConstraints:
        """Return the protected queries that new rows [M, row width] may violate, as constraints."""
        near: list[tuple[Tensor, Tensor, Tensor]] = [
            (start[:0, : self.width], start.new_zeros(0, len(start)), start[:0, 0])
        ]
        for asked, answers in self._asked():
            fixed = self.word_scores(asked, start)
            vectors = asked[:, : self.width]
            scores = vectors @ start[:, : self.width].T + fixed
            kept = scores.amax(dim=1) > answers - IncDSIWeights().leave - MARGIN
            near.append((vectors[kept].clone(), fixed[kept], answers[kept]))
        return RankingConstraints(*map(torch.cat, zip(*near, strict=True)))

    def add_rows(self, rows: Tensor, asked: Tensor, owner: Tensor) -> None:
        """Add new rows [M, row width] and their queries [Q, row width] to the existing ones."""
        self.joined.append((rows, asked, self.own_scores(asked, rows[owner])))


def _blocks(count: int) -> Iterator[slice]:
    for start in range(0, count, BLOCK_ROWS):
        yield slice(start, min(start + BLOCK_ROWS, count))


def _optimize_batch(
    model: InnerProductDecoder,
    corpus: Sequence[Document],
    asked_of: Sequence[Sequence[str]],
    field: InsertionContext,
) -> list[NewDocument]:
    device, width = model.device, model.encoder.dimension
    texts = [own_texts(*pair) for pair in zip(corpus, asked_of, strict=True)]
    parts = [
        (n, part is own[0], text) for n, own in enumerate(texts) for part in own for text in part
    ]
    owner = torch.tensor([n for n, _, _ in parts], dtype=torch.long, device=device)
    given = torch.tensor([asked for _, asked, _ in parts], dtype=torch.bool, device=device)
    asked = torch.from_numpy(query_rows(model, [text for _, _, text in parts])).to(device)
    start = torch.from_numpy(model.document_vectors(corpus, {})).to(device)
    for chosen, weight in ((~given, WEIGHT_OF_CLAUSES), (given, WEIGHT_OF_QUERIES)):
        start = start + weight * _means(asked[chosen, :width], owner[chosen], len(corpus))
    rows = F.normalize(start, dim=1)
    if model.words is not None:
        counts = count_words(model.analyzer.terms(map(document_text, corpus)))
        rows = join_rows(rows, model.words.rows(counts), model.words.size)
    own = RankingConstraints(
        asked[:, :width], field.word_scores(asked, rows), field.highest_rival(asked)
    )
    rows[:, :width] = optimize_rows(
        rows[:, :width].clone(), own, owner, field.ranking_constraints(rows)
    )
    field.add_rows(rows, asked[given], owner[given])
    mine = [asked[given & (owner == number)] for number in range(len(corpus))]
    return [
        NewDocument(row[None], own.cpu().numpy())
        for row, own in zip(rows.cpu().numpy(), mine, strict=True)
    ]


def _means(vectors: Tensor, owner: Tensor, count: int) -> Tensor:
    """Return the unit mean of each owner's vectors, [count, columns]; zeros if it has none."""
    sums = vectors.new_zeros(count, vectors.shape[1]).index_add_(0, owner, vectors)
    return F.normalize(sums, dim=1)
