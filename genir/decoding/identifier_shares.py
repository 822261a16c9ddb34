"""Shares: identifier probabilities normalised over live, allowed documents.

p(identifier) is the product over its levels of p(symbol), divided by the sum of p over the legal
symbols of the level. A forced symbol has share 1. The shares of all live, allowed
identifiers sum to 1.

Hits are ranked by score. With `[decoding] softmax = "vocabulary"` scores are normalised over the
vocabulary, so their order may differ from the order of the shares.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genir.cancellation import raise_if_cancelled
from genir.decoding.edge_scorers import score_edges
from genir.decoding.row_mask import RowMask
from genir.decoding.trie import Trie
from genir.identifiers.table import IdentifierTable
from genir.models.base import ConstrainedDecoder, Inputs


def log_normalise(log_p: Tensor) -> Tensor:
    """Normalise log p over the legal edges of a prefix.

    log_p: float32 [..., C], -inf for illegal edges. A prefix without legal edges is unchanged.
    """
    total = log_p.logsumexp(dim=-1, keepdim=True)
    return log_p - total.masked_fill(total == -torch.inf, 0.0)


@torch.inference_mode()
def identifier_shares(
    model: ConstrainedDecoder,
    trie: Trie,
    inputs: Inputs,
    live: RowMask,
    rows: NDArray[np.integer],
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the share of each row's identifier, and the rows that have the same identifier.

    Args:
        inputs: Token ids and attention mask of one query, int64 [1, S] each.
        live: Rows that the query may reach: one mask.
        rows: Live rows, int [N].

    Returns:
        Shares, float64 [N], and the row ranges [low, high) of the identifiers, int64 [N] each.
    """
    low, high = np.zeros(len(rows), np.int64), np.full(len(rows), trie.rows, np.int64)
    shares = np.zeros(len(rows))
    if not len(rows):
        return shares, low, high
    symbols = trie.symbols[_tensor_like(rows, trie.symbols)]
    first = torch.zeros(len(rows), dtype=torch.long, device=symbols.device)
    read = model.states_for_prefixes(
        model.encode(*inputs), first, symbols[:, :-1].long().clamp(min=0)
    )
    for depth, hidden in enumerate(read):
        raise_if_cancelled()
        starts, example, places = np.unique(low, return_index=True, return_inverse=True)
        node_low, node_high = (
            _tensor_like(ends[example], symbols)[:, None] for ends in (low, high)
        )
        edges = trie.children(node_low, node_high, depth)
        legal = live.any_live(edges.low, edges.high)
        chosen = hidden[_tensor_like(example, hidden)]
        log_p = score_edges(model, chosen[:, None], depth, edges.candidates, legal, "trie")
        lows, highs, log_ps = (
            t[:, 0].cpu().numpy() for t in (edges.low, edges.high, log_p.float())
        )
        for node in range(len(starts)):
            own = np.flatnonzero(places == node)
            real = np.flatnonzero(lows[node] < highs[node])  # in the order of their rows
            edge = real[np.searchsorted(lows[node, real], rows[own], side="right") - 1]
            low[own], high[own] = lows[node, edge], highs[node, edge]
            shares[own] += log_ps[node, edge]
    return np.exp(shares), low, high


def document_shares(
    model: ConstrainedDecoder,
    table: IdentifierTable,
    trie: Trie,
    inputs: Inputs,
    live: RowMask,
    numbers: Sequence[int],
) -> list[float]:
    """Return the share of each document: the sum of the shares of its identifiers.

    A shared identifier is divided evenly among its live, allowed documents.

    Args:
        inputs: Token ids and attention mask of one query, int64 [1, S] each.
        live: Rows that the query may reach: one mask.
        numbers: Document numbers; a document that may not be found has share 0.
    """
    (mask,) = live.masks
    own = [rows[mask[rows]] for rows in map(table.rows_of, numbers)]
    rows = np.concatenate([np.zeros(0, np.int64), *own])
    shares, low, high = identifier_shares(model, trie, inputs, live, rows)
    running = np.concatenate([[0], np.cumsum(mask)])
    shares = shares / np.maximum(1, running[high] - running[low])
    ends = np.cumsum([len(part) for part in own])
    return [float(part.sum()) for part in np.split(shares, ends[:-1])] if own else []


def _tensor_like(values: NDArray[np.integer], like: Tensor) -> Tensor:
    return torch.from_numpy(np.asarray(values, np.int64)).to(like.device)
