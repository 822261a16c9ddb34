"""The plan: which recipes are measured on which collections, and what the papers claim of them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field

from benchmarks.contents import digest_of, earlier, exists, recipe_facts
from genir.config import Stage, Strict, load_recipe, validate
from genir.errors import InputError, nearest
from genir.evaluation.session import BASELINES
from genir.text_files import read_text
from genir.toml_text import parse_toml

FORMAT = 1
"""Counts changes in how rows are run that make earlier results incomparable."""
Taken = Mapping[str, Mapping[str, int]]
"""Recipe -> the steps of its stages, `main` and `first`: those of a row, and of its parts."""


class Budget(Strict):
    """`[budget]`: minutes of training that every row has, and how its parts share them.

    cores: on a CPU, of how many cores; on a GPU, minutes are minutes. jobs: how many rows share a
    GPU, side by side. generator, start: the share of what makes queries up, and of the model that a
    row starts from. The rest is the row's own; two stages have half of it each. settings: of every
    row, of its parts and of both stages, before the row's own. batches: of encoder-decoders, how
    many times as large as their recipe has them, with learning rates times its root, as suits Adam
    (Malladi et al., NeurIPS 2022). timed: queries timed one by one. device: what the minutes are
    of, where rows of any other machine could not be held against them.
    """

    minutes: float = Field(gt=0)
    cores: int = Field(default=2, ge=1)
    jobs: int = Field(default=1, ge=1)
    settings: tuple[str, ...] = ()
    batches: int = Field(default=1, ge=1)
    generator: float = Field(default=0.25, gt=0, lt=1)
    start: float = Field(default=0.5, gt=0, lt=1)
    timed: int = Field(default=30, ge=0)
    device: Literal["any", "cpu", "gpu"] = "any"

    @property
    def elsewhere(self) -> str:
        """Return what this machine lacks, or has, that forbids these minutes; "" = they run."""
        here = "gpu" if torch.cuda.is_available() else "cpu"
        if self.device in ("any", here):
            return ""
        return "its minutes are of a GPU" if here == "cpu" else "its minutes are of a CPU alone"


class Collection(Strict):
    """`[[collections]]`: a corpus folder as the rows see it.

    source: its folder below GENIR_DATA. unseen: the share of documents that lose all their train
    queries. queries: how many test queries are asked, 0 = all. Both are drawn by `seed`. budget:
    what of the plan's budget is another here.
    """

    name: str = Field(pattern=r"^[\w.-]+$")
    source: str
    unseen: float = Field(default=0.0, ge=0, lt=1)
    queries: int = Field(default=0, ge=0)
    seed: int = 0
    budget: Budget | None = None


class Row(Strict):
    """`[[rows]]`: a recipe with settings, on one or more collections.

    name: by default the recipe's. groups: the tables it stands in: "table", or an ablation's group.
    like: a row of the same collections, whose steps this one takes, whatever their time; it trains
    what this one needs before its own training, which has the steps of that row's last. A row that
    names no recipe has that row's, with its settings before the own ones.
    """

    recipe: str = ""
    name: str = Field(default="", pattern=r"^[\w.-]*$")
    collections: tuple[str, ...] = Field(min_length=1)
    settings: tuple[str, ...] = ()
    groups: tuple[str, ...] = ("table",)
    minutes: float = Field(default=0.0, ge=0, description="0 = as [budget] has it")
    like: str = ""

    @property
    def called(self) -> str:
        """Return its name, be it the recipe's."""
        return self.name or Path(self.recipe).stem


class Claim(Strict):
    """`[[ablations.claims]]`: a claim, most often a paper's, as one row against another.

    worse: a row, or a baseline, of which RR@10 of all queries is known. times: by what factor
    `better` is to be ahead. `misspelt loss` is the share of RR@10 that one
    typing error costs, where less is better. papers: whether a paper makes it, or genir does.
    not_testable: why it cannot be judged here, if so.
    """

    text: str
    better: str = ""
    worse: str = ""
    measure: Literal["Success@1", "Success@10", "RR@10", "misspelt loss"] = "RR@10"
    queries: Literal["all", "seen", "unseen", "misspelt"] = "all"
    times: float = Field(default=1.0, ge=1)
    papers: bool = True
    not_testable: str = ""


