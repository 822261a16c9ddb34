"""Train a row of the plan: its prerequisites, then its own recipe, for fixed numbers of steps.

Prerequisites (a query generator, a model to start from) are shared by the rows that need the same.
"""

import json
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.recipes.fingerprint import (
    Settings,
    dev_split_settings,
    digest_of,
    generator_of,
    parent_of,
    raw_recipe,
    recipe_inputs,
)
from benchmarks.recipes.plan import Run
from genir.config import PseudoQueriesSection, Recipe, load_recipe
from genir.training.pipeline import TrainingJob, train
from genir.training.query_generation import GenerationRequest, generate_queries
from genir.training.recipe_checks import parent_overrides

NO_EPOCH_LIMIT = 1000
"""Epochs of every training, more than it needs: the number of steps ends it."""


class RowTrainer:
    """Trains the recipes of one row, in order, below `work`.

    Attributes:
        commands: Shell commands that repeat the trainings so far.
        trained: Recipe, steps, seconds and dev figures of each training so far.
    """

    def __init__(self, run: Run, corpus: Path, work: Path) -> None:
        self.run, self.corpus, self.work = run, corpus, work
        self.commands: list[str] = []
        self.trained: list[dict[str, Any]] = []
        self._steps_used = 0

    def train_row(self) -> Path:
        """Train the row and return its model folder. Resumes an interrupted call.

        Raises:
            InputError: for bad input.
            Stopped: on a signal, after saving a checkpoint.
        """
        return self._train(self.run.row.recipe, self.run.settings)

    def _train(self, name: str, settings: Settings) -> Path:
        values, recipe = raw_recipe(name, settings), load_recipe(name, settings)
        begin, added = self._steps_used, []
        if generator_of(values):
            added.append(f"pseudo_queries.source={self._write_queries(recipe)}")
        if parent_of(values):
            added.append(f"model.init_from={self._train_parent(name, settings, recipe)}")
        first = "" if recipe.passage_stage is None else self._next_steps()
        main = self._next_steps()
        stages = {"": main} if recipe.passage_stage is None else {"passage_stage.": first, "": main}
        for stage, steps in stages.items():
            added += [f"{stage}training.epochs={NO_EPOCH_LIMIT}",
                      f"{stage}training.max_steps={steps}"]  # fmt: skip
        steps_used = self.run.steps[begin : self._steps_used]
        out = self._path(Path(name).stem, [recipe_inputs(name, settings), steps_used])
        own = (*settings, *added)
        train(TrainingJob(name, self.corpus, out, settings=own, resume=True))
        words = ["python train.py", name, "--corpus", self.shown(self.corpus)]
        self.commands.append(" ".join([*words, "--out", self.shown(out), *self._options(own)]))
        metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
        self.trained.append({
            "recipe": name,
            "steps": metrics["steps"],
            "seconds": metrics["seconds"],
            "dev": {key: metrics["dev"][key] for key in ("questions", "RR@10", "Success@10")},
            **({"first": first} if recipe.passage_stage is not None else {}),
        })  # fmt: skip
        return out

    def _train_parent(self, name: str, settings: Settings, recipe: Recipe) -> Path:
        parent = recipe.model.init_from
        own = (*dev_split_settings(name, settings), *parent_overrides(recipe))
        return self._train(parent, (*self.run.shared_settings(parent), *own))

    def _write_queries(self, recipe: Recipe) -> Path:
        """Train the generator without the recipe's dev queries; return its file of queries."""
        options, training = recipe.pseudo_queries, recipe.training
        same_dev = (
            f"training.dev_queries={training.dev_queries}",
            f"training.seed={training.seed}",
        )
        shared = self.run.shared_settings(options.source)
        generator = self._train(options.source, (*shared, *same_dev, *options.settings))
        keys = options.model_dump(exclude={"source", "settings"})
        defaults = PseudoQueriesSection().model_dump()
        changed = [f"{key}={value}" for key, value in keys.items() if value != defaults[key]]
        path = self._path("queries", [generator.name, keys])
        file = path.with_name(f"{path.name}.jsonl")
        if not file.is_file():
            generate_queries(
                GenerationRequest(self.corpus, file, str(generator), settings=changed, resume=True)
            )
        words = ["genir generate-queries", self.shown(self.corpus), "--out", self.shown(file)]
        words += ["--model", self.shown(generator), *self._options(changed)]
        self.commands.append(" ".join(words))
        return file

    def _next_steps(self) -> int:
        self._steps_used += 1
        return self.run.steps[self._steps_used - 1]

    def _path(self, kind: str, inputs: Any) -> Path:
        folder = self.work / "models"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{self.corpus.name}-{kind}-{digest_of(inputs)}"

    def shown(self, path: Path) -> str:
        """Return a path as commands show it, below $WORK."""
        return f"$WORK/{path.relative_to(self.work)}"

    def _options(self, settings: Sequence[str]) -> list[str]:
        shown = [setting.replace(str(self.work), "$WORK") for setting in settings]
        return [f"--set {one if '$WORK' in one else shlex.quote(one)}" for one in shown]


def remove(out: Path) -> None:
    """Remove a model folder or file, and the working folders beside it."""
    for path in out.parent.glob(f"{out.name}*"):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
