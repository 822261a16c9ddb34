"""Training for so many seconds: a short probe tells how many steps those are, then they are set.

The toolkit has no limit in minutes, since a run under one cannot be repeated. Here the steps are
found once and written down, and the training is one of so many steps, as its command says.
"""

import json
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from benchmarks.plan import Budget
from genir.config import Recipe, load_recipe
from genir.corpus.folder import read_train_queries
from genir.corpus.layout import find_file
from genir.corpus.pseudo import read_pseudo_queries
from genir.retriever import BATCH, Retriever
from genir.training.batches import POOL
from genir.training.checkpoints import WorkFolder
from genir.training.dev import measure_dev
from genir.training.fingerprints import read_inputs, recipe_inputs, write_inputs
from genir.training.job import Job, train
from genir.training.loop import Trainer
from genir.training.pseudo import join_queries
from genir.training.split import DevSplit, carve_dev

ON_CPU, ON_GPU = (5, 0.0), (16, 2.0)
"""Steps of a probe that are not timed, and for how many seconds others are, in whole pools: of all
lengths. The first steps on a GPU load kernels, and other rows make single ones slow."""
ENDLESS = 1000
"""Passes that no budget has time for, so that steps end the training."""


@dataclass(frozen=True)
class Fit:
    """A training asked for: of a recipe with settings, for so many seconds, into a model folder.

    seconds: of a GPU, or of one core. steps: of the stages, where they are known: no time counts.
    """

    recipe: str
    settings: tuple[str, ...]
    corpus: Path
    out: Path
    seconds: float
    steps: Mapping[str, int] | None = None


@dataclass(frozen=True)
class Pace:
    """Seconds that a step takes, and a measurement on dev."""

    step: float
    dev: float

    def steps(self, seconds: float, evaluations: int) -> int:
        """Return how many steps fill so many seconds, dev measurements included.

        Steps have at least half of the time.
        """
        left = max(seconds / 2, seconds - (evaluations + 2) * self.dev)
        return max(1, int(left / self.step))


def seconds_of(budget: Budget) -> float:
    """Return a budget's seconds: of a GPU, or of one core."""
    return budget.minutes * 60 * (1 if torch.cuda.is_available() else budget.cores)


def fit(asked: Fit) -> dict[str, int]:
    """Train until the seconds are filled, from where an earlier run left off.

    Return the steps of the stages: `main`, and `first` where there are two.
    """
    memo = _memo(asked.out)
    steps = dict(asked.steps or steps_found(asked.out))
    if load_recipe(asked.recipe, asked.settings).first is not None and "first" not in steps:
        steps["first"] = _first_steps(asked)
        _note(memo, steps)
    if "main" not in steps:
        steps["main"] = _main_steps(asked, steps)
        _note(memo, steps)
    _note_settings(asked, steps)
    train(
        Job(asked.recipe, asked.corpus, asked.out, settings=settings_of(asked, steps), resume=True)
    )
    return steps


def steps_found(out: Path) -> dict[str, int]:
    """Return the steps that were found to fill the time of a training into `out`, so far."""
    memo = _memo(out)
    steps: dict[str, int] = json.loads(memo.read_text()) if memo.is_file() else {}
    return steps


def _memo(out: Path) -> Path:
    return out.with_name(f"{out.name}.steps.json")


def settings_of(asked: Fit, steps: dict[str, int]) -> tuple[str, ...]:
    """Return the settings of a training of so many steps."""
    added = [f"training.epochs={ENDLESS}"]
    if "main" in steps:
        added.append(f"training.max_steps={steps['main']}")
    if "first" in steps:
        added += [f"first.training.epochs={ENDLESS}", f"first.training.max_steps={steps['first']}"]
    return (*asked.settings, *added)


def _note(memo: Path, steps: dict[str, int]) -> None:
    part = memo.with_name(f"{memo.name}.part")
    part.write_text(json.dumps(steps), encoding="utf-8")
    part.replace(memo)


def _note_settings(asked: Fit, steps: dict[str, int]) -> None:
    """Have the working folder know of the steps that were found after it was begun."""
    work, recipe = WorkFolder(asked.out), load_recipe(asked.recipe, settings_of(asked, steps))
    if work.begun:
        now = recipe_inputs(recipe, [asked.recipe])
        settings = {name: value for name, value in now.items() if name.startswith("setting ")}
        write_inputs(work.path, read_inputs(work.path) | settings)


def _first_steps(asked: Fit) -> int:
    """Assemble the first of two stages, try it, and forget it."""
    whole = load_recipe(asked.recipe, settings_of(asked, {}))
    assert whole.first is not None
    stage = {name: getattr(whole.first, name) for name in type(whole.first).model_fields}
    recipe = Recipe(name=f"{whole.name}, first stage", pseudo=whole.pseudo, **stage)
    out = asked.out.with_name(f"{asked.out.name}.first")
    train(Job(recipe, asked.corpus, out, resume=True), prepare_only=True)
    steps = _steps(out, asked, recipe)
    shutil.rmtree(WorkFolder(out).path)
    return steps