class Ablation(Strict):
    """`[[ablations]]`: the rows of a group, and the claims that rest on them.

    shown: whether it has tables of these rows, which those of all recipes may do for it.
    """

    group: str
    title: str
    shown: bool = True
    claims: tuple[Claim, ...] = ()


class Plan(Strict):
    """All of `plan.toml`."""

    budget: Budget
    collections: tuple[Collection, ...]
    rows: tuple[Row, ...]
    ablations: tuple[Ablation, ...] = ()


@dataclass(frozen=True)
class Run:
    """A row on one collection: what has one result.

    like: the row whose steps it takes. taken: those, once that row has a result (`store.settled`).
    """

    row: Row
    collection: Collection
    budget: Budget
    like: "Run | None" = None
    taken: Taken | None = None

    @property
    def name(self) -> str:
        """Return the row's name, unique in its collection."""
        return self.row.called

    @property
    def place(self) -> str:
        """Return what the row is called on the command line."""
        return f"{self.collection.name}/{self.name}"

    @property
    def file(self) -> str:
        """Return the name of the file that its result goes to."""
        return f"{self.collection.name}-{self.name}.json"

    @property
    def has_recipe(self) -> bool:
        """Tell whether the recipe is there yet."""
        return exists(self.row.recipe)

    @property
    def elsewhere(self) -> str:
        """Return why it cannot run on this machine; "" where it can, as rows of known steps can."""
        return "" if self.taken is not None else self.budget.elsewhere

    @property
    def digest(self) -> str:
        """Return a digest of all that the result depends on, but for the code and the machine."""
        budget = self.budget.model_dump(exclude={"timed", "device"})
        facts = [FORMAT, self.collection.model_dump(exclude={"budget"}), budget]
        if self.like is not None:
            facts.append({"like": self.like.name, "steps": self.taken})
        return digest_of([*facts, recipe_facts(self.row.recipe, self.row.settings)])


def load_plan(path: Path, minutes: float | None = None) -> Plan:
    """Read a plan; `minutes` replaces its budget. Raises InputError for whatever does not fit."""
    try:
        values = parse_toml(read_text(path))
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
    _share_budget(values, {} if minutes is None else {"minutes": minutes})
    plan = validate(Plan, values, str(path))
    plan = plan.model_copy(update={"rows": tuple(_whole(row, plan, path) for row in plan.rows)})
    _check(plan, path)
    return plan


def _whole(row: Row, plan: Plan, path: Path) -> Row:
    """Return a row with a recipe: if it names none, that of the row that it is like."""
    if row.recipe:
        return row
    where = f"{path}: rows: {row.name or 'a row'} names no `recipe`"
    if not row.name or not row.like:
        raise InputError(f"{where}; name one, or give it a `name` and the row that it is `like`")
    named = {other.called: other for other in reversed(plan.rows) if other.recipe}
    other = named.get(row.like)
    if other is None:
        hint = nearest(row.like, named)
        raise InputError(f"{where}, and no row that has one is called {row.like!r}{hint}")
    settings = (*other.settings, *row.settings)
    return row.model_copy(update={"recipe": other.recipe, "settings": settings})


def _share_budget(values: dict[str, Any], given: Mapping[str, float]) -> None:
    """Fill a collection's budget up from the plan's. What is no table is left to be refused."""
    shared = values.setdefault("budget", {})
    if isinstance(shared, dict):
        shared.update(given)
        for collection in values.get("collections", ()):
            if isinstance(collection, dict) and isinstance(collection.get("budget"), dict):
                collection["budget"] = {**shared, **collection["budget"], **given}


