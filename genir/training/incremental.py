"""Incremental training of a model on documents added since its training, while it is served.

A snapshot of the live documents is trained in `<model>.refresh` on the new documents and a replay
of old ones. It replaces the model atomically, and only if old documents rank as well as before.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from math import isfinite
from pathlib import Path
from random import Random
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from genir.config import Recipe, validate
from genir.corpus.pseudo_queries import read_pseudo_queries
from genir.corpus.query_digests import digests_of, merge_digests
from genir.corpus.readers import read_train_queries
from genir.errors import InputError
from genir.models.digests import file_digest
from genir.models.insertion import Insertable
from genir.overrides import apply_settings
from genir.retriever import Retriever
from genir.tasks.base import TrainQueries
from genir.tasks.registry import task_options
from genir.training.adapters import add_adapters, merge_adapters
from genir.training.checkpoints import WorkFolder
from genir.training.dev_eval import evaluate_dev, shown
from genir.training.dev_split import DevSplit, make_dev_split
from genir.training.fingerprints import (
    FILE,
    QUERIES,
    Inputs,
    options_inputs,
    queries_digest,
    read_inputs,
    recipe_settings,
    require_unchanged,
    write_inputs,
)
from genir.training.loop import StepCallback, Trainer, skips_training
from genir.training.losses.registry import loss_options
from genir.training.precision_record import recorded_precision
from genir.training.pseudo_queries import join_queries
from genir.training.recipe_checks import check_recipe
from genir.types import Document, Example
from genir.updates.model_folder import TRAIN_QUERIES
from genir.updates.saving import replace_model, write_snapshot

WORK_SUFFIX = ".refresh"
DEFAULT_OVERRIDES = ("training.epochs=2", "training.learning_rate=2e-5", "training.num_dev_evals=2")
"""Overrides of the model's own training settings."""


@dataclass(frozen=True)
class RefreshRequest:
    """Arguments of `genir refresh`.

    Attributes:
        queries: Queries of old or new documents; likewise `qrels` and `pseudo`.
        replay: Examples of old documents per example of a new one.
        adapters: LoRA rank; 0 trains all weights of the encoder.
        tolerance: Maximum decrease of RR@10 on dev queries of old documents.
        on_step: Called after each step.
    """

    model: Path
    queries: Path | None = None
    qrels: Path | None = None
    pseudo: Path | None = None
    settings: Sequence[str] = ()
    replay: float = 2.0
    adapters: int = 0
    tolerance: float = 0.01
    resume: bool = False
    overwrite: bool = False
    on_step: Sequence[StepCallback] = ()


class BeforeAfter(NamedTuple):
    """Number of dev queries, and RR@10 on them before and after; None without dev queries."""

    questions: int
    before: float | None
    after: float | None

    def loss(self) -> float:
        """Return the decrease of RR@10; 0 if it was not measured."""
        return (self.before or 0.0) - (self.after or 0.0)


@dataclass(frozen=True)
class RefreshResult:
    """Result of a refresh: number of documents, and dev scores of old and new documents."""

    version: int
    documents: int
    steps: int
    seconds: float
    old: BeforeAfter
    new: BeforeAfter


def refresh(request: RefreshRequest) -> RefreshResult:
    """Train a model on added documents and replace it by the result.

    The model is unchanged after an exception.

    Raises:
        InputError: bad input, no added documents, or a loss on old documents above the tolerance.
        Stopped: on Ctrl-C.
    """
    _check_numbers(request)
    retriever = Retriever.load(request.model)
    values = retriever.recipe.model_dump(mode="json", exclude_none=True)
    apply_settings(values, [*DEFAULT_OVERRIDES, *request.settings], Recipe)
    recipe = validate(Recipe, values, "refresh")
    work = WorkFolder(request.model, WORK_SUFFIX)
    _forget_finished(retriever, work)
    if retriever.insert_unsupported_reason:
        raise InputError(retriever.insert_unsupported_reason)
    if not retriever.model.is_trainable:
        raise InputError(
            f"{request.model}: its vectors are given and no network makes them, so there is "
            "nothing to refresh; train it again with the new vectors"
        )
    check_recipe(recipe)
    if recipe.training.source_length > retriever.recipe.training.source_length:
        retriever.model.check_source_length(recipe.training.source_length)
    if not work.prepared.is_dir() and not _untrained_mask(retriever).any():
        raise InputError(f"{request.model}: no document was added since training; use genir add")
    if request.pseudo is None and skips_training(recipe, _queries(request, retriever)):
        raise InputError(
            f"{request.model}: the recipe is trained on queries only, and there are none; give "
            "--queries and --qrels of the new documents, or --set training.without_queries=train"
        )
    began = time.monotonic()
    asked = recipe.training.precision
    with (
        work.open(request.resume, request.overwrite),
        recorded_precision(work.precision, asked) as taken,
    ):
        if not work.prepared.is_dir():
            write_snapshot(retriever.updates, work.prepared)
        before = Retriever.load(work.prepared, retriever.model.device)
        models = retriever, before

        def check() -> None:
            known = read_inputs(work.path)
            require_unchanged(work.path, known, _inputs(request, recipe, models))

        if any(path.exists() for path in (work.path / FILE, work.checkpoint, work.best)):
            check()
        write_inputs(work.path, _inputs(request, recipe, models))
        split = _split(request, recipe, before)
        fresh, steps = _train(request, recipe, work, split, check)
        old, new = _compare_dev_metrics(request, split, before, fresh)
        learned, seconds = before.version, round(time.monotonic() - began, 1)
        found = RefreshResult(learned, int(_untrained_mask(before).sum()), steps, seconds, old, new)
        _record_metrics(fresh, found, taken)
        replace_model(retriever.updates, fresh.updates.loaded, learned)
    for one in (before, fresh):
        one.documents.close()
    work.close()
    return replace(found, version=retriever.version)