def _main_steps(asked: Fit, steps: dict[str, int]) -> int:
    """Prepare the training, try it, and write the number of steps into what is prepared."""
    job = Job(
        asked.recipe, asked.corpus, asked.out, settings=settings_of(asked, steps), resume=True
    )
    train(job, prepare_only=True)
    recipe = load_recipe(asked.recipe, settings_of(asked, steps))
    found = _steps(asked.out, asked, recipe)
    prepared = WorkFolder(asked.out).prepared
    retriever = Retriever.load(prepared, "cpu")
    retriever.recipe = load_recipe(asked.recipe, settings_of(asked, {**steps, "main": found}))
    retriever.save(prepared, overwrite=True)
    retriever.documents.close()
    return found


def _steps(out: Path, asked: Fit, recipe: Recipe) -> int:
    """Return the number of steps that fill the time of one stage, prepared for `out`."""
    work = WorkFolder(out)
    retriever = Retriever.load(work.prepared)
    pace = probe(retriever, _split(asked.corpus, recipe, retriever, work), out)
    retriever.documents.close()
    stages = 1 if load_recipe(asked.recipe, asked.settings).first is None else 2
    return pace.steps(asked.seconds / stages, recipe.training.evaluations)


def probe(retriever: Retriever, split: DevSplit, place: Path) -> Pace:
    """Train a few steps, which spoil the model prepared for `place`, in a working folder beside."""
    dev = _time_of_dev(retriever, split)
    watch = Watch(*(ON_GPU if torch.cuda.is_available() else ON_CPU))
    changes = {"max_steps": 0, "epochs": ENDLESS, "evaluations": 1, "checkpoint_seconds": 3600.0}
    training = retriever.recipe.training.model_copy(update=changes)
    retriever.recipe = retriever.recipe.model_copy(update={"training": training})
    work = WorkFolder(place.with_name(f"{place.name}.probe"))
    shutil.rmtree(work.path, ignore_errors=True)
    work.path.mkdir()
    work.prepared.symlink_to(WorkFolder(place).prepared.resolve())  # losses may compare with it
    hook = retriever.model.register_forward_pre_hook(lambda *_: watch.step_begins())
    with suppress(Enough):
        Trainer(retriever, split._replace(questions={}), work).run()
    hook.remove()
    work.close()
    return Pace(watch.step, dev)


def _time_of_dev(retriever: Retriever, split: DevSplit) -> float:
    """Return the seconds of a measurement; on a GPU of one that loads no more kernels."""
    if torch.cuda.is_available():
        measure_dev(retriever, dict(islice(split.questions.items(), BATCH)))
    began = clock()
    measure_dev(retriever, split.questions)
    return clock() - began


class Enough(Exception):
    """Ends a probe."""


class Watch:
    """Times the steps after the first `cold` ones, in whole pools, for at least so many seconds."""

    def __init__(self, cold: int, seconds: float) -> None:
        self.cold, self.seconds = cold, seconds
        self.began, self._start = 0, 0.0

    def step_begins(self) -> None:
        """Note that a step begins. Raises Enough once there is no more to be timed."""
        timed = self.began - self.cold
        self.began += 1
        if timed == 0:
            self._start = clock()
        elif timed > 0 and timed % POOL == 0:
            taken = clock() - self._start
            self.step = taken / timed
            if taken >= self.seconds:
                raise Enough


def clock() -> float:
    """Return seconds: on a CPU of its own time, so that other processes take nothing from a row."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return time.monotonic()
    return time.process_time()


def _split(corpus: Path, recipe: Recipe, retriever: Retriever, work: WorkFolder) -> DevSplit:
    """Return the dev split as the training will carve it."""
    known = set(retriever.table.keys)
    qrels = find_file(corpus / "qrels", ["train.tsv"])
    queries = {} if qrels is None else read_train_queries(corpus / "queries.jsonl", qrels, known)
    training = recipe.training
    split = carve_dev(retriever.documents, queries, training.dev_queries, training.seed)
    if recipe.pseudo.source:
        split = join_queries(split, read_pseudo_queries(work.pseudo, known))
    return split._replace(questions={}) if recipe.decoding.mode == "free" else split


def facts(model: Path) -> dict[str, Any]:
    """Return what a trained model folder says of its steps, seconds and dev figures."""
    metrics = json.loads((model / "metrics.json").read_text(encoding="utf-8"))
    return {key: metrics[key] for key in ("steps", "seconds", "dev")}
