"""Parameter rows of new documents for a bridge: their texts, competing rows, and old queries."""

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
from genir.models.guards import MOST, Guards, NewRow, Standing
from genir.models.placing import Texts, Weights, place_rows
from genir.progress import tracked
from genir.records import Document
from genir.tasks.base import TrainQueries
from genir.tasks.passages import clauses

if TYPE_CHECKING:
    from genir.models.bridge import BridgeModel

BATCH = 64
"""New documents optimised in one batch."""
BLOCK_ROWS = 512
"""Rows, or protected queries, compared in one block: 1.6 MB at 768 columns."""
OWN_QUERIES, CLAUSES, WORDS = 16, 8, 24
"""Maximum number of queries and of clauses of a new document, and of words of a clause."""
WEIGHT_OF_CLAUSES, WEIGHT_OF_QUERIES = 2.0, 2.0
"""Weights of the mean clause and query vectors in the initial row; the document vector has 1."""
NEAR = 3.0
"""Old queries are constraints if a new row scores within this distance (logits) of the limit."""


def keep_guards(
    model: "BridgeModel", queries: TrainQueries, table: IdentifierTable, seed: int = 0
) -> Guards | None:
    """Return a sample of train queries as vectors; None if there are none."""
    asked = [(table.number(key), text) for key in sorted(queries) for text in queries[key]]
    if len(asked) > MOST:
        asked = Random(f"guards {seed}").sample(asked, MOST)
    if not asked:
        return None
    vectors = text_vectors(model, [text for _, text in asked], progress="embedding train queries")
    return Guards(vectors.astype(np.float16), np.array([n for n, _ in asked], dtype=np.int32))


def text_vectors(model: "BridgeModel", texts: Sequence[str], progress: str = "") -> Vectors:
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


def new_rows(
    model: "BridgeModel", corpus: Sequence[Document], queries: TrainQueries, standing: Standing
) -> list[NewRow]:
    """Return the rows of new documents; see `placing`. Later batches compete with earlier ones."""
    field, made = Field(model, standing), list[NewRow]()
    batches = [corpus[start : start + BATCH] for start in range(0, len(corpus), BATCH)]
    for batch in tracked(batches, "placing documents"):
        made += _place(model, batch, queries, field)
    return made


def own_texts(document: Document, queries: TrainQueries) -> tuple[list[str], list[str]]:
    """Return the given queries of a document, and clauses of its text."""
    own = dict.fromkeys(clauses(document.text, CLAUSES, WORDS))
    return list(queries.get(document.key, ()))[:OWN_QUERIES], list(own)


class Field:
    """Existing rows and protected queries that constrain new rows, read in blocks.

    A full copy of the rows would double the memory of the model for each change.
    """

    def __init__(self, model: "BridgeModel", standing: Standing) -> None:
        head, device = model.head, model.device
        self.head, self.scale = head, model.options.scale
        self.rivals = torch.from_numpy(standing.rivals).to(device)
        self.guards = standing.guards
        owners = torch.zeros(0, dtype=torch.long, device=device)
        if standing.guards is not None:
            symbols = torch.zeros(int(head.documents.max()) + 1, dtype=torch.long, device=device)
            symbols[head.documents.long()] = head.codes[:, 0].long()
            owners = symbols[torch.from_numpy(standing.guards.documents).to(device).long()]
        self.owners = owners
        bare = self.rivals.clone()
        bare[owners] = False
        self.bare = bare.nonzero().squeeze(1)
        self.joined: list[tuple[Tensor, Tensor, Tensor]] = []

    @torch.no_grad()
    def _rows(self, symbols: Tensor | slice) -> Tensor:
        """Return the normalised rows of symbols, float32 [symbols, H]."""
        parts = [self.head.answering(0).detach(), *(fixed.detach() for fixed in self.head.fixed)]
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

    def rival(self, asked: Tensor) -> Tensor:
        """Return the best score of an existing row for queries [T, H]; -inf if there is none."""
        best = torch.full((len(asked),), -torch.inf, device=asked.device)
        for block in _blocks(len(self.rivals)):
            scores = asked @ self._rows(block).T
            scores[:, ~self.rivals[block]] = -torch.inf
            best = torch.maximum(best, scores.amax(dim=1))
        for rows, _, _ in self.joined:
            best = torch.maximum(best, (asked @ rows.T).amax(dim=1))
        return best

    def guarding(self, start: Tensor, trained: int) -> Texts:
        """Return the protected queries that new rows [M, H] may violate, as constraints."""
        queries, scores = [start[:0]], [start[:0, 0]]
        for asked, answers in self._asked():
            near = (asked @ start.T).amax(dim=1) > answers - Weights().leave - NEAR
            queries.append(asked[near])
            scores.append(answers[near])
        asked = torch.cat(queries)
        fixed = asked[:, trained:] @ start[:, trained:].T
        return Texts(asked[:, :trained], fixed, torch.cat(scores))

    def join(self, rows: Tensor, asked: Tensor, owner: Tensor) -> None:
        """Add new rows [M, H] and their queries [Q, H] to the existing ones."""
        self.joined.append((rows, asked, (asked * rows[owner]).sum(dim=1)))


def _blocks(count: int) -> Iterator[slice]:
    for start in range(0, count, BLOCK_ROWS):
        yield slice(start, min(start + BLOCK_ROWS, count))


def _place(
    model: "BridgeModel", corpus: Sequence[Document], queries: TrainQueries, field: Field
) -> list[NewRow]:
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
    own = Texts(asked[:, :trained], asked[:, trained:] @ fixed.T, field.rival(asked))
    others = field.guarding(torch.cat([start, fixed], dim=1), trained)
    rows = torch.cat([place_rows(start, own, owner, others), fixed], dim=1)
    field.join(rows, asked[given], owner[given])
    mine = [asked[given & (owner == number)] for number in range(len(corpus))]
    return [
        NewRow(row, own.cpu().numpy().astype(np.float16))
        for row, own in zip(rows.cpu().numpy(), mine, strict=True)
    ]


def _means(vectors: Tensor, owner: Tensor, count: int) -> Tensor:
    """Return the unit mean of each owner's vectors, [count, columns]; zeros if it has none."""
    sums = vectors.new_zeros(count, vectors.shape[1]).index_add_(0, owner, vectors)
    return F.normalize(sums, dim=1)
