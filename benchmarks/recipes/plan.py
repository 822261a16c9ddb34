"""The plan: recipes to train on collections, and claims to test on their results."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from benchmarks.recipes.fingerprint import Settings, count_stages, digest_of, recipe_inputs
from genir.config import StageConfig, load_recipe, validate
from genir.errors import InputError, did_you_mean
from genir.evaluation.runner import BASELINES
from genir.text_files import read_text
from genir.toml_parser import parse_toml

FORMAT = 2
"""Raised by changes of the procedure that make earlier results incomparable."""


class PlanModel(BaseModel):
    """A frozen table of the plan that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Collection(PlanModel):
    """`[[collections]]`: a corpus folder, modified for the benchmark.

    Attributes:
        source: Folder below GENIR_DATA.
        unseen: Share of documents whose train queries are all removed.
        queries: Number of sampled test queries; 0 = all.
        seed: Seed of both samples.
        batch_factor: Factor of the batch size of encoder-decoders. Learning rates are multiplied
            by its square root, as suits Adam (Malladi et al., NeurIPS 2022).
    """

    name: str = Field(pattern=r"^[\w.-]+$")
    source: str
    unseen: float = Field(default=0.0, ge=0, lt=1)
    queries: int = Field(default=0, ge=0)
    seed: int = 0
    batch_factor: int = Field(default=1, ge=1)


class Row(PlanModel):
    """`[[rows]]`: a recipe with settings, on one or more collections.

    Attributes:
        name: Default: the recipe's name.
        steps: Collection -> optimizer steps of each training stage, prerequisites first.
        groups: Tables that show the row: "table", or the group of an ablation.
    """

    recipe: str
    name: str = Field(default="", pattern=r"^[\w.-]*$")
    steps: dict[str, tuple[int, ...]] = Field(min_length=1)
    settings: Settings = ()
    groups: tuple[str, ...] = ("table",)

    @property
    def display_name(self) -> str:
        """Name in tables and file names."""
        return self.name or Path(self.recipe).stem


class Claim(PlanModel):
    """`[[ablations.claims]]`: one row has a higher value of a measure than another.

    Attributes:
        worse: A row, or a baseline (RR@10 of all queries only).
        measure: `misspelt loss` is the share of RR@10 that one typing error costs; less is better.
        times: Factor by which `better` must lead.
        papers: Whether a paper makes the claim; otherwise genir does.
        not_testable: Reason why the claim cannot be tested here, or "".
    """

    text: str
    better: str = ""
    worse: str = ""
    measure: Literal["Success@1", "Success@10", "RR@10", "misspelt loss"] = "RR@10"
    queries: Literal["all", "seen", "unseen", "misspelt"] = "all"
    times: float = Field(default=1.0, ge=1)
    papers: bool = True
    not_testable: str = ""


class Ablation(PlanModel):
    """`[[ablations]]`: the rows of a group, compared, and claims about them.

    Attributes:
        shown: Whether the group has tables; if not, only its claims are listed.
    """

    group: str
    title: str
    shown: bool = True
    claims: tuple[Claim, ...] = ()


class Plan(PlanModel):
    """The file `plan.toml`. `settings` apply to all recipes, also to prerequisites."""

    settings: Settings = ()
    collections: tuple[Collection, ...]
    rows: tuple[Row, ...]
    ablations: tuple[Ablation, ...] = ()


@dataclass(frozen=True)
class Run:
    """A row on one collection: the unit that has a result file."""

    row: Row
    collection: Collection
    plan_settings: Settings

    @property
    def name(self) -> str:
        """Name of the row, unique within the collection."""
        return self.row.display_name

    @property
    def id(self) -> str:
        """Name on the command line."""
        return f"{self.collection.name}/{self.name}"

    @property
    def file(self) -> str:
        """Name of the result file."""
        return f"{self.collection.name}-{self.name}.json"

    @property
    def steps(self) -> tuple[int, ...]:
        """Optimizer steps of each training stage, prerequisites first."""
        return self.row.steps[self.collection.name]

    @cached_property
    def settings(self) -> Settings:
        """All settings of the row's own training except its number of steps."""
        return (*self.shared_settings(self.row.recipe), *self.row.settings)

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the inputs of the result, except the code and the machine."""
        inputs = recipe_inputs(self.row.recipe, self.settings)
        return digest_of([FORMAT, self.collection.model_dump(), self.steps, inputs])

    def shared_settings(self, recipe: str) -> Settings:
        """Return the plan's settings for a recipe, including settings of its first stage."""
        loaded, factor = load_recipe(recipe), self.collection.batch_factor
        settings = [*self.plan_settings, *_scaled_batch(loaded, factor)]
        if (first := loaded.passage_stage) is not None:
            sections = type(first).model_fields
            own = [one for one in self.plan_settings if one.partition(".")[0] in sections]
            settings += [f"passage_stage.{one}" for one in (*own, *_scaled_batch(first, factor))]
        return tuple(settings)


def _scaled_batch(stage: StageConfig, factor: int) -> Settings:
    if factor == 1 or stage.model.kind != "seq2seq":
        return ()
    training, root = stage.training, factor**0.5
    return (
        f"training.batch_size={factor * training.batch_size}",
        f"training.learning_rate={root * training.learning_rate:.6g}",
        f"training.head_learning_rate={root * training.head_learning_rate:.6g}",
    )


def load_plan(path: Path) -> Plan:
    """Read and check a plan. Raises InputError for unknown names and wrong numbers of steps."""
    try:
        values = parse_toml(read_text(path))
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
    plan = validate(Plan, values, str(path))
    _check(plan, path)
    return plan


def runs(plan: Plan) -> list[Run]:
    """Return every row on each of its collections, ordered by collection."""
    return [
        Run(row, collection, plan.settings)
        for collection in plan.collections
        for row in plan.rows
        if collection.name in row.steps
    ]


def _check(plan: Plan, path: Path) -> None:
    collections = [collection.name for collection in plan.collections]
    groups = ["table", *(ablation.group for ablation in plan.ablations)]
    for row in plan.rows:
        _check_names(path, "collections", row.steps, collections)
        _check_names(path, "groups", row.groups, groups)
    seen = set()
    for run in runs(plan):
        if run.id in seen:
            raise InputError(f"{path}: two rows are called {run.id!r}; give one a `name`")
        seen.add(run.id)
        needed = count_stages(run.row.recipe, run.settings)
        if len(run.steps) != needed:
            raise InputError(
                f"{path}: {run.id}: {len(run.steps)} numbers of steps for {needed} training "
                "stages; give one per stage, prerequisites first"
            )
    rows = [run.name for run in runs(plan)]
    for claim in (claim for ablation in plan.ablations for claim in ablation.claims):
        if not claim.not_testable:
            _check_names(path, "claims", (claim.better,), rows)
            _check_names(path, "claims", (claim.worse,), [*rows, *BASELINES])
        if claim.worse in BASELINES and (claim.measure, claim.queries) != ("RR@10", "all"):
            raise InputError(
                f"{path}: claims: {claim.text!r}: {claim.worse} has only RR@10 of all queries; "
                "compare with that, or with a row"
            )


def _check_names(path: Path, where: str, names: Iterable[str], known: list[str]) -> None:
    for name in names:
        if name not in known:
            raise InputError(f"{path}: {where}: unknown {name!r}{did_you_mean(name, known)}")
