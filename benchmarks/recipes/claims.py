"""Test claims on the results: paired tests, Holm correction, one Markdown item per claim."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
class Comparison:
    """Means of the two rows of a claim on one collection, and the p-value of the difference."""

    claim: Claim
    collection: str
    better: float
    worse: float
    p: float

    @property
    def holds(self) -> bool:
        """Whether the difference has the claimed factor and is significant."""
        low, high = self._low_high
        return self.claim.times * low <= high and self.p < ALPHA

    @property
    def _low_high(self) -> tuple[float, float]:
        if self.claim.measure == LOSS:  # less is better
            return self.better, self.worse
        return self.worse, self.better

    def __str__(self) -> str:
        low, high = self._low_high
        factor = f", {high / low:.1f} times" if self.claim.times > 1 and low > 0 else ""
        verdict = "held" if self.holds else "did not hold"
        values = f"{format_share(self.better)} against {format_share(self.worse)}"
        return f"on {self.collection} **{verdict}**: {values}{factor}, p = {self.p:.2g}"


def judge(ablation: Ablation, results: Results) -> list[str]:
    """Return one Markdown item per claim, with p-values Holm-corrected over the ablation."""
    compared = [
        comparison
        for claim in ablation.claims
        if not claim.not_testable
        for collection, rows in results.items()
        if (comparison := _compare(claim, collection, rows)) is not None
    ]
    corrected = holm([comparison.p for comparison in compared])
    compared = [replace(one, p=p) for one, p in zip(compared, corrected, strict=True)]
    return [
        _item(claim, [one for one in compared if one.claim is claim], results)
        for claim in ablation.claims
    ]


def _compare(claim: Claim, collection: str, rows: Mapping[str, Result]) -> Comparison | None:
    """Compare the rows; None if one is missing or they answered different queries."""
    better, worse = rows.get(claim.better), rows.get(claim.worse)
    if better is not None and claim.worse in BASELINES:
        own, other = (better["systems"][name]["all"]["RR@10"] for name in (GENIR, claim.worse))
        p_value = better["p_values"][f"{GENIR}>{claim.worse}"]
        return Comparison(claim, collection, own, other, p_value)
    if better is None or worse is None or better["asked"] != worse["asked"]:
        return None
    own, other = values_by_query(better, claim), values_by_query(worse, claim)
    if not own:
        return None
    p = p_greater(other, own) if claim.measure == LOSS else p_greater(own, other)
    return Comparison(claim, collection, fmean(own), fmean(other), p)


def values_by_query(result: Result, claim: Claim) -> list[float]:
    """Return the measure of a claim for each query of the claim's kind."""
    if claim.measure == LOSS:
        correct, misspelt = (
            [_value(rank, "RR@10") for rank in result[key]] for key in ("ranks", "ranks_misspelt")
        )
        mean = fmean(correct) or 1.0
        return [(a - b) / mean for a, b in zip(correct, misspelt, strict=True)]
    ranks: Sequence[int] = result["ranks_misspelt" if claim.queries == "misspelt" else "ranks"]
    unseen = set(result["unseen"])
    return [
        _value(rank, claim.measure)
        for position, rank in enumerate(ranks)
        if claim.queries in ("all", "misspelt")
        or (position in unseen) == (claim.queries == "unseen")
    ]


def _value(rank: int, measure: str) -> float:
    """Return a measure of one query; rank 0 means no relevant document in the first ten."""
    if measure == "RR@10":
        return 1 / rank if rank else 0.0
    return float(0 < rank <= int(measure.removeprefix("Success@")))


def _item(claim: Claim, compared: Sequence[Comparison], results: Results) -> str:
    source = "Claim of the paper" if claim.papers else "Claim"
    opening = f"- {source}: {claim.text}: "
    if claim.not_testable:
        return f"{opening}**not testable here**, because {claim.not_testable}."
    pairs = {
        name: (rows.get(claim.better), rows.get(claim.worse)) for name, rows in results.items()
    }
    different = [name for name, (a, b) in pairs.items() if a and b and a["asked"] != b["asked"]]
    if different:
        places = ", ".join(different)
        opening += f"(not compared on {places}: the rows were asked different queries) "
    if not compared:
        return f"{opening}**not measured yet** ({claim.better} against {claim.worse})."
    kind = "" if claim.queries == "all" else f", {claim.queries} queries"
    rows = f"({claim.better} against {claim.worse}, {claim.measure}{kind})"
    return f"{opening}{'; '.join(map(str, compared))} {rows}."


def format_share(value: float) -> str:
    """Return a share with three decimals and no leading zero."""
    return f"{round(value, 5):.3f}".replace("0.", ".", 1)
