"""Parameter rows of new documents for an encoder-head model: their texts, competing rows, and old
queries."""

from collections.abc import Iterator, Sequence
from random import Random
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from genir.identifiers.base import Vectors
from genir.identifiers.table import IdentifierTable
from genir.models.encoder import encode_texts, pad_batch
from genir.models.encoder_head.incdsi import (
    IncDSIWeights,
    RankingConstraints,
    optimize_rows,
)
from genir.models.encoder_head.protected_queries import (
    MAX_PROTECTED_QUERIES,
    ExistingDocuments,
    NewDocument,
    ProtectedQueries,
)
from genir.progress import tracked
from genir.tasks.base import TrainQueries
from genir.tasks.chunking import clauses
from genir.types import Document

if TYPE_CHECKING:
    from genir.models.encoder_head.model import EncoderHeadModel

DOCUMENTS_PER_BATCH = 64
"""New documents optimised in one batch."""
BLOCK_ROWS = 512
"""Rows, or protected queries, compared in one block: 1.6 MB at 768 columns."""
MAX_OWN_QUERIES, MAX_CLAUSES, CLAUSE_WORDS = 16, 8, 24
"""Maximum number of queries and of clauses of a new document, and of words of a clause."""
WEIGHT_OF_CLAUSES, WEIGHT_OF_QUERIES = 2.0, 2.0
"""Weights of the mean clause and query vectors in the initial row; the document vector has 1."""
MARGIN = 3.0
"""Old queries are constraints if a new row scores within this distance (logits) of the limit."""


def sample_protected_queries(
    model: "EncoderHeadModel", queries: TrainQueries, table: IdentifierTable, seed: int = 0
) -> ProtectedQueries | None:
    """Return a sample of train queries as vectors; None if there are none."""
    asked = [(table.number(key), text) for key in sorted(queries) for text in queries[key]]
    if len(asked) > MAX_PROTECTED_QUERIES:
        asked = Random(f"guards {seed}").sample(asked, MAX_PROTECTED_QUERIES)
    if not asked:
        return None
    vectors = text_vectors(model, [text for _, text in asked], progress="embedding train queries")
    return ProtectedQueries(
        vectors.astype(np.float16), np.array([n for n, _ in asked], dtype=np.int32)
    )


def text_vectors(model: "EncoderHeadModel", texts: Sequence[str], progress: str = "") -> Vectors:
    """Return the query vectors of texts, float32 [texts, H], as in inference."""
    dense = model.options.scale * model.encoder.embed(texts, progress=progress)
    if model.lexical is None:
        return dense
    device, parts = model.device, []
    for start in range(0, len(texts), 1024):
        batch = texts[start : start + 1024]
        ids = encode_texts(model.tokenizer, batch, model.options.length)
        inputs, _ = pad_batch(ids, model.tokenizer.pad_token_id)
        with torch.no_grad():
            parts.append(model.lexical(inputs.to(device)).cpu().numpy())
    return np.concatenate([dense, model.options.lexical_gain * np.concatenate(parts)], axis=1)


def init_rows(
    model: "EncoderHeadModel",
    corpus: Sequence[Document],
    queries: TrainQueries,
    existing: ExistingDocuments,
) -> list[NewDocument]:
    """Return the rows of new documents; see `incdsi`. Later batches compete with earlier ones."""
    field, made = InsertionContext(model, existing), list[NewDocument]()
    batches = [
        corpus[start : start + DOCUMENTS_PER_BATCH]
        for start in range(0, len(corpus), DOCUMENTS_PER_BATCH)
    ]
    for batch in tracked(batches, "placing documents"):
        made += _optimize_batch(model, batch, queries, field)
    return made


def own_texts(document: Document, queries: TrainQueries) -> tuple[list[str], list[str]]:
    """Return the given queries of a document, and clauses of its text."""
    own = dict.fromkeys(clauses(document.text, MAX_CLAUSES, CLAUSE_WORDS))
    return list(queries.get(document.key, ()))[:MAX_OWN_QUERIES], list(own)


