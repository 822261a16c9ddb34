"""Training of a recipe, from corpus files to a model folder; resumable at any point.

The steps: `resolve` checks the job, `build` makes the untrained model, `fit` trains it, and
`publish` writes the model folder.
"""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path

from accelerate import PartialState
from accelerate.utils import parse_flag_from_env

from genir.config import Recipe
from genir.corpus.query_digests import digests_of, merge_digests
from genir.corpus.readers import site_url
from genir.corpus.store import DocumentStore
from genir.retriever import Retriever
from genir.tasks.base import TrainQueries
from genir.tasks.registry import build_mixture
from genir.training.build import build_retriever
from genir.training.dev_split import DevSplit, make_dev_split
from genir.training.fingerprints import (
    QUERIES,
    queries_digest,
    read_inputs,
    require_unchanged,
    require_unchanged_since,
    training_inputs,
    write_inputs,
)
from genir.training.job import TrainingJob
from genir.training.loop import Trainer
from genir.training.precision_record import recorded_precision
from genir.training.prerequisites import (
    read_generated,
    resolve_parent,
    train_passage_stage,
    write_pseudo_queries,
)
from genir.training.pseudo_queries import join_queries, leave_out
from genir.training.publish import Trained, publish, resume_finished
from genir.training.recipe_checks import (
    check_networks,
    query_vectors_of,
    stages_of,
    train_queries,
)
from genir.training.resolve import TrainingRun, resolve
from genir.updates.model_folder import TRAIN_QUERIES

__all__ = ["TrainingJob", "train"]


def train(job: TrainingJob, prepare_only: bool = False) -> Retriever:
    """Train a recipe on a corpus and return the saved retriever.

    A model folder at `out` is replaced only when the new one is complete.

    Args:
        prepare_only: Return the untrained retriever; `resume` continues with the first step.

    Raises:
        InputError: the recipe, a file or an option is invalid.
        Stopped: on Ctrl-C; `resume` continues.
    """
    run = resolve(job)
    if run.finished:
        return resume_finished(run)
    with _working_folder(run) as precision:
        build(run)
        if not prepare_only:
            trained = fit(run)
            if PartialState().is_main_process:
                publish(run, trained, precision)
            PartialState().wait_for_everyone()
    return Retriever.load(run.work.prepared if prepare_only else job.out)


@contextmanager
def _working_folder(run: TrainingRun) -> Iterator[Mapping[str, str]]:
    """Lock the working folder, compare or record the inputs; yield the precision by workload."""
    # Before Accelerator exists: other processes wait here, up to hours, for the one that embeds
    # the corpus.
    state = PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"), timeout=timedelta(days=1))
    locked = run.work.open(run.job.resume, run.job.overwrite)
    with locked if state.is_main_process else nullcontext():
        state.wait_for_everyone()
        if state.is_main_process:
            _note_inputs(run)
        asked = run.recipe.training.precision
        with recorded_precision(run.work.precision, asked) as precision:
            yield precision


def _note_inputs(run: TrainingRun) -> None:
    work = run.work
    known = read_inputs(work.path) if work.begun else None
    inputs = training_inputs(run.job, run.recipe, None if work.prepared.is_dir() else work.corpus)
    if known is None:
        write_inputs(work.path, inputs)
    else:
        require_unchanged(work.path, known, inputs)


def build(run: TrainingRun) -> None:
    """Make the untrained model folder `prepared/`, after the models that it depends on."""
    state = PartialState()
    if not run.work.prepared.is_dir():
        check_networks(run.recipe)
        parent = resolve_parent(run, train)
        write_pseudo_queries(run, train)
        first = train_passage_stage(run, train)
        if state.is_main_process:
            _prepare(run, parent, first)
    state.wait_for_everyone()


def _prepare(run: TrainingRun, parent: Path | None, first: Path | None) -> None:
    """Write `prepared/`. first: model folder of the first of two stages."""
    began = time.monotonic()
    recipe, work = run.recipe, run.work
    documents = DocumentStore(work.corpus)
    split = _dev_split(run, documents)
    made = leave_out(split.questions, read_generated(run, documents))
    retriever = build_retriever(
        recipe, documents, split.train, parent, None if first is None else first.parent, made
    )
    facts = {"seconds": time.monotonic() - began}
    retriever.attachments["metrics.json"] = json.dumps(facts).encode()
    retriever.attachments[TRAIN_QUERIES] = _queries_known(recipe, split, made, (parent, first))
    retriever.set_base_url(run.job.base_url or site_url(run.job.corpus))
    require_unchanged_since(work.path, run.job, recipe)
    retriever.save(work.prepared)
    documents.close()
    work.corpus.unlink()


def _queries_known(
    recipe: Recipe, split: DevSplit, made: TrainQueries, earlier: tuple[Path | None, Path | None]
) -> bytes:
    """Return digests of all queries that the model or its ancestors are trained on."""
    asked = [text for own in (split.train, made) for texts in own.values() for text in texts]
    for stage in stages_of(recipe):
        for task, _ in build_mixture(stage.tasks, stage.training.seed).tasks:
            asked += task.own_queries()
    held_out = [] if split.is_synthetic else split.questions
    files = (folder / TRAIN_QUERIES for folder in earlier if folder is not None)
    inherited = [file.read_bytes() for file in files if file.is_file()]
    return merge_digests(digests_of([*asked, *held_out]), *inherited)


def fit(run: TrainingRun) -> Trained:
    """Train the prepared model to its last step, from the last checkpoint if there is one."""
    retriever = Retriever.load(run.work.prepared, "cpu")
    split = _dev_split(run, retriever.documents)
    split = join_queries(split, read_generated(run, retriever.documents))
    trainer = Trainer(retriever, split, run.work, on_step=run.job.on_step)
    require_unchanged_since(run.work.path, run.job, run.recipe)
    return Trained(retriever, split, trainer.run())


def _dev_split(run: TrainingRun, documents: DocumentStore) -> DevSplit:
    """Return the train and dev queries. Raises InputError if they have changed since recorded."""
    job, training = run.job, run.recipe.training
    vectors = query_vectors_of(run.recipe)
    keys = set(documents.keys())
    queries = train_queries(job.corpus, job.queries, job.qrels, keys, vectors=vectors)
    known = read_inputs(run.work.path)  # a file may have changed during preparation
    require_unchanged(run.work.path, known, known | {QUERIES: queries_digest(queries)})
    split = make_dev_split(documents, queries, training.dev_queries, training.seed)
    # A query generator is not evaluated on dev queries, but must not be trained on them either.
    return split._replace(questions={}) if run.recipe.decoding.is_text else split