def runs(plan: Plan) -> list[Run]:
    """Return every row on every one of its collections, collection by collection."""
    found = []
    for collection in plan.collections:
        own = [_run(plan, row, collection) for row in plan.rows
               if collection.name in row.collections]  # fmt: skip
        known = {run.name: run for run in own}
        found += [_like(run, known.get(run.row.like)) for run in own]
    return found


def _run(plan: Plan, row: Row, collection: Collection) -> Run:
    own = collection.budget or plan.budget
    own = own.model_copy(update={"minutes": row.minutes or own.minutes})
    settings = (*for_all(own, row.recipe), *row.settings)
    return Run(row.model_copy(update={"settings": settings}), collection, own)


def _like(run: Run, other: Run | None) -> Run:
    """Return the row as one that takes the steps of another, and so has its minutes."""
    return run if other is None else replace(run, like=other, budget=other.budget)


def for_all(budget: Budget, recipe: str) -> tuple[str, ...]:
    """Return the budget's settings as a recipe takes them: of its first stage too, if any."""
    if not exists(recipe):
        return budget.settings
    whole = load_recipe(recipe)
    own = (*budget.settings, *_larger(whole, budget.batches))
    if whole.first is None:
        return own
    shared = [
        one for one in budget.settings if one.partition(".")[0] in type(whole.first).model_fields
    ]
    first = (*shared, *_larger(whole.first, budget.batches))
    return (*own, *(f"first.{setting}" for setting in first))


def _larger(stage: Stage, times: int) -> tuple[str, ...]:
    """Return the settings that make an encoder-decoder's batches so many times as large."""
    if times == 1 or stage.model.kind != "seq2seq":
        return ()
    training, root = stage.training, times**0.5
    rates = ("learning_rate", "head_learning_rate")
    return (
        f"training.batch_size={times * training.batch_size}",
        *(f"training.{name}={root * getattr(training, name):.6g}" for name in rates),
    )


def _check(plan: Plan, path: Path) -> None:
    """Refuse names that nothing has, and two rows of one name."""
    collections = [collection.name for collection in plan.collections]
    groups = ["table", *(ablation.group for ablation in plan.ablations)]
    names: set[str] = set()
    for row in plan.rows:
        _known(path, "collections", row.collections, collections)
        _known(path, "groups", row.groups, groups)
    for run in runs(plan):
        if run.file in names:
            raise InputError(f"{path}: two rows are called {run.place!r}; give one a `name`")
        names.add(run.file)
        if run.row.like:
            _check_like(path, run, plan)
    rows = [run.name for run in runs(plan)]
    for claim in (claim for ablation in plan.ablations for claim in ablation.claims):
        if claim.worse in BASELINES and (claim.measure, claim.queries) != ("RR@10", "all"):
            raise InputError(
                f"{path}: claims: {claim.text!r}: of {claim.worse!r}, RR@10 of all queries is known"
            )
        if not claim.not_testable:
            _known(path, "claims", (claim.better,), rows)
            _known(path, "claims", (claim.worse,), [*rows, *BASELINES])


def _known(path: Path, what: str, names: tuple[str, ...], known: list[str]) -> None:
    for name in names:
        if name not in known:
            raise InputError(f"{path}: {what}: unknown {name!r}{nearest(name, known)}")


def _check_like(path: Path, run: Run, plan: Plan) -> None:
    """Refuse a row that cannot take the steps of the one that it names."""
    where, other = f"{path}: {run.place}: like = {run.row.like!r}", run.like
    own = [one.name for one in runs(plan) if one.collection is run.collection]
    if other is None or other.name == run.name:
        names = [name for name in own if name != run.name]
        raise InputError(f"{where}: no other row of the collection{nearest(run.row.like, names)}")
    if other.row.like:
        raise InputError(f"{where}: is itself like {other.row.like!r}; name that one")
    if run.row.minutes:
        raise InputError(f"{where}: has the steps of that row; take `minutes` out")
    if run.has_recipe:
        needed, made = (earlier(one.row.recipe, one.row.settings) for one in (run, other))
        for part in sorted(needed - made - {other.row.recipe}):
            raise InputError(f"{where}: trains no {part!r}, which this row needs; let it do so")
