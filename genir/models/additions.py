"""What a bridge needs to make rows for new documents: their texts, their rivals, old queries."""

from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from genir.identifiers.base import Vectors
from genir.identifiers.table import IdentifierTable
from genir.models.encoder import encode_texts, pad_batch
from genir.models.guards import MOST, Guards, Standing
from genir.models.placing import Texts, Weights, place_rows
from genir.records import Document
from genir.tasks.base import TrainQueries
from genir.tasks.passages import pieces

if TYPE_CHECKING:
    from genir.models.bridge import BridgeModel

BATCH = 64
"""New documents whose rows are found together."""
OWN_QUERIES, OWN_PIECES, WORDS = 16, 6, 24
"""Texts of a new document that must rank it first: given queries, pieces of it, words of one."""
NEAR = 4.0
"""Old queries are heeded if a new row comes as near to taking them, in logits."""


def keep_guards(
    model: "BridgeModel", queries: TrainQueries, table: IdentifierTable, seed: int = 0
) -> Guards | None:
    """Return train queries as vectors, a sample if there are many; None if there are none."""
    asked = [(table.number(key), text) for key in sorted(queries) for text in queries[key]]
    if len(asked) > MOST:
        asked = Random(f"guards {seed}").sample(asked, MOST)
    if not asked:
        return None
    vectors = text_vectors(model, [text for _, text in asked], progress="embedding train queries")
    return Guards(vectors.astype(np.float16), np.array([n for n, _ in asked], dtype=np.int32))


def text_vectors(model: "BridgeModel", texts: Sequence[str], progress: str = "") -> Vectors:
    """Return the query vectors of texts, float32 [texts, H], as the model answers them."""
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
) -> Vectors:
    """Return the rows of new documents, float32 [documents, H]; see `placing`."""
    starts = range(0, len(corpus), BATCH)
    parts = [_rows(model, corpus[s : s + BATCH], queries, standing) for s in starts]
    return np.concatenate(parts)


def own_texts(document: Document, queries: TrainQueries) -> list[str]:
    """Return what a document is asked with: the queries given, its title, pieces of its text."""
    given = list(queries.get(document.key, ()))[:OWN_QUERIES]
    made = [document.title, *pieces(document.text, OWN_PIECES, WORDS)]
    return given + [text for text in dict.fromkeys(made) if text.strip()]


def _rows(
    model: "BridgeModel", corpus: Sequence[Document], queries: TrainQueries, standing: Standing
) -> Vectors:
    made = model.document_vectors(corpus, queries)
    whole = model.encoder.embed([f"{document.title}. {document.text}" for document in corpus])
    texts = [own_texts(document, queries) for document in corpus]
    owner = torch.tensor([n for n, own in enumerate(texts) for _ in own], device=model.device)
    asked = torch.from_numpy(text_vectors(model, [text for own in texts for text in own]))

    device, trained = model.device, model.head.trained
    known = torch.from_numpy(made).to(device)
    # As `finish` anchors a trained row.
    anchored = known[:, :trained] + model.options.anchor * torch.from_numpy(whole).to(device)
    start, fixed = F.normalize(anchored, dim=1), known[:, trained:]
    rows = _standing_rows(model)
    asked = asked.to(device)
    rivals = torch.from_numpy(standing.rivals).to(device)
    rival = torch.full((len(asked),), -torch.inf, device=device)
    if rivals.any():
        rival = (asked @ rows[rivals].T).amax(dim=1)
    own = Texts(asked[:, :trained], asked[:, trained:] @ fixed.T, rival)
    others = _guarding(model, rows, standing, torch.cat([start, fixed], dim=1))
    placed = place_rows(start, own, owner, others)
    return torch.cat([placed, fixed], dim=1).cpu().numpy()


@torch.no_grad()
def _standing_rows(model: "BridgeModel") -> Tensor:
    """Return every symbol's row as it answers, float32 [symbols, H]."""
    parts = [model.head.answering(0).detach(), *(fixed.detach() for fixed in model.head.fixed)]
    return torch.cat(parts, dim=1)


def _guarding(model: "BridgeModel", rows: Tensor, standing: Standing, start: Tensor) -> Texts:
    """Return the old queries that some of the new rows, [M, H], come near to taking."""
    head, trained = model.head, model.head.trained
    if standing.guards is None:
        kept = torch.from_numpy(standing.rivals).to(rows.device)
        vectors = torch.zeros_like(rows[kept])
        vectors[:, :trained] = model.options.scale * rows[kept][:, :trained]
        answers = rows[kept]
    else:
        symbols = torch.zeros(int(head.documents.max()) + 1, dtype=torch.long, device=rows.device)
        symbols[head.documents.long()] = head.codes[:, 0].long()
        vectors = torch.from_numpy(standing.guards.vectors).to(rows.device).float()
        answers = rows[symbols[torch.from_numpy(standing.guards.documents).to(rows.device).long()]]
    rival = (vectors * answers).sum(dim=1)
    near = (vectors @ start.T).amax(dim=1) > rival - Weights().margin - NEAR
    vectors, rival = vectors[near], rival[near]
    return Texts(vectors[:, :trained], vectors[:, trained:] @ start[:, trained:].T, rival)