class InsertionContext:
    """Existing rows and protected queries that constrain new rows, read in blocks.

    A full copy of the rows would double the memory of the model for each change.
    """

    def __init__(self, model: "EncoderHeadModel", existing: ExistingDocuments) -> None:
        head, device = model.head, model.device
        self.head, self.scale = head, model.options.scale
        self.rivals = torch.from_numpy(existing.live_symbols).to(device)
        self.guards = existing.protected_queries
        owners = torch.zeros(0, dtype=torch.long, device=device)
        if existing.protected_queries is not None:
            symbols = torch.zeros(int(head.documents.max()) + 1, dtype=torch.long, device=device)
            symbols[head.documents.long()] = head.codes[:, 0].long()
            owners = symbols[
                torch.from_numpy(existing.protected_queries.documents).to(device).long()
            ]
        self.owners = owners
        bare = self.rivals.clone()
        bare[owners] = False
        self.bare = bare.nonzero().squeeze(1)
        self.joined: list[tuple[Tensor, Tensor, Tensor]] = []

    @torch.no_grad()
    def _rows(self, symbols: Tensor | slice) -> Tensor:
        """Return the normalised rows of symbols, float32 [symbols, H]."""
        parts = [
            self.head.normalized_codebook(0).detach(),
            *(fixed.detach() for fixed in self.head.frozen_rows),
        ]
        return torch.cat([part[symbols] for part in parts], dim=1)

    def _asked(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield protected queries [Q, H], and the score of each one's own document, [Q].

        For a document without queries, the dense part of its row is used as the query.
        """
        for block in _blocks(len(self.owners)):
            assert self.guards is not None
            asked = torch.from_numpy(self.guards.vectors[block]).to(self.owners.device).float()
            yield asked, (asked * self._rows(self.owners[block])).sum(dim=1)
        for block in _blocks(len(self.bare)):
            rows = self._rows(self.bare[block])
            asked = torch.zeros_like(rows)
            asked[:, : self.head.trained] = self.scale * rows[:, : self.head.trained]
            yield asked, (asked * rows).sum(dim=1)
        for _, asked, answers in self.joined:
            yield asked, answers

    def highest_rival(self, query_vectors: Tensor) -> Tensor:
        """Return the best score of an existing row for queries [T, H]; -inf if there is none."""
        best = torch.full((len(query_vectors),), -torch.inf, device=query_vectors.device)
        for block in _blocks(len(self.rivals)):
            scores = query_vectors @ self._rows(block).T
            scores[:, ~self.rivals[block]] = -torch.inf
            best = torch.maximum(best, scores.amax(dim=1))
        for rows, _, _ in self.joined:
            best = torch.maximum(best, (query_vectors @ rows.T).amax(dim=1))
        return best

    def ranking_constraints(self, start: Tensor, trained: int) -> RankingConstraints:
        """Return the protected queries that new rows [M, H] may violate, as constraints."""
        queries, scores = [start[:0]], [start[:0, 0]]
        for asked, answers in self._asked():
            near = (asked @ start.T).amax(dim=1) > answers - IncDSIWeights().leave - MARGIN
            queries.append(asked[near])
            scores.append(answers[near])
        asked = torch.cat(queries)
        fixed = asked[:, trained:] @ start[:, trained:].T
        return RankingConstraints(asked[:, :trained], fixed, torch.cat(scores))

    def add_rows(self, rows: Tensor, query_vectors: Tensor, owner: Tensor) -> None:
        """Add new rows [M, H] and their queries [Q, H] to the existing ones."""
        self.joined.append((rows, query_vectors, (query_vectors * rows[owner]).sum(dim=1)))


def _blocks(count: int) -> Iterator[slice]:
    for start in range(0, count, BLOCK_ROWS):
        yield slice(start, min(start + BLOCK_ROWS, count))


def _optimize_batch(
    model: "EncoderHeadModel",
    corpus: Sequence[Document],
    queries: TrainQueries,
    field: InsertionContext,
) -> list[NewDocument]:
    device, trained = model.device, model.head.trained
    texts = [own_texts(document, queries) for document in corpus]
    parts = [
        (n, part is own[0], text) for n, own in enumerate(texts) for part in own for text in part
    ]
    owner = torch.tensor([n for n, _, _ in parts], dtype=torch.long, device=device)
    given = torch.tensor([asked for _, asked, _ in parts], dtype=torch.bool, device=device)
    asked = torch.from_numpy(text_vectors(model, [text for _, _, text in parts])).to(device)
    known = torch.from_numpy(model.document_vectors(corpus, {})).to(device)
    start, fixed = known[:, :trained], known[:, trained:]
    for chosen, weight in ((~given, WEIGHT_OF_CLAUSES), (given, WEIGHT_OF_QUERIES)):
        start = start + weight * _means(asked[chosen, :trained], owner[chosen], len(corpus))
    start = F.normalize(start, dim=1)
    own = RankingConstraints(
        asked[:, :trained], asked[:, trained:] @ fixed.T, field.highest_rival(asked)
    )
    others = field.ranking_constraints(torch.cat([start, fixed], dim=1), trained)
    rows = torch.cat([optimize_rows(start, own, owner, others), fixed], dim=1)
    field.add_rows(rows, asked[given], owner[given])
    mine = [asked[given & (owner == number)] for number in range(len(corpus))]
    return [
        NewDocument(row, own.cpu().numpy().astype(np.float16))
        for row, own in zip(rows.cpu().numpy(), mine, strict=True)
    ]


def _means(vectors: Tensor, owner: Tensor, count: int) -> Tensor:
    """Return the unit mean of each owner's vectors, [count, columns]; zeros if it has none."""
    sums = vectors.new_zeros(count, vectors.shape[1]).index_add_(0, owner, vectors)
    return F.normalize(sums, dim=1)
