"""Look-ahead: a prefix is scored by its best document (PAG, 2024, section 3.2).

The prior of a prefix is the maximum of the document prior over its live rows. If the model's
log-probabilities do not depend on the prefix, they can be part of it: then the score of a prefix is
that of its best document, and a beam search of any width is exact.
"""

from dataclasses import dataclass
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from genir.cancellation import raise_if_cancelled
from genir.decoding.row_mask import RowMask
from genir.decoding.search_options import SearchOptions
from genir.decoding.trie import Trie
from genir.errors import InputError
from genir.identifiers.table import PAD
from genir.models.base import ConstrainedDecoder, DocumentPrior


@dataclass(frozen=True)
class PrefixMaxPrior:
    """Maximum of a prior over any range of rows.

    levels: float32 [B, rows / 2 ** n] for n = 0, 1, ...: maxima over blocks of 2 ** n rows. It
    needs twice the memory of the prior and two look-ups per level. is_total: whether the prior
    includes the log-probability of the rows.
    """

    levels: list[Tensor]
    is_total: bool = False

    @classmethod
    def build(cls, prior: Tensor, live: Tensor, is_total: bool = False) -> Self:
        """Build from a prior, float32 [B, rows], and live rows, bool [1 or B, rows]."""
        levels = [prior.masked_fill(~live, -torch.inf)]
        while levels[-1].shape[1] > 1:
            even = F.pad(levels[-1], (0, levels[-1].shape[1] % 2), value=-torch.inf)
            levels.append(even.view(len(even), -1, 2).amax(dim=-1))
        return cls(levels, is_total)

    def __call__(self, log_p: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """Return the scores of prefixes with rows [low, high), float32 and int64 [B, ...] each.

        log_p: their log-probabilities. -inf without a live row.
        """
        query = torch.arange(len(low), device=low.device)
        return self.total(log_p, query.view(-1, *[1] * (low.dim() - 1)), low, high)

    def total(self, log_p: Tensor, query: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """Return the scores of prefixes for the given query indices, float32 [...]."""
        best = self.lookup(query, low, high)
        return best.masked_fill(log_p == -torch.inf, -torch.inf) if self.is_total else log_p + best

    def lookup(self, query: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """Return the maxima over rows [low, high) for the given query indices, int64 [...] each."""
        best = torch.full(low.shape, -torch.inf, device=low.device)
        for level in self.levels:
            inside, last = low < high, level.shape[1] - 1
            # An odd end has no partner in the range: use it here, the rest one level up.
            for odd, place in ((low % 2 == 1, low), (high % 2 == 1, high - 1)):
                value = level[query, place.clamp(min=0, max=last)]
                best = torch.maximum(best, value.masked_fill(~(inside & odd), -torch.inf))
            low, high = (low + 1) // 2, high // 2
        return best


def make_prefix_prior(
    model: ConstrainedDecoder, trie: Trie, state: Any, live: RowMask, options: SearchOptions
) -> PrefixMaxPrior | None:
    """Return the prefix prior of encoded queries, or None if `lookahead_weight` is 0.

    Raises:
        InputError: The model has no prior, or log-probabilities for `full_scores` need the prefix.
    """
    if not options.lookahead_weight:
        return None
    if not isinstance(model, DocumentPrior):
        raise InputError(
            f"[decoding] lookahead_weight: a {model.kind!r} model has no document prior; use "
            "strategy = 'beam'"
        )
    prior = model.prior(state)
    rows = live.rows(prior.device)
    if live.restrict_scores:  # a prior normalised over all rows would depend on the hidden ones
        prior = prior - prior.masked_fill(~rows, -torch.inf).logsumexp(dim=-1, keepdim=True)
    prior = options.lookahead_weight * prior
    if options.full_scores:
        if options.softmax == "none":
            raise InputError(
                "[decoding] full_scores: adds log-probabilities, which softmax = 'none' lacks; "
                "use softmax = 'vocabulary', or remove full_scores"
            )
        log_p = _row_log_probs(model, trie, state)
        if options.softmax == "trie":
            if trie.depth > 1:
                raise InputError(
                    "[decoding] full_scores: with softmax = 'trie', log-probabilities of codes "
                    "depend on the prefix; use softmax = 'vocabulary', or remove full_scores"
                )
            log_p = log_p - log_p.masked_fill(~rows, -torch.inf).logsumexp(dim=-1, keepdim=True)
        prior = prior + log_p
    return PrefixMaxPrior.build(prior, rows, options.full_scores)


def _row_log_probs(model: ConstrainedDecoder, trie: Trie, state: Any) -> Tensor:
    """Return the log-probability of each row, float32 [B, rows]."""
    levels = model.prefix_free_log_probs(state)
    if levels is None:
        raise InputError(
            f"[decoding] full_scores: the log-probabilities of a {model.kind!r} model depend on "
            "the prefix; remove it"
        )
    sums = torch.zeros(len(levels[0]), trie.rows, device=levels[0].device)
    for depth in range(trie.depth):
        raise_if_cancelled()
        symbols = trie.symbols[:, depth].long()
        sums += levels[depth][:, symbols.clamp(min=0)].masked_fill(symbols == PAD, 0.0)
    return sums