def _check_numbers(request: RefreshRequest) -> None:
    for name in ("replay", "tolerance"):
        value = getattr(request, name)
        if not isfinite(value):
            raise InputError(f"{name} {value} is not a finite number; give e.g. 0.01")


def _forget_finished(retriever: Retriever, work: WorkFolder) -> None:
    """Remove the working folder of a refresh that was killed after replacing the model."""
    if (work.prepared / "manifest.json").is_file():
        manifest = json.loads((work.prepared / "manifest.json").read_text(encoding="utf-8"))
        if retriever.index.learned >= int(manifest["version"]) > 0:
            work.remove()


def _untrained_mask(retriever: Retriever) -> NDArray[np.bool_]:
    """Return the mask of live, untrained documents, bool [documents]."""
    return retriever.index.alive & retriever.index.untrained


# --- training data -----------------------------------------------------------------------------


@dataclass(frozen=True)
class OldNewSplit:
    """Train and dev queries of all documents, and dev queries of old and of new documents."""

    all: DevSplit
    old: DevSplit
    new: DevSplit


def _split(request: RefreshRequest, recipe: Recipe, snapshot: Retriever) -> OldNewSplit:
    queries, new = _queries(request, snapshot), _untrained_mask(snapshot)
    halves = []
    for chosen in (~new, new):
        numbers = np.flatnonzero(chosen).tolist()
        found = snapshot.documents.numbered(numbers)
        documents: list[Document] = [found[number] for number in numbers]
        keys = {document.key for document in documents}
        own = {key: texts for key, texts in queries.items() if key in keys}
        training = recipe.training
        halves.append(make_dev_split(documents, own, training.dev_queries, training.seed))
    old, fresh = halves
    questions = dict(old.questions)
    for text, answers in fresh.questions.items():
        questions[text] = questions.get(text, frozenset()) | answers
        # A query held out of one half must not be trained on in the other.
    whole = join_queries(DevSplit({}, questions, old.is_synthetic), {**old.train, **fresh.train})
    if request.pseudo is not None:
        made = read_pseudo_queries(request.pseudo, set(snapshot.table.keys))
        whole = join_queries(whole, made)
    return OldNewSplit(whole, old, fresh)


def _queries(request: RefreshRequest, snapshot: Retriever) -> TrainQueries:
    queries, qrels = request.queries, request.qrels
    if (queries is None) != (qrels is None):
        raise InputError("--queries and --qrels: give both, or neither")
    if queries is None or qrels is None:
        return {}
    return read_train_queries(queries, qrels, set(snapshot.table.keys))


class Replay:
    """Selects all examples of new documents and `share` examples of old ones for each."""

    def __init__(self, retriever: Retriever, share: float) -> None:
        self.table, self.new = retriever.table, _untrained_mask(retriever)
        self.share, self.seed = share, retriever.recipe.training.seed

    def __call__(self, epoch: int, examples: list[Example]) -> list[Example]:
        """Return the selected examples, shuffled. Raises InputError if none is new."""
        rng = Random(f"replay {self.seed} {epoch}")
        new = [one for one in examples if self._is_new(one)]
        old = [one for one in examples if not self._is_new(one)]
        if not new:
            raise InputError(
                "the recipe's tasks make no example of the new documents; give --queries and "
                "--qrels for them, or --set tasks.0.task=spans"
            )
        chosen = new + rng.sample(old, min(len(old), round(self.share * len(new))))
        rng.shuffle(chosen)
        return chosen

    def _is_new(self, example: Example) -> bool:
        if isinstance(example.target, str):
            return False  # a text target has no document
        rows = [self.table.row_of(target) for target in (example.target, *example.extra_targets)]
        return bool(self.new[self.table.documents[rows]].any())


