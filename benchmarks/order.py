"""Which row begins next where several run at a time: none is to wait for another's parts.

Rows that share a part (what they start from, what makes their queries up) wait while one of them
makes it. So the rows that run first are of different parts, those that most others wait for ahead.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from benchmarks.budget import seconds_of
from benchmarks.corpora import corpus_folder
from benchmarks.parts import Bench, places
from benchmarks.plan import Run

Needs = Mapping[str, Sequence[Path]]
"""A row's place -> where the parts are that come before it."""


def needs_of(chosen: Sequence[Run], work: Path) -> Needs:
    """Return the places of every row's parts; none of a row whose recipe is not there yet."""
    return {run.place: _places(run, work) for run in chosen}


def _places(run: Run, work: Path) -> list[Path]:
    if not run.has_recipe:
        return []
    bench = Bench(corpus_folder(run.collection, work), work, run.budget, run.taken or {})
    return list(places(bench, run.row.recipe, run.row.settings, seconds_of(run.budget)))


def next_run(
    waiting: Sequence[Run], running: Collection[Run], needs: Needs, later: Collection[Run] = ()
) -> Run:
    """Return the row to begin: of those that need wait for nobody the longest, then the one that
    has most parts to make and most others that wait for them or are to be like it, then the first.

    later: rows that cannot begin yet, since they are like one that is not done.
    """
    absent = {run.place: {path for path in needs[run.place] if not path.exists()}
              for run in (*waiting, *running)}  # fmt: skip
    in_the_making = set().union(*(absent[run.place] for run in running))

    def rank(run: Run) -> tuple[bool, float, int]:
        own = absent[run.place]
        others = sum(bool(own & absent[other.place]) for other in waiting)
        others += sum(other.like is not None and other.like.place == run.place for other in later)
        return bool(own & in_the_making), -run.budget.minutes, -len(own) - others

    return min(waiting, key=rank)
