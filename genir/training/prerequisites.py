"""Models and generated queries that a training depends on, each made once in its working folder.

`Train` is `pipeline.train`, which trains these models with the same steps.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from accelerate import PartialState

from genir.config import PseudoQueriesSection, Recipe, is_recipe, load_recipe
from genir.corpus.layout import train_files
from genir.corpus.pseudo_queries import read_pseudo_queries
from genir.corpus.store import DocumentStore
from genir.errors import InputError
from genir.retriever import Retriever
from genir.tasks.base import TrainQueries
from genir.training.fingerprints import (
    QUERIES,
    read_inputs,
    require_same_data,
    require_unchanged_since,
)
from genir.training.job import TrainingJob
from genir.training.progress_display import log
from genir.training.pseudo_queries import copy_queries, is_file, make_queries
from genir.training.recipe_checks import dev_leak_warning, inherited_overrides, parent_overrides
from genir.training.resolve import TrainingRun

Train = Callable[[TrainingJob], Retriever]


def resolve_parent(run: TrainingRun, train: Train) -> Path | None:
    """Return the model folder to start from, after training it if a recipe is named."""
    recipe, name = run.recipe, run.recipe.model.init_from
    if not name:
        return None
    if not is_recipe(name):
        _warn_of_dev_leak(run, name)
        return Path(name)
    settings = [*inherited_overrides(recipe), *parent_overrides(recipe)]
    kind = load_recipe(name).model.kind
    if kind != recipe.model.kind:
        raise InputError(
            f"[model] init_from = {name!r} makes a {kind!r} model, but this recipe a "
            f"{recipe.model.kind!r} one; start from a model of the same kind"
        )
    _train_first(run, replace(run.job, recipe=name, out=run.work.start, settings=settings), train)
    return run.work.start


def train_passage_stage(run: TrainingRun, train: Train) -> Path | None:
    """Train the first of two stages on the same queries, and return its model folder."""
    recipe, work = run.recipe, run.work
    if recipe.passage_stage is None:
        return None
    fields = type(recipe.passage_stage).model_fields
    stage = {name: getattr(recipe.passage_stage, name) for name in fields}
    # The queries of both stages have been generated already.
    source = str(work.pseudo.resolve()) if recipe.pseudo_queries.source else ""
    pseudo = recipe.pseudo_queries.model_copy(update={"source": source})
    first = Recipe(name=f"{recipe.name}, first stage", pseudo_queries=pseudo, **stage)
    _train_first(run, replace(run.job, recipe=first, out=work.first, settings=()), train)
    return work.first


def write_pseudo_queries(run: TrainingRun, train: Train) -> None:
    """Write the file of generated queries; a recipe's generator is trained first."""
    recipe, work, state = run.recipe, run.work, PartialState()
    source = recipe.pseudo_queries.source
    if not source or work.pseudo.exists():
        return
    if is_recipe(source):
        settings = inherited_overrides(recipe)
        job = generator_job(run.job, recipe.pseudo_queries, work.generator, settings)
        _train_first(run, job, train)
        source = str(work.generator)
    elif not is_file(source):
        _warn_of_dev_leak(run, source)
    if state.is_main_process:
        documents = DocumentStore(work.corpus)
        check = partial(require_unchanged_since, work.path, run.job, recipe)
        if is_file(source):
            copy_queries(Path(source), documents.keys(), work.pseudo, check)
        else:
            check()
            make_queries(source, documents, recipe.pseudo_queries, work.pseudo)
        documents.close()
    state.wait_for_everyone()


def read_generated(run: TrainingRun, documents: DocumentStore) -> TrainQueries:
    """Return the generated queries; empty if the recipe has none."""
    if not run.recipe.pseudo_queries.source:
        return {}
    return read_pseudo_queries(run.work.pseudo, set(documents.keys()))


def generator_job(
    job: TrainingJob, options: PseudoQueriesSection, out: Path, settings: Sequence[str]
) -> TrainingJob:
    """Return the training job of the recipe that `options.source` names, on the same corpus.

    Args:
        settings: Overrides, applied before those of the options.

    Raises:
        InputError: there are no train queries, or the recipe does not generate text.
    """
    if job.queries is None and train_files(job.corpus) is None:
        raise InputError(
            f"[pseudo_queries] source = {options.source!r} is trained on queries, and {job.corpus} "
            "has none; name a transformers model or a .jsonl file of queries, or set "
            "pseudo_queries.source= to disable"
        )
    recipe = load_recipe(options.source, (*settings, *options.settings))
    if not recipe.decoding.is_text:
        raise InputError(
            f"[pseudo_queries] source = {options.source!r}: this recipe generates no queries; take "
            "'query-generator', or one with strategy = \"text\" under [decoding]"
        )
    return replace(job, recipe=recipe, out=out, settings=(), resume=True, overwrite=False)


def _train_first(run: TrainingRun, job: TrainingJob, train: Train) -> None:
    """Train a model that a run depends on. Raises InputError if its data are different."""
    made = train(replace(job, resume=True, overwrite=False))
    inputs = json.loads(made.attachments["metrics.json"])["inputs"]
    require_same_data(job.out, read_inputs(run.work.path), inputs)


def _warn_of_dev_leak(run: TrainingRun, folder: str) -> None:
    queries = read_inputs(run.work.path)[QUERIES]
    if text := dev_leak_warning(run.recipe, Path(folder), queries):
        log(text, PartialState().is_main_process)
