"""Explanation of one document's rank: the beam search of one query, level by level."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, prod
from typing import Literal

import torch
from rich.table import Table
from torch import Tensor

from genir.arguments import as_count, as_text, is_blank
from genir.console import styled
from genir.decoding.beam import BeamStep
from genir.decoding.edge_scorers import score_edges
from genir.decoding.identifier_shares import log_normalise
from genir.decoding.prefix_prior import make_prefix_prior
from genir.decoding.row_mask import RowMask
from genir.decoding.strategies.beam import rank_beams
from genir.errors import InputError
from genir.identifiers.table import PAD
from genir.retriever import Retriever
from genir.types import Filter


@dataclass(frozen=True)
class Level:
    """One symbol of the document's identifier, and the fate of its prefix in the beam.

    log_p: of the symbol, with number `rank` of `choices` legal symbols. share: its probability
    among them. score: of the prefix, which is number `place` of `candidates`, or would be if its
    parent had been kept. threshold: lowest score kept in the beam; None if all candidates fit.
    """

    symbol: str
    log_p: float
    share: float
    rank: int
    choices: int
    score: float
    place: int
    candidates: int
    threshold: float | None
    kept: bool


@dataclass(frozen=True)
class Explanation:
    """Result of tracing a document through a search.

    verdict: `found` at `rank`, `pruned` at level `pruned_at` (from 1), `filtered` or `deleted`.
    identifier, levels: of the document's identifier that survived longest. share: its probability
    among the identifiers of all reachable documents (`decoding.identifier_shares`).
    """

    key: str
    query: str
    beams: int
    verdict: Literal["found", "pruned", "filtered", "deleted"]
    rank: int | None = None
    pruned_at: int | None = None
    identifier: str = ""
    levels: Sequence[Level] = ()
    share: float | None = None

    @property
    def text(self) -> str:
        """Return the verdict as text."""
        return {
            "found": f"{self.key}: found at rank {self.rank}{self._share}",
            "pruned": f"{self.key}: pruned at level {self.pruned_at} of {len(self.levels)}, "
            f"by a beam of {self.beams}{self._share}",
            "filtered": f"{self.key}: filtered out, it does not fulfil the conditions",
            "deleted": f"{self.key}: deleted",
        }[self.verdict]

    @property
    def _share(self) -> str:
        if self.share is None:
            return ""
        return f"; {percent(self.share)} of the probability of all reachable documents"


@torch.inference_mode()
def explain(
    retriever: Retriever,
    query: str,
    key: str,
    beams: int | None = None,
    where: Filter | None = None,
) -> Explanation:
    """Trace one document through beam search.

    Args:
        beams: Beam width; the recipe's by default.

    Raises:
        InputError: Unknown key or field, or a blank query.
    """
    retriever = retriever.at_this_version()
    strategy = retriever.decoder.traceable_strategy("explain")
    query, key = as_text(query, "query"), as_text(key, "key")
    if is_blank(query):
        raise InputError("the query is empty; give some text")
    beams = None if beams is None else as_count(beams, "beams")
    stage, table = retriever.decoder.stage, retriever.table
    width = retriever.beam_width(1, beams)
    rows = table.rows_of(table.number(key))
    if not table.live[rows].any():
        return Explanation(key, query, width, "deleted")
    row_mask = retriever.row_mask(where)
    (mask,) = row_mask.masks
    rows = rows[mask[rows]]
    if not len(rows):
        return Explanation(key, query, width, "filtered")
    live = row_mask.to(retriever.model.device)
    with stage.autocast():
        steps = list(strategy.trace(stage, [query], live, width))
        row, levels = max(
            ((int(row), _trace(retriever, query, int(row), live, steps)) for row in rows),
            key=lambda found: (_kept_levels(found[1]), found[1][-1].score),
        )
    survived, identifier = _kept_levels(levels), table.identifier(row)
    share = prod(level.share for level in levels) if strategy.capabilities.shares else None
    shown = stage.scheme.to_text(identifier)
    if survived < len(levels):
        return Explanation(key, query, width, "pruned", None, survived + 1, shown, levels, share)
    (ranked,) = rank_beams(table, steps[-1].finished, [mask], strategy.options.aggregate)
    rank = 1 + [item.document for item in ranked].index(table.number(key))
    return Explanation(key, query, width, "found", rank, None, shown, levels, share)


def _kept_levels(levels: Sequence[Level]) -> int:
    """Return for how many levels the identifier was kept."""
    return next((n for n, level in enumerate(levels) if not level.kept), len(levels))


def _trace(
    retriever: Retriever, query: str, row: int, live: RowMask, steps: Sequence[BeamStep]
) -> list[Level]:
    """Score the identifier of a row symbol by symbol, even after it was pruned.

    A finished identifier competes with longer ones: a later level is included if it was pruned
    there.
    """
    stage = retriever.decoder.stage
    model, trie = stage.model, stage.trie
    options = retriever.decoder.traceable_strategy("explain").search_options(stage, live, 1)
    state = model.encode(*stage.encode([query]))
    prior = make_prefix_prior(model, stage.trie, state, live, options)
    symbols = trie.symbols[row : row + 1].long()
    length = int((symbols != PAD).sum())
    first = torch.zeros(1, dtype=torch.long, device=symbols.device)
    low, high, score, levels = first, first + trie.rows, 0.0, []
    for depth, hidden in enumerate(
        model.states_for_prefixes(state, first, symbols[:, :-1].clamp(min=0))
    ):
        edges = trie.children(low[:, None], high[:, None], depth)
        legal = live.any_live(edges.low, edges.high)
        log_p = score_edges(model, hidden[:, None], depth, edges.candidates, legal, options.softmax)
        own = (edges.low <= row) & (row < edges.high)
        low, high, step = edges.low[own], edges.high[own], float(log_p[own])
        score += step
        total = (
            score
            if prior is None
            else float(
                prior.total(torch.full_like(low, score, dtype=torch.float), first, low, high)
            )
        )
        share = float(log_normalise(log_p)[own].exp())
        rank, choices = 1 + int((log_p > log_p[own]).sum()), int(legal.sum())
        symbol = shown_symbol(retriever, int(symbols[0, depth]))
        fared = _step_outcome(
            retriever, steps, depth, (low, high), total, ended=depth + 1 >= length
        )
        if depth < length or not fared[-1]:
            levels.append(Level(symbol, step, share, rank, choices, *fared))
        if depth >= length and not fared[-1]:
            break
    return levels


def _step_outcome(
    retriever: Retriever,
    steps: Sequence[BeamStep],
    depth: int,
    node: tuple[Tensor, Tensor],
    score: float,
    ended: bool,
) -> tuple[float, int, int, float | None, bool]:
    """Return a prefix's score, place, candidates, threshold, and whether it was kept.

    It competes with unfinished prefixes or, if `ended`, with the finished identifiers so far.
    """
    (low, high), step, totals = node, steps[depth], steps[depth].totals[0]
    among = (step.edges.low[0] == low) & (step.edges.high[0] == high) & (totals > -inf)
    if among.any():  # the beam's own score, which may differ by rounding
        score = float(totals[among].max())
    ends = retriever.decoder.stage.trie.is_terminal(step.edges.low[0], depth + 1)
    rivals = totals[(totals > -inf) & (ends if ended else ~torch.as_tensor(ends))]
    if ended and depth:
        rivals = torch.cat([rivals, steps[depth - 1].finished.score[0]])
    beams = step.finished if ended else step.beams
    scores = step.finished.score if ended else step.beam_totals
    kept = bool(((beams.low[0] == low) & (beams.high[0] == high) & (scores[0] > -inf)).any())
    place = 1 + int((rivals > score).sum())
    candidates = max(place, int((rivals > -inf).sum()))
    full = candidates > scores.shape[1]
    return score, place, candidates, float(scores[0, -1]) if full else None, kept


def shown_symbol(retriever: Retriever, symbol: int) -> str:
    """Format a symbol for display: the token of a text identifier, or the code."""
    if symbol == PAD:
        return "(ended)"
    if not retriever.decoder.stage.scheme.needs_tokenizer:
        return str(symbol)
    return retriever.model.tokenizer.decode([symbol]) or str(symbol)


ALMOST_ONE = 1 - 1e-6
"""Probability from which on the rest is only rounding of float32."""


def percent(share: float) -> str:
    """Format a probability as a percentage with two significant digits, at least 0.1%.

    100% is reserved for probabilities without any remainder.
    """
    if share < 0.0005:
        return "< 0.1%"
    if 0.9995 <= share < ALMOST_ONE:
        return "> 99.9%"
    tenths = share < 0.0995 or 0.945 <= share < ALMOST_ONE
    return f"{100 * share:.1f}%" if tenths else f"{100 * share:.0f}%"


def to_table(explanation: Explanation) -> Table:
    """Return the levels as a table for the terminal, the level that pruned the document in red.

    share: probability of a symbol among symbols that lead to a reachable document.
    """
    table = Table(
        "level", "symbol", "log p", "share", "rank", "score", "place", "threshold", "", box=None
    )
    lost = explanation.pruned_at
    for number, level in enumerate(explanation.levels, start=1):
        table.add_row(
            str(number),
            styled(level.symbol),
            f"{level.log_p:.3f}",
            percent(level.share),
            f"{level.rank:,} of {level.choices:,}",
            f"{level.score:.3f}",
            f"{level.place:,} of {level.candidates:,}",
            "-" if level.threshold is None else f"{level.threshold:.3f}",
            "kept" if level.kept else "pruned" if number == lost else "",
            style="red" if number == lost else "dim" if lost and number > lost else "",
        )
    return table
