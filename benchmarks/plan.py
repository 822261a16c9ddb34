"""The plan: which recipes are measured on which collections, and what the papers claim of them."""

import hashlib
import json
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from genir.config import Stage, Strict, load_recipe, recipe_names, validate
from genir.errors import InputError, nearest
from genir.settings import apply_settings

FORMAT = 1
"""Counts changes in how rows are run that make earlier results incomparable."""
UNREAD = ("description", "paper")
"""Keys of a recipe that change nothing."""


class Budget(Strict):
    """`[budget]`: minutes of training that every row has, and how its parts share them.

    cores: on a CPU, of how many cores; on a GPU, minutes are minutes. jobs: how many rows share a
    GPU, side by side. generator, start: the share of what makes queries up, and of the model that a
    row starts from. The rest is the row's own; two stages have half of it each. settings: of every
    row, of its parts and of both stages, before the row's own. batches: of encoder-decoders, how
    many times as large as their recipe has them, with learning rates times its root, as suits Adam
    (Malladi et al., NeurIPS 2022). timed: queries timed one by one.
    """

    minutes: float = Field(gt=0)
    cores: int = Field(default=2, ge=1)
    jobs: int = Field(default=1, ge=1)
    settings: tuple[str, ...] = ()
    batches: int = Field(default=1, ge=1)
    generator: float = Field(default=0.25, gt=0, lt=1)
    start: float = Field(default=0.5, gt=0, lt=1)
    timed: int = Field(default=30, ge=0)


class Collection(Strict):
    """`[[collections]]`: a corpus folder as the rows see it.

    source: its folder below GENIR_DATA. unseen: the share of documents that lose all their train
    queries. queries: how many test queries are asked, 0 = all. Both are drawn by `seed`.
    """

    name: str = Field(pattern=r"^[\w.-]+$")
    source: str
    unseen: float = Field(default=0.0, ge=0, lt=1)
    queries: int = Field(default=0, ge=0)
    seed: int = 0


class Row(Strict):
    """`[[rows]]`: a recipe with settings, on one or more collections.

    name: by default the recipe's. groups: the tables it stands in: "table", or an ablation's group.
    """

    recipe: str
    name: str = Field(default="", pattern=r"^[\w.-]*$")
    collections: tuple[str, ...] = Field(min_length=1)
    settings: tuple[str, ...] = ()
    groups: tuple[str, ...] = ("table",)
    minutes: float = Field(default=0.0, ge=0, description="0 = as [budget] has it")


class Claim(Strict):
    """`[[ablations.claims]]`: a paper's claim, as one row against another.

    times: by what factor `better` is to be ahead. `misspelt loss` is the share of RR@10 that one
    typing error costs, where less is better; `dev RR@10` is of the questions that both rows held
    out. not_testable: why it cannot be judged here, if so.
    """

    text: str
    better: str = ""
    worse: str = ""
    measure: Literal["Success@1", "Success@10", "RR@10", "misspelt loss", "dev RR@10"] = "RR@10"
    queries: Literal["all", "seen", "unseen", "misspelt"] = "all"
    times: float = Field(default=1.0, ge=1)
    not_testable: str = ""


class Ablation(Strict):
    """`[[ablations]]`: the rows of a group, and the claims that rest on them."""

    group: str
    title: str
    claims: tuple[Claim, ...] = ()


class Plan(Strict):
    """All of `plan.toml`."""

    budget: Budget
    collections: tuple[Collection, ...]
    rows: tuple[Row, ...]
    ablations: tuple[Ablation, ...] = ()


@dataclass(frozen=True)
class Run:
    """A row on one collection: what has one result."""

    row: Row
    collection: Collection
    budget: Budget

    @property
    def name(self) -> str:
        """Return the row's name, unique in its collection."""
        return self.row.name or Path(self.row.recipe).stem

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
        return _there(self.row.recipe)

    @property
    def digest(self) -> str:
        """Return a digest of all that the result depends on, but for the code and the machine."""
        budget = self.budget.model_dump(exclude={"timed"})
        facts = [FORMAT, self.collection.model_dump(), budget]
        return digest_of([*facts, recipe_facts(self.row.recipe, self.row.settings)])


