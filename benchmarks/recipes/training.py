"""Train a row of the plan: its prerequisites, then its own recipe, for fixed numbers of steps.

Prerequisites (a query generator, a model to start from) are shared by the rows that need the same.
"""

import json
import shlex
from pathlib import Path
from typing import Any

from benchmarks.recipes.plan import Training, digest_of
from genir.config import PseudoQueriesSection, load_recipe
from genir.training.job import TrainingJob
from genir.training.pipeline import train
from genir.training.query_generation import GenerationRequest, generate_queries

NO_EPOCH_LIMIT = 1000
"""Epochs of every training, more than it needs: the number of steps ends it."""


class RowTrainer:
    """Trains recipes on one corpus, below `work`. Resumes interrupted trainings.

    Attributes:
        commands: Shell commands that repeat the trainings so far.
        trained: Recipe, steps, seconds and dev figures of each training so far.
    """

    def __init__(self, corpus: Path, work: Path) -> None:
        self.corpus, self.work = corpus, work
        self.commands: list[str] = []
        self.trained: list[dict[str, Any]] = []

    def train(self, training: Training) -> Path:
        """Train a recipe after its prerequisites and return the model folder.

        Raises:
            InputError: for bad input.
            Stopped: on a signal, after saving a checkpoint.
        """
        settings = list(training.settings)
        if training.generator is not None:
            settings.append(f"pseudo_queries.source={self._generate(training)}")
        if training.parent is not None:
            settings.append(f"model.init_from={self.train(training.parent)}")
        for stage, steps in zip(("", "passage_stage."), reversed(training.steps), strict=False):
            settings.append(f"{stage}training.epochs={NO_EPOCH_LIMIT}")
            settings.append(f"{stage}training.max_steps={steps}")
        out = self._path(Path(training.recipe).stem, training.inputs)
        train(TrainingJob(training.recipe, self.corpus, out, settings=settings, resume=True))
        self._log("python train.py", training.recipe, "--corpus", self.corpus, out, settings)
        metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
        self.trained.append({
            "recipe": training.recipe,
            "steps": metrics["steps"],
            "seconds": metrics["seconds"],
            "dev": {key: metrics["dev"][key] for key in ("questions", "RR@10", "Success@10")},
            **({"first": training.steps[0]} if len(training.steps) > 1 else {}),
        })  # fmt: skip
        return out

    def _generate(self, training: Training) -> Path:
        """Train the generator and return its file of queries."""
        assert training.generator is not None
        generator = self.train(training.generator)
        options = load_recipe(training.recipe, training.settings).pseudo_queries
        keys = options.model_dump(exclude={"source", "settings"})
        defaults = PseudoQueriesSection().model_dump()
        changed = [f"{key}={value}" for key, value in keys.items() if value != defaults[key]]
        file = self._path("queries", [generator.name, keys]).with_suffix(".jsonl")
        if not file.is_file():
            generate_queries(
                GenerationRequest(self.corpus, file, str(generator), settings=changed, resume=True)
            )
        self._log("genir generate-queries", self.corpus, "--model", generator, file, changed)
        return file

    def _path(self, kind: str, inputs: Any) -> Path:
        folder = self.work / "models"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{self.corpus.name}-{kind}-{digest_of(inputs)}"

    def _log(self, *parts: Any) -> None:
        """Add a command: words, the output, and a list of settings."""
        *words, out, settings = parts
        options = (part for setting in settings for part in ("--set", shlex.quote(setting)))
        command = " ".join(map(str, (*words, "--out", out, *options)))
        self.commands.append(self.shown(command))

    def shown(self, text: str | Path) -> str:
        """Return a text with the work folder as $WORK."""
        return str(text).replace(str(self.work), "$WORK")
