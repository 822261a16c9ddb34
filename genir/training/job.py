"""Training of a recipe, from corpus files to a model folder; resumable at any point."""

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path

from accelerate import PartialState
from accelerate.utils import parse_flag_from_env

from genir.config import PseudoSection, Recipe, dump_recipe, load_recipe
from genir.console import print_line
from genir.corpus.layout import train_files
from genir.corpus.pseudo import read_pseudo_queries
from genir.corpus.seen import digests_of, merged
from genir.corpus.store import DocumentStore
from genir.errors import InputError
from genir.folders import move_folder, refuse_existing
from genir.manifest import refuse_other_files
from genir.outputs import refuse_inside
from genir.retriever import TRAIN_QUERIES, Retriever
from genir.tasks.base import TrainQueries
from genir.tasks.registry import build_mixture
from genir.training.assembly import assemble
from genir.training.card import model_card
from genir.training.checkpoints import Progress, WorkFolder
from genir.training.curve import draw_curve
from genir.training.dev import measure_dev
from genir.training.display import say
from genir.training.fingerprints import (
    FILE,
    QUERIES,
    Inputs,
    files_read,
    names_recipe,
    queries_digest,
    read_inputs,
    refuse_changed,
    refuse_changed_since,
    refuse_other_data,
    training_inputs,
    write_inputs,
)
from genir.training.inputs import (
    check_networks,
    check_recipe,
    held_out_otherwise,
    same_as_start,
    shared,
    stages_of,
    train_queries,
)
from genir.training.loop import Trainer
from genir.training.precision_record import recorded_precision
from genir.training.pseudo import (
    copy_queries,
    is_file,
    is_recipe,
    join_queries,
    leave_out,
    make_queries,
)
from genir.training.split import DevSplit, carve_dev


@dataclass(frozen=True)
class Job:
    """Arguments of a training run. Without queries, the corpus folder's train split is used.

    Attributes:
        recipe: Recipe name, path of a recipe file, or a recipe.
    """

    recipe: str | Recipe
    corpus: Path
    out: Path
    queries: Path | None = None
    qrels: Path | None = None
    settings: Sequence[str] = ()
    resume: bool = False
    overwrite: bool = False
    base_url: str = ""


def train(job: Job, prepare_only: bool = False) -> Retriever:
    """Train a recipe on a corpus and return the saved retriever.

    A model folder at `out` is replaced only when the new one is complete.

    Args:
        prepare_only: Return the untrained retriever; `resume` continues with the first step.

    Raises:
        InputError: bad input.
        Stopped: on Ctrl-C; `resume` continues.
    """
    recipe = job.recipe
    if not isinstance(recipe, Recipe):
        recipe = load_recipe(recipe, job.settings)
    check_recipe(recipe)  # fail early
    if job.resume and job.out.exists() and not job.overwrite:
        return _finished(job, recipe)
    refuse_existing(job.out, job.overwrite)
    work = WorkFolder(job.out)
    _refuse_loss(job, recipe, work)
    # Before Accelerator exists: other processes wait here, up to hours, for the one that embeds
    # the corpus.
    state = PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"), timeout=timedelta(days=1))
    with work.open(job.resume, job.overwrite) if state.is_main_process else nullcontext():
        state.wait_for_everyone()
        if state.is_main_process:
            _note_inputs(job, recipe, work)
        with recorded_precision(work.precision, recipe.training.precision) as taken:
            _get_ready(job, recipe, work)
            if not prepare_only:
                _train(job, recipe, work, taken)
    return Retriever.load(work.prepared if prepare_only else job.out)


def _refuse_loss(job: Job, recipe: Recipe, work: WorkFolder) -> None:
    """Raise InputError if the training would remove one of its inputs."""
    refuse_other_files(job.out)
    read = files_read(job, recipe)
    refuse_inside("--out", job.out, read)
    if not job.resume:
        start = Path(recipe.model.start) if recipe.model.start else None
        refuse_inside("the working folder", work.path, {**read, "model.start": start})


def _note_inputs(job: Job, recipe: Recipe, work: WorkFolder) -> None:
    """Record the inputs; on resume, refuse changed ones.

    Raises:
        InputError: an input is invalid or has changed; names it.
    """
    known = read_inputs(work.path) if work.begun else None
    inputs = training_inputs(job, recipe, None if work.prepared.is_dir() else work.corpus)
    if known is None:
        write_inputs(work.path, inputs)
    else:
        refuse_changed(work.path, known, inputs)


def _get_ready(job: Job, recipe: Recipe, work: WorkFolder) -> None:
    """Create `prepared/` if it does not exist."""
    state = PartialState()
    if not work.prepared.is_dir():
        check_networks(recipe)
        start = _start(job, recipe, work)
        _make_up(job, recipe, work)
        first = _first(job, recipe, work)
        if state.is_main_process:
            _prepare(job, recipe, work, (start, first))
    state.wait_for_everyone()