def _train(
    request: RefreshRequest,
    recipe: Recipe,
    work: WorkFolder,
    split: OldNewSplit,
    check: Callable[[], None],
) -> tuple[Retriever, int]:
    """Train the snapshot from its last checkpoint; return the result and the number of steps.

    check: called after all reading; raises InputError if an input file has changed.
    """
    fresh = Retriever.load(work.prepared, "cpu").with_recipe(recipe)
    if isinstance(fresh.model, Insertable):
        fresh.model.freeze_others(np.flatnonzero(_untrained_mask(fresh)).tolist())
    if request.adapters:
        torch.manual_seed(recipe.training.seed)
        add_adapters(fresh.model, request.adapters)
    replay = Replay(fresh, request.replay)
    metrics = json.loads(fresh.attachments.get("metrics.json", b"{}"))
    trained = bool(metrics.get("steps") or metrics.get("refreshes"))
    trainer = Trainer(fresh, split.all, work, replay, trained, request.on_step)
    check()
    progress = trainer.run()
    work.restore_best(fresh.model, progress)
    if request.adapters:
        merge_adapters(fresh.model)
    fresh.model.eval()  # skip `finish`: rows already include the encoder's vector
    # Vectors of another encoder are not comparable; without known queries, rows replace them.
    fresh.protect_queries(split.all.train)
    texts = [text for own in split.all.train.values() for text in own]
    learned = digests_of([*texts, *split.all.questions])
    known = fresh.attachments.get(TRAIN_QUERIES, b"")
    fresh.attachments[TRAIN_QUERIES] = merge_digests(known, learned)
    return fresh, progress.step


def _inputs(request: RefreshRequest, recipe: Recipe, models: tuple[Retriever, Retriever]) -> Inputs:
    model, snapshot = models  # the served model, and the snapshot that is trained
    options = [*map(task_options, recipe.tasks), *map(loss_options, recipe.losses)]
    found: Inputs = {
        "model": _identity(model),
        "setting replay": str(request.replay),
        "setting adapters": str(request.adapters),
        QUERIES: queries_digest(_queries(request, snapshot)),
        **recipe_settings(recipe),
        **options_inputs(options),
    }
    if request.pseudo is not None:
        found[f"file {request.pseudo}"] = file_digest(request.pseudo)
    return found


def _identity(model: Retriever) -> str:
    """Return a digest of a model's training metrics, to detect a replaced model."""
    record = json.loads(model.attachments.get("metrics.json", b"{}"))
    record.pop("refreshes", None)
    return f"sha256 {sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()}"


# --- evaluation and publication ----------------------------------------------------------------


def _compare_dev_metrics(
    request: RefreshRequest, split: OldNewSplit, before: Retriever, after: Retriever
) -> tuple[BeforeAfter, BeforeAfter]:
    """Return dev scores of old and new documents. Raises InputError if a decrease is too large."""
    old, new = (
        BeforeAfter(
            len(asked), evaluate_dev(before, asked)["RR@10"], evaluate_dev(after, asked)["RR@10"]
        )
        for asked in (split.old.questions, split.new.questions)
    )
    if old.loss() > request.tolerance:
        raise InputError(
            f"{request.model}: RR@10 of old documents would fall from {shown(old.before)} to "
            f"{shown(old.after)}, by more than {request.tolerance}; nothing has changed. Raise "
            "--replay or lower --set training.learning_rate, and --overwrite to start over"
        )
    if new.loss() > request.tolerance:
        raise InputError(
            f"{request.model}: RR@10 of the new documents would fall from {shown(new.before)} to "
            f"{shown(new.after)}; nothing has changed. Give --queries of theirs, or lower --set "
            "training.head_learning_rate, and --overwrite to start over"
        )
    return old, new


def _record_metrics(fresh: Retriever, found: RefreshResult, taken: Mapping[str, str]) -> None:
    metrics = json.loads(fresh.attachments.get("metrics.json", b"{}"))
    metrics.setdefault("refreshes", []).append({**asdict(found), "precision": taken})
    fresh.attachments["metrics.json"] = (json.dumps(metrics, indent=2) + "\n").encode()
