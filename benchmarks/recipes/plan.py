"""The plan: recipes to train on collections, and claims to test on their results."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from genir.config import Recipe, StageConfig, load_recipe, recipe_names, validate
from genir.errors import InputError, did_you_mean
from genir.evaluation.runner import BASELINES
from genir.overrides import apply_settings
from genir.text_files import read_text
from genir.toml_parser import parse_toml
from genir.training.recipe_checks import parent_overrides

FORMAT = 3
"""Raised by changes of the procedure that make earlier results incomparable."""
Settings = tuple[str, ...]


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
class Training:
    """A recipe to train, after its prerequisites.

    Attributes:
        steps: Optimizer steps of the passage stage, if any, and of the recipe itself.
        generator: Training of the model that generates pseudo-queries.
        parent: Training of the model to start from.
    """

    recipe: str
    settings: Settings
    steps: tuple[int, ...]
    generator: "Training | None"
    parent: "Training | None"

    @property
    def inputs(self) -> list[Any]:
        """Contents of the recipe and, nested, of its prerequisites."""
        values = raw_recipe(self.recipe, self.settings)
        own = {key: v for key, v in values.items() if key not in ("description", "paper")}
        return [own, self.steps, *(one and one.inputs for one in (self.generator, self.parent))]


@dataclass(frozen=True)
class Run:
    """A row on one collection: the unit that has a result file."""

    row: Row
    collection: Collection
    plan_settings: Settings

    @property
    def name(self) -> str:
        """Name of the row, unique within the collection."""
        return self.row.name or Path(self.row.recipe).stem

    @property
    def id(self) -> str:
        """Name on the command line."""
        return f"{self.collection.name}/{self.name}"

    @property
    def file(self) -> str:
        """Name of the result file."""
        return f"{self.collection.name}-{self.name}.json"

    @cached_property
    def training(self) -> Training:
        """The row's training. Raises InputError for a wrong number of steps."""
        steps = self.row.steps[self.collection.name]
        left = iter(steps)
        try:
            training = self._expand(self.row.recipe, self.row.settings, left)
        except StopIteration:
            training = None
        if training is None or list(left):
            raise InputError(
                f"{self.id}: {len(steps)} numbers of steps do not fit its training stages; give "
                "one per stage, prerequisites first"
            )
        return training

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the inputs of the result, except the code and the machine."""
        return digest_of([FORMAT, self.collection.model_dump(), self.training.inputs])

    def _expand(self, name: str, settings: Settings, steps: Iterator[int]) -> Training:
        settings = (*self._shared_settings(load_recipe(name)), *settings)
        recipe, generator, parent = load_recipe(name, settings), None, None
        options, section = recipe.pseudo_queries, recipe.training
        # Models that are trained first must not see the row's dev queries.
        same = (f"training.dev_queries={section.dev_queries}", f"training.seed={section.seed}")
        if is_recipe(options.source):
            generator = self._expand(options.source, (*same, *options.settings), steps)
        if is_recipe(recipe.model.init_from):
            own = (*same, *parent_overrides(recipe))
            parent = self._expand(recipe.model.init_from, own, steps)
        stages = 1 if recipe.passage_stage is None else 2
        own_steps = tuple([next(steps) for _ in range(stages)])
        return Training(name, settings, own_steps, generator, parent)

    def _shared_settings(self, recipe: Recipe) -> Settings:
        """Return the plan's settings for a recipe, including settings of its first stage."""
        factor, first = self.collection.batch_factor, recipe.passage_stage
        settings = [*self.plan_settings, *_scaled_batch(recipe, factor)]
        if first is not None:
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


def is_recipe(name: str) -> bool:
    """Return whether a source or parent is a recipe, not a file or a model folder."""
    return name.endswith(".toml") or name in recipe_names()


def raw_recipe(name: str, settings: Settings) -> dict[str, Any]:
    """Return a recipe file with settings but without defaults, so new keys change no digest."""
    shipped = resources.files("genir") / "recipes" / f"{name}.toml"
    text = read_text(Path(name)) if name.endswith(".toml") else shipped.read_text(encoding="utf-8")
    values = parse_toml(text)
    apply_settings(values, settings, Recipe)
    return values


def digest_of(value: Any) -> str:
    """Return 16 hexadecimal digits of the SHA-256 of a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def load_plan(path: Path) -> Plan:
    """Read and check a plan. Raises InputError for unknown names and wrong numbers of steps."""
    try:
        plan = validate(Plan, parse_toml(read_text(path)), str(path))
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
    every = runs(plan)
    for run in every:
        if [one.id for one in every].count(run.id) > 1:
            raise InputError(f"{path}: two rows are called {run.id!r}; give one a `name`")
    names, groups = {run.name for run in every}, {"table", *(one.group for one in plan.ablations)}
    used = [
        (name, {one.name for one in plan.collections}) for row in plan.rows for name in row.steps
    ]
    used += [(name, groups) for row in plan.rows for name in row.groups]
    for claim in (claim for ablation in plan.ablations for claim in ablation.claims):
        if not claim.not_testable:
            used += [(claim.better, names), (claim.worse, names | {*BASELINES})]
        if claim.worse in BASELINES and (claim.measure, claim.queries) != ("RR@10", "all"):
            raise InputError(
                f"{path}: claims: {claim.text!r}: {claim.worse} has only RR@10 of all queries; "
                "compare with that, or with a row"
            )
    for name, known in used:
        if name not in known:
            raise InputError(f"{path}: unknown {name!r}{did_you_mean(name, sorted(known))}")
    for run in every:
        _ = run.training  # checks the number of steps
    return plan


def runs(plan: Plan) -> list[Run]:
    """Return every row on each of its collections, ordered by collection."""
    return [
        Run(row, collection, plan.settings)
        for collection in plan.collections
        for row in plan.rows
        if collection.name in row.steps
    ]
