"""Paired tests of claims on the results."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

from benchmarks.recipes.plan import Ablation, Claim
from benchmarks.recipes.results import Result
from genir.evaluation.runner import BASELINES, GENIR
from genir.evaluation.significance import holm, p_greater

ALPHA = 0.05
LOSS = "misspelt loss"
Results = Mapping[str, Mapping[str, Result]]
"""Collection -> row -> result."""


@dataclass(frozen=True)
class Verdict:
    """Means of the two rows of a claim on one collection, and the p-value of the difference."""

    claim: Claim
    better: float
    worse: float
    p: float

    @property
    def _low_high(self) -> tuple[float, float]:
        if self.claim.measure == LOSS:  # less is better
            return self.better, self.worse
        return self.worse, self.better

    @property
    def holds(self) -> bool:
        """Whether the difference has the claimed factor and is significant."""
        low, high = self._low_high
        return self.claim.times * low <= high and self.p < ALPHA

    @property
    def word(self) -> str:
        """The verdict."""
        return "held" if self.holds else "did not hold"

    def __str__(self) -> str:
        low, high = self._low_high
        times = f", {high / low:.1f} times" if self.claim.times > 1 and low > 0 else ""
        values = f"{format_share(self.better)} against {format_share(self.worse)}"
        return f"**{self.word}**: {values}{times}, p = {self.p:.2g}"


def judge(ablation: Ablation, results: Results) -> dict[tuple[Claim, str], Verdict]:
    """Return the verdicts by claim and collection, with p-values Holm-corrected over all."""
    compared = {
        (claim, collection): values
        for claim in ablation.claims
        for collection, rows in results.items()
        if (values := _compare(claim, rows)) is not None
    }
    corrected = holm([p for _, _, p in compared.values()])
    return {
        key: Verdict(key[0], better, worse, p)
        for (key, (better, worse, _)), p in zip(compared.items(), corrected, strict=True)
    }


def _compare(claim: Claim, rows: Mapping[str, Result]) -> tuple[float, float, float] | None:
    """Return both means and p; None if a row is missing or answered different queries."""
    better, worse = rows.get(claim.better), rows.get(claim.worse)
    if better is not None and claim.worse in BASELINES:
        own, other = (better["systems"][name]["all"]["RR@10"] for name in (GENIR, claim.worse))
        return own, other, better["p_values"][f"{GENIR}>{claim.worse}"]
    if better is None or worse is None or better["asked"] != worse["asked"]:
        return None
    values = [values_by_query(result, claim) for result in (better, worse)]
    if not values[0]:
        return None
    p = p_greater(*(values[::-1] if claim.measure == LOSS else values))
    return fmean(values[0]), fmean(values[1]), p


def values_by_query(result: Result, claim: Claim) -> list[float]:
    """Return the measure of a claim for each query of the claim's kind."""
    if claim.measure == LOSS:
        pairs = zip(result["ranks"], result["ranks_misspelt"], strict=True)
        losses = [_value(rank, "RR@10") - _value(misspelt, "RR@10") for rank, misspelt in pairs]
        mean = fmean(_value(rank, "RR@10") for rank in result["ranks"]) or 1.0
        return [loss / mean for loss in losses]
    ranks = result["ranks_misspelt" if claim.queries == "misspelt" else "ranks"]
    values = [_value(rank, claim.measure) for rank in ranks]
    if claim.queries in ("seen", "unseen"):
        unseen = set(result["unseen"])
        values = [v for n, v in enumerate(values) if (n in unseen) == (claim.queries == "unseen")]
    return values


def _value(rank: int, measure: str) -> float:
    """Return a measure of one query; rank 0 means no relevant document in the first ten."""
    if measure == "RR@10":
        return 1 / rank if rank else 0.0
    return float(0 < rank <= int(measure.removeprefix("Success@")))


def format_share(value: float) -> str:
    """Return a share with three decimals and no leading zero."""
    return f"{round(value, 5):.3f}".replace("0.", ".", 1)