def _train(job: Job, recipe: Recipe, work: WorkFolder, taken: Mapping[str, str]) -> None:
    state = PartialState()
    retriever = Retriever.load(work.prepared, "cpu")
    split = _split(job, recipe, retriever.documents, work)
    split = join_queries(split, _made(recipe, retriever.documents, work))
    trainer = Trainer(retriever, split, work)
    refuse_changed_since(work.path, job, recipe)
    progress = trainer.run()
    known = json.loads(retriever.attachments["metrics.json"])
    retriever.attachments["metrics.json"] = json.dumps({**known, "precision": taken}).encode()
    if state.is_main_process:
        _finish(job, retriever, split, progress, work)
    state.wait_for_everyone()


def _finished(job: Job, recipe: Recipe) -> Retriever:
    """Resume a completed training, which may have left its working folder.

    Raises:
        InputError: it was trained on other inputs.
    """
    retriever = Retriever.load(job.out)
    known = json.loads(retriever.attachments.get("metrics.json", b"{}")).get("inputs")
    if known is None:
        raise InputError(
            f"{job.out}: has no record of its inputs, so --resume cannot compare them; train it "
            "again with --overwrite"
        )
    refuse_changed(job.out, known, training_inputs(job, recipe))
    if PartialState().is_main_process:
        _remove_finished(WorkFolder(job.out), known)
    return retriever


def _remove_finished(work: WorkFolder, inputs: Inputs) -> None:
    """Remove the working folder of a completed training, unless it is of other inputs.

    Raises:
        InputError: as `WorkFolder.remove`.
    """
    work.refuse_foreign()
    if (work.path / FILE).is_file() and read_inputs(work.path) != inputs:
        print_line(
            f"{work.path}: contains an interrupted training of other inputs; it is kept",
            stderr=True,
        )
        return
    work.remove()


def _prepare(
    job: Job, recipe: Recipe, work: WorkFolder, earlier: tuple[Path | None, Path | None]
) -> None:
    began = time.monotonic()
    documents = DocumentStore(work.corpus)
    split = _split(job, recipe, documents, work)
    made = leave_out(split.questions, _made(recipe, documents, work))
    retriever = assemble(recipe, documents, split.train, *earlier, made)
    facts = {"seconds": time.monotonic() - began}
    retriever.attachments["metrics.json"] = json.dumps(facts).encode()
    retriever.attachments[TRAIN_QUERIES] = _queries_known(recipe, split, made, earlier)
    retriever.manifest["base_url"] = job.base_url
    refuse_changed_since(work.path, job, recipe)
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
    held_out = [] if split.made_up else split.questions
    files = (folder / TRAIN_QUERIES for folder in earlier if folder is not None)
    inherited = [file.read_bytes() for file in files if file.is_file()]
    return merged(digests_of([*asked, *held_out]), *inherited)


def _start(job: Job, recipe: Recipe, work: WorkFolder) -> Path | None:
    """Return the model folder to start from, after training it if a recipe is named."""
    name = recipe.model.start
    if not name:
        return None
    if not names_recipe(name):
        _tell(held_out_otherwise(recipe, Path(name), read_inputs(work.path)[QUERIES]))
        return Path(name)
    settings = [*shared(recipe), *same_as_start(recipe)]
    kind = load_recipe(name).model.kind
    if kind != recipe.model.kind:
        raise InputError(
            f"[model] start = {name!r} makes a {kind!r} model, but this recipe a "
            f"{recipe.model.kind!r} one; start from a model of the same kind"
        )
    _train_before(replace(job, recipe=name, out=work.start, settings=settings), work)
    return work.start


def _train_before(job: Job, work: WorkFolder) -> None:
    """Train a model that the training in `work` depends on.

    Raises:
        InputError: the corpus or the queries have changed in between.
    """
    made = train(replace(job, resume=True, overwrite=False))
    inputs = json.loads(made.attachments["metrics.json"])["inputs"]
    refuse_other_data(job.out, read_inputs(work.path), inputs)


def _tell(text: str) -> None:
    if text:
        say(text, PartialState().is_main_process)


def _first(job: Job, recipe: Recipe, work: WorkFolder) -> Path | None:
    """Train the first of two stages on the same queries, and return its model folder."""
    if recipe.first is None:
        return None
    stage = {name: getattr(recipe.first, name) for name in type(recipe.first).model_fields}
    # The queries of both stages have been generated already.
    source = str(work.pseudo.resolve()) if recipe.pseudo.source else ""
    pseudo = recipe.pseudo.model_copy(update={"source": source})
    first = Recipe(name=f"{recipe.name}, first stage", pseudo=pseudo, **stage)
    _train_before(replace(job, recipe=first, out=work.first, settings=()), work)
    return work.first


