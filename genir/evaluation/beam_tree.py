"""Beam search tree of one query: kept and pruned nodes of each level."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from genir.arguments import as_count, as_text
from genir.decoding.aggregate import Ranked
from genir.decoding.beam import BeamStep
from genir.decoding.decoder import count_documents
from genir.decoding.identifier_shares import log_normalise
from genir.decoding.row_mask import Mask
from genir.decoding.stage import NAN_SCORES
from genir.decoding.strategies.beam import rank_beams
from genir.errors import InputError
from genir.evaluation.explain import shown_symbol
from genir.retriever import Retriever
from genir.types import FilterSpec, Hit
from genir.updates.answers import make_answers

MAX_PRUNED_SHOWN = 12
"""Maximum number of pruned prefixes shown per level, best first."""


@dataclass(frozen=True)
class BeamNode:
    """A prefix. rows: [low, high) of the table; other fields are named as in the HTTP API.

    share: probability of the symbol among symbols that lead to a reachable document.
    """

    id: int
    parent: int | None
    level: int
    symbol: str
    log_p: float
    share: float
    score: float
    kept: bool
    ended: bool
    documents: int
    key: str | None
    rows: tuple[int, int]
    hits: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class TreeLevel:
    """Summary of a level. threshold: lowest kept score; None if nothing was pruned."""

    level: int
    candidates: int
    kept: int
    threshold: float | None


@dataclass(frozen=True)
class BeamTree:
    """The levels of one search with their prefixes, best first, and its hits."""

    query: str
    beams: int
    levels: list[TreeLevel]
    nodes: list[BeamNode]
    hits: list[Hit]


@torch.inference_mode()
def beam_tree(
    retriever: Retriever,
    query: str,
    k: int = 10,
    beams: int | None = None,
    where: FilterSpec = None,
) -> BeamTree:
    """Return the tree of the search that `Retriever.search` performs for a query.

    Raises InputError for an unknown field and for a strategy without `trace`.
    """
    retriever = retriever.at_this_version()
    strategy = retriever.decoder.traceable_strategy("the tree of beams")
    query, k = as_text(query, "query"), as_count(k, "k")
    beams = None if beams is None else as_count(beams, "beams")
    live = retriever.row_mask(where).to(retriever.model.device)
    (mask,), stage = live.masks, retriever.decoder.stage
    width = retriever.beam_width(k, beams)
    matching = count_documents(stage, mask)
    # More beams than reachable rows change nothing, and would reveal the other rows.
    most = max(1, int(mask.sum()))
    while True:
        used = min(width, most)
        with stage.autocast():
            steps = list(strategy.trace(stage, [query], live, used))
        found, aggregate = steps[-1].finished, strategy.options.aggregate
        ranked = rank_beams(stage.table, found, [mask], aggregate)[0][:k]
        if len(ranked) >= min(k, matching):
            break
        if width >= stage.trie.rows:
            raise InputError(NAN_SCORES)
        width *= 2  # several identifiers of one document displaced other documents
    return _TreeBuilder(retriever, mask, ranked, live.restrict_scores).tree(query, steps, used)


@dataclass(frozen=True)
class _Level:
    """The candidates of a step as parallel arrays, sorted by total score, best first."""

    low: NDArray[np.int64]
    high: NDArray[np.int64]
    parent: NDArray[np.int64]
    symbol: NDArray[np.int64]
    log_p: NDArray[np.float32]
    share: NDArray[np.float32]
    total: NDArray[np.float32]
    kept: NDArray[np.bool_]
    ended: NDArray[np.bool_]


class _TreeBuilder:
    """Converts search steps to nodes."""

    def __init__(
        self, retriever: Retriever, mask: Mask, ranked: Sequence[Ranked], closed: bool
    ) -> None:
        self.retriever, self.mask, self.ranked, self.closed = retriever, mask, ranked, closed
        self.nodes: list[BeamNode] = []

    def tree(self, query: str, steps: Sequence[BeamStep], beams: int) -> BeamTree:
        levels = []
        above: dict[tuple[int, int], int] = {}  # nodes of the previous beams, by rows
        parents = [(0, self.retriever.decoder.stage.trie.rows)]
        for number, step in enumerate(steps, start=1):
            level = self._candidates(step, number)
            if not len(level.low):
                break
            above = self._add_nodes(level, number, above, parents)
            count, found = len(level.kept), level.total[level.kept]
            threshold = float(found.min()) if 0 < len(found) < count else None
            levels.append(TreeLevel(number, count, len(found), threshold))
            kept = step.beams
            parents = list(zip(kept.low[0].tolist(), kept.high[0].tolist(), strict=True))
        loaded = self.retriever.updates.loaded
        (answer,) = make_answers(loaded, [query], [self.ranked], self.closed)
        hits = answer.hits()
        return BeamTree(query, beams, levels, self.nodes, hits)

    def _candidates(self, step: BeamStep, number: int) -> _Level:
        totals = step.totals[0]
        beam, edge = torch.nonzero(totals > -torch.inf, as_tuple=True)
        order = totals[beam, edge].argsort(descending=True, stable=True)
        beam, edge = beam[order], edge[order]
        low, high = step.edges.low[0][beam, edge], step.edges.high[0][beam, edge]
        trie = self.retriever.decoder.stage.trie
        ended = torch.as_tensor(trie.is_terminal(step.edges.low, number), device=totals.device)
        ended = ended.expand_as(step.edges.low)[0][beam, edge]
        kept = [
            {(a, b) for a, b, s in zip(*(t[0].tolist() for t in vars(beams).values()), strict=True)
             if s > -np.inf}
            for beams in (step.beams, step.finished)
        ]  # fmt: skip
        rows = zip(low.tolist(), high.tolist(), ended.tolist(), strict=True)
        return _Level(
            low.cpu().numpy(),
            high.cpu().numpy(),
            beam.cpu().numpy(),
            step.edges.symbols[0][beam, edge].cpu().numpy(),
            step.log_p[0][beam, edge].float().cpu().numpy(),
            log_normalise(step.log_p[0].float()).exp()[beam, edge].cpu().numpy(),
            totals[beam, edge].float().cpu().numpy(),
            np.array([(a, b) in kept[end] for a, b, end in rows], dtype=bool),
            ended.cpu().numpy(),
        )

    def _add_nodes(
        self,
        level: _Level,
        number: int,
        above: dict[tuple[int, int], int],
        parents: Sequence[tuple[int, int]],
    ) -> dict[tuple[int, int], int]:
        """Add the nodes of a level; return the kept ones by their rows."""
        pruned = np.flatnonzero(~level.kept)[:MAX_PRUNED_SHOWN]
        drawn: dict[tuple[int, int], int] = {}
        for place in np.union1d(np.flatnonzero(level.kept), pruned).tolist():
            rows = int(level.low[place]), int(level.high[place])
            parent = above.get(parents[int(level.parent[place])])
            node = self._node(level, place, number, parent, rows)
            self.nodes.append(node)
            drawn[rows] = node.id
        return drawn

    def _node(
        self, level: _Level, place: int, number: int, parent: int | None, rows: tuple[int, int]
    ) -> BeamNode:
        table = self.retriever.table
        live = np.flatnonzero(self.mask[rows[0] : rows[1]]) + rows[0]
        numbers = {*table.documents[live].tolist()}
        kept, ended = bool(level.kept[place]), bool(level.ended[place])
        return BeamNode(
            id=len(self.nodes),
            parent=parent,
            level=number,
            symbol="" if self.closed else shown_symbol(self.retriever, int(level.symbol[place])),
            log_p=float(level.log_p[place]),
            share=float(level.share[place]),
            score=float(level.total[place]),
            kept=kept,
            ended=ended,
            documents=len(numbers),
            key=table.keys[next(iter(numbers))] if len(numbers) == 1 else None,
            rows=rows,
            hits=[
                rank for rank, hit in enumerate(self.ranked, start=1)
                if kept and rows[0] <= hit.row < rows[1]
            ],
        )  # fmt: skip