def load_plan(path: Path, minutes: float | None = None) -> Plan:
    """Read a plan; `minutes` replaces its budget. Raises InputError for whatever does not fit."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: not valid TOML: {error}") from None
    if minutes is not None:
        values.setdefault("budget", {})["minutes"] = minutes
    plan = validate(Plan, values, str(path))
    _check(plan, path)
    return plan


def runs(plan: Plan) -> list[Run]:
    """Return every row on every one of its collections, collection by collection."""
    found = []
    for collection in plan.collections:
        for row in plan.rows:
            if collection.name in row.collections:
                minutes = row.minutes or plan.budget.minutes
                own = plan.budget.model_copy(update={"minutes": minutes})
                settings = (*for_all(own, row.recipe), *row.settings)
                found.append(Run(row.model_copy(update={"settings": settings}), collection, own))
    return found


def for_all(budget: Budget, recipe: str) -> tuple[str, ...]:
    """Return the budget's settings as a recipe takes them: of its first stage too, if any."""
    if not _there(recipe):
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


def _there(recipe: str) -> bool:
    return recipe.endswith(".toml") or recipe in recipe_names()


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
    rows = [run.name for run in runs(plan)]
    for claim in (claim for ablation in plan.ablations for claim in ablation.claims):
        if not claim.not_testable:
            _known(path, "claims", (claim.better, claim.worse), rows)


def _known(path: Path, what: str, names: tuple[str, ...], known: list[str]) -> None:
    for name in names:
        if name not in known:
            raise InputError(f"{path}: {what}: unknown {name!r}{nearest(name, known)}")


def raw_recipe(name: str, settings: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return what stands in a recipe's file, with settings, but without any default.

    So that a new key of the toolkit, which changes nothing by default, makes no result stale.
    """
    if name.endswith(".toml"):
        text = Path(name).read_text(encoding="utf-8")
    else:
        file = resources.files("genir") / "recipes" / f"{name}.toml"
        text = file.read_text(encoding="utf-8")
    values = tomllib.loads(text)
    apply_settings(values, settings)
    return values


def source_of(values: dict[str, Any]) -> str:
    """Return the recipe that makes queries up for a recipe; "" where there is none."""
    return _recipe(values.get("pseudo", {}).get("source", ""))


def start_of(values: dict[str, Any]) -> str:
    """Return the recipe that a recipe starts from; "" where there is none."""
    return _recipe(values.get("model", {}).get("start", ""))


def _recipe(name: str) -> str:
    return name if _there(name) else ""


def recipe_facts(name: str, settings: tuple[str, ...] = ()) -> list[Any]:
    """Return what stands in a recipe, and in those that are trained before it."""
    values = raw_recipe(name, settings)
    facts = [{key: value for key, value in values.items() if key not in UNREAD}]
    return [*facts, *(recipe_facts(*part) for part in _parts(values, name, settings))]


def _parts(
    values: dict[str, Any], name: str, settings: tuple[str, ...]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Return what is trained before a recipe: recipes, and what is changed in them."""
    if source_of(values):
        yield source_of(values), ()
    if start_of(values):
        yield start_of(values), held_out_alike(name, settings)


def held_out_alike(name: str, settings: tuple[str, ...]) -> tuple[str, ...]:
    """Return what the recipe that a recipe starts from is to be told, to hold out what it does.

    Nothing, and so no other facts, where it does so by itself.
    """
    own = load_recipe(name, settings)
    start = load_recipe(own.model.start).training
    pairs = (
        (key, getattr(own.training, key), getattr(start, key)) for key in ("dev_queries", "seed")
    )
    return tuple(f"training.{key}={mine}" for key, mine, other in pairs if mine != other)


def digest_of(facts: Any) -> str:
    """Return a digest of anything that JSON can hold."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