def _make_up(job: Job, recipe: Recipe, work: WorkFolder) -> None:
    """Write the file of generated queries; a recipe's generator is trained first."""
    source, state = recipe.pseudo.source, PartialState()
    if not source or work.pseudo.exists():
        return
    if is_recipe(source):
        settings = shared(recipe)
        _train_before(generator_job(job, recipe.pseudo, work.generator, settings), work)
        source = str(work.generator)
    elif not is_file(source):
        _tell(held_out_otherwise(recipe, Path(source), read_inputs(work.path)[QUERIES]))
    if state.is_main_process:
        documents = DocumentStore(work.corpus)
        check = partial(refuse_changed_since, work.path, job, recipe)
        if is_file(source):
            copy_queries(Path(source), documents.keys(), work.pseudo, check)
        else:
            check()
            make_queries(source, documents, recipe.pseudo, work.pseudo)
        documents.close()
    state.wait_for_everyone()


def _made(recipe: Recipe, documents: DocumentStore, work: WorkFolder) -> TrainQueries:
    """Return the generated queries; empty if the recipe has none."""
    if not recipe.pseudo.source:
        return {}
    return read_pseudo_queries(work.pseudo, set(documents.keys()))


def generator_job(job: Job, options: PseudoSection, out: Path, settings: Sequence[str]) -> Job:
    """Return the training job of the recipe that `options.source` names, on the same corpus.

    Args:
        settings: Overrides, applied before those of the options.

    Raises:
        InputError: there are no train queries, or the recipe does not generate text.
    """
    if job.queries is None and train_files(job.corpus) is None:
        raise InputError(
            f"[pseudo] source = {options.source!r} is trained on queries, and {job.corpus} has "
            "none; name a transformers model or a .jsonl file of queries, or set pseudo.source= to "
            "disable"
        )
    changes = (*settings, *options.settings)
    recipe = load_recipe(options.source, changes)
    if recipe.decoding.mode != "free":
        raise InputError(
            f"[pseudo] source = {options.source!r}: this recipe generates no queries; take "
            "'query-generator', or one with mode = \"free\" under [decoding]"
        )
    return replace(job, recipe=recipe, out=out, settings=(), resume=True, overwrite=False)


def _split(job: Job, recipe: Recipe, documents: DocumentStore, work: WorkFolder) -> DevSplit:
    queries = train_queries(job.corpus, job.queries, job.qrels, set(documents.keys()))
    known = read_inputs(work.path)  # a file may have changed during preparation
    refuse_changed(work.path, known, known | {QUERIES: queries_digest(queries)})
    split = carve_dev(documents, queries, recipe.training.dev_queries, recipe.training.seed)
    # A query generator is not evaluated on dev queries, but must not be trained on them either.
    return split._replace(questions={}) if recipe.decoding.mode == "free" else split


def _finish(
    job: Job, retriever: Retriever, split: DevSplit, progress: Progress, work: WorkFolder
) -> None:
    """Write the model folder with the best weights, metrics, curve and card.

    It is written to the working folder and then moved, so a kill leaves no partial folder.
    """
    prepared = json.loads(retriever.attachments["metrics.json"])
    work.restore_best(retriever.model, progress)
    began = time.monotonic()
    retriever.model.finish(retriever.documents)
    retriever.guards = retriever.model.guard(split.train, retriever.table)
    finishing = time.monotonic() - began
    best = max(progress.history, key=lambda row: (row["RR@10"], row["step"]))
    metrics = {
        "recipe": retriever.recipe.name,
        "steps": progress.step,
        "precision": prepared["precision"],
        "seconds": {"preparing": round(prepared["seconds"], 1),
                    "training": round(progress.seconds, 1),
                    "finishing": round(finishing, 1)},
        "dev": {"questions": len(split.questions), "made_up": split.made_up, **best,
                **measure_dev(retriever, split.questions)},
        "history": progress.history,
        "inputs": read_inputs(work.path),
    }  # fmt: skip
    picture = work.path / "training.png"
    draw_curve(progress.history, f"{retriever.recipe.name} on {job.corpus.name}", picture)
    retriever.attachments = {
        "metrics.json": (json.dumps(metrics, indent=2) + "\n").encode(),
        "training.png": picture.read_bytes(),
        "MODEL_CARD.md": model_card(retriever, metrics, dump_recipe(retriever.recipe)).encode(),
        TRAIN_QUERIES: retriever.attachments[TRAIN_QUERIES],
    }
    retriever.model.eval()
    retriever.save(work.finished, overwrite=True)
    retriever.documents.close()
    refuse_existing(job.out, job.overwrite)
    refuse_other_files(job.out)
    move_folder(work.finished, work.target)
    work.close()
