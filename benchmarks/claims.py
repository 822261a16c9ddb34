"""What a paper claims, held against the results: figures, a paired test, a verdict."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from benchmarks.plan import Ablation, Claim
from genir.evaluation.session import BASELINES, GENIR
from genir.evaluation.significance import holm, p_greater

Result = Mapping[str, Any]
"""A row's result, as its file has it."""
ALPHA = 0.05


@dataclass(frozen=True)
class Trial:
    """A claim on one collection: the means of both rows, and the p-value, corrected or not."""

    claim: Claim
    collection: str
    better: float
    worse: float
    p: float

    @property
    def holds(self) -> bool:
        """Tell whether the claimed row is ahead by the claimed factor, and not by chance."""
        if self.claim.measure == "misspelt loss":
            return self.better * self.claim.times <= self.worse and self.p < ALPHA
        return self.better >= self.claim.times * self.worse and self.p < ALPHA


def judge(ablation: Ablation, results: Mapping[str, Mapping[str, Result]]) -> list[str]:
    """Return a Markdown item a claim, with its verdict on each collection.

    results: collection -> row -> result. p-values are Holm-corrected over all trials of the table.
    """
    trials = [
        trial
        for claim in ablation.claims
        if not claim.not_testable
        for collection, rows in results.items()
        if (trial := _try(claim, collection, rows)) is not None
    ]
    corrected = holm([trial.p for trial in trials])
    tried = [replace(trial, p=p) for trial, p in zip(trials, corrected, strict=True)]
    return [
        _item(claim, [t for t in tried if t.claim is claim], _asked_otherwise(claim, results))
        for claim in ablation.claims
    ]


def _asked_otherwise(claim: Claim, results: Mapping[str, Mapping[str, Result]]) -> list[str]:
    """Return the collections on which both rows have results, but of different queries."""
    return [
        collection
        for collection, rows in results.items()
        if claim.better in rows
        and claim.worse in rows
        and rows[claim.better]["asked"] != rows[claim.worse]["asked"]
    ]


def _try(claim: Claim, collection: str, rows: Mapping[str, Result]) -> Trial | None:
    """Compare the two rows; None where one is missing, or they were asked different queries."""
    better, worse = rows.get(claim.better), rows.get(claim.worse)
    if better is not None and claim.worse in BASELINES:
        own, other = (better["systems"][name]["all"]["RR@10"] for name in (GENIR, claim.worse))
        return Trial(claim, collection, own, other, better["p_values"][f"{GENIR}>{claim.worse}"])
    if better is None or worse is None or better["asked"] != worse["asked"]:
        return None
    own, other = by_query(better, claim), by_query(worse, claim)
    if not own:
        return None
    p = p_greater(other, own) if claim.measure == "misspelt loss" else p_greater(own, other)
    return Trial(claim, collection, fmean(own), fmean(other), p)


def by_query(result: Result, claim: Claim) -> list[float]:
    """Return a result's value of the claim's measure for each of the claim's queries."""
    if claim.measure == "misspelt loss":
        right, wrong = ([_value(r, "RR@10") for r in result[key]]
                        for key in ("ranks", "ranks_misspelt"))  # fmt: skip
        mean = fmean(right) or 1.0
        return [(a - b) / mean for a, b in zip(right, wrong, strict=True)]
    ranks: Sequence[int] = result["ranks_misspelt" if claim.queries == "misspelt" else "ranks"]
    unseen = set(result["unseen"])
    kept = [
        rank
        for place, rank in enumerate(ranks)
        if claim.queries in ("all", "misspelt") or (place in unseen) == (claim.queries == "unseen")
    ]
    return [_value(rank, claim.measure) for rank in kept]


def _value(rank: int, measure: str) -> float:
    """Return what a measure makes of the first relevant rank, 0 being none in the first ten."""
    if measure == "RR@10":
        return 1 / rank if rank else 0.0
    return float(0 < rank <= int(measure.removeprefix("Success@")))


def _item(claim: Claim, trials: Sequence[Trial], otherwise: Sequence[str]) -> str:
    whose = "Claim of the paper" if claim.papers else "Claim"
    opening = f"- {whose}: {claim.text}: "
    if claim.not_testable:
        return f"{opening}**not testable here**, because {claim.not_testable}."
    if otherwise:
        places = ", ".join(otherwise)
        opening += f"(not compared on {places}: the rows were asked different queries) "
    if not trials:
        return f"{opening}**not measured yet** ({claim.better} against {claim.worse})."
    told = "; ".join(_verdict(trial) for trial in trials)
    kind = "" if claim.queries == "all" else f", {claim.queries} queries"
    return f"{opening}{told} ({claim.better} against {claim.worse}, {claim.measure}{kind})."


def _verdict(trial: Trial) -> str:
    word = "held" if trial.holds else "did not hold"
    times = ""
    if trial.claim.times > 1:
        high, low = trial.better, trial.worse
        if trial.claim.measure == "misspelt loss":
            high, low = low, high
        times = f", {high / low:.1f} times" if low > 0 else ""
    return (
        f"on {trial.collection} **{word}**: {short(trial.better)} against {short(trial.worse)}"
        f"{times}, p = {trial.p:.2g}"
    )


def short(value: float) -> str:
    """Return a share with three places and no leading zero.

    Of its five places that results keep: the same wherever it is told.
    """
    return f"{round(value, 5):.3f}".replace("0.", ".", 1)
