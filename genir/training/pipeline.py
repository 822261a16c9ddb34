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

from genir.atomic_dirs import move_folder, require_absent
from genir.config import PseudoQueriesSection, Recipe, dump_recipe, load_recipe
from genir.console import print_line
from genir.corpus.layout import train_files
from genir.corpus.pseudo_queries import read_pseudo_queries
from genir.corpus.query_digests import digests_of, merge_digests
from genir.corpus.store import DocumentStore
from genir.errors import InputError
from genir.manifest import refuse_other_files
from genir.outputs import require_outside
from genir.retriever import TRAIN_QUERIES, Retriever
from genir.tasks.base import TrainQueries
from genir.tasks.registry import build_mixture
from genir.training.build import build_retriever
from genir.training.checkpoints import Progress, WorkFolder
from genir.training.dev_eval import evaluate_dev
from genir.training.dev_split import DevSplit, make_dev_split
from genir.training.fingerprints import (
    FILE,
    QUERIES,
    Inputs,
    files_read,
    names_recipe,
    queries_digest,
    read_inputs,
    require_same_data,
    require_unchanged,
    require_unchanged_since,
    training_inputs,
    write_inputs,
)
from genir.training.loop import Trainer
from genir.training.model_card import model_card
from genir.training.plots import draw_curve
from genir.training.precision_record import recorded_precision
from genir.training.progress_display import log
from genir.training.pseudo_queries import (
    copy_queries,
    is_file,
    is_recipe,
    join_queries,
    leave_out,
    make_queries,
)
from genir.training.recipe_checks import (
    check_networks,
    check_recipe,
    dev_leak_warning,
    inherited_overrides,
    parent_overrides,
    stages_of,
    train_queries,
)


@dataclass(frozen=True)
class TrainingJob:
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


def train(job: TrainingJob, prepare_only: bool = False) -> Retriever:
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
    require_absent(job.out, job.overwrite)
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
            _prepare_folder(job, recipe, work)
            if not prepare_only:
                _train(job, recipe, work, taken)
    return Retriever.load(work.prepared if prepare_only else job.out)


def _refuse_loss(job: TrainingJob, recipe: Recipe, work: WorkFolder) -> None:
    """Raise InputError if the training would remove one of its inputs."""
    refuse_other_files(job.out)
    read = files_read(job, recipe)
    require_outside("--out", job.out, read)
    if not job.resume:
        start = Path(recipe.model.init_from) if recipe.model.init_from else None
        require_outside("the working folder", work.path, {**read, "model.init_from": start})


def _note_inputs(job: TrainingJob, recipe: Recipe, work: WorkFolder) -> None:
    """Record the inputs; on resume, refuse changed ones."""
    known = read_inputs(work.path) if work.begun else None
    inputs = training_inputs(job, recipe, None if work.prepared.is_dir() else work.corpus)
    if known is None:
        write_inputs(work.path, inputs)
    else:
        require_unchanged(work.path, known, inputs)


def _prepare_folder(job: TrainingJob, recipe: Recipe, work: WorkFolder) -> None:
    """Create `prepared/` if it does not exist."""
    state = PartialState()
    if not work.prepared.is_dir():
        check_networks(recipe)
        start = _resolve_parent(job, recipe, work)
        _generate_queries(job, recipe, work)
        first = _train_passage_stage(job, recipe, work)
        if state.is_main_process:
            _prepare(job, recipe, work, (start, first))
    state.wait_for_everyone()


def _train(job: TrainingJob, recipe: Recipe, work: WorkFolder, taken: Mapping[str, str]) -> None:
    state = PartialState()
    retriever = Retriever.load(work.prepared, "cpu")
    split = _split(job, recipe, retriever.documents, work)
    split = join_queries(split, _generated_queries(recipe, retriever.documents, work))
    trainer = Trainer(retriever, split, work)
    require_unchanged_since(work.path, job, recipe)
    progress = trainer.run()
    known = json.loads(retriever.attachments["metrics.json"])
    retriever.attachments["metrics.json"] = json.dumps({**known, "precision": taken}).encode()
    if state.is_main_process:
        _finish(job, retriever, split, progress, work)
    state.wait_for_everyone()


def _finished(job: TrainingJob, recipe: Recipe) -> Retriever:
    """Resume a completed training, which may have left its working folder."""
    retriever = Retriever.load(job.out)
    known = json.loads(retriever.attachments.get("metrics.json", b"{}")).get("inputs")
    if known is None:
        raise InputError(
            f"{job.out}: has no record of its inputs, so --resume cannot compare them; train it "
            "again with --overwrite"
        )
    require_unchanged(job.out, known, training_inputs(job, recipe))
    if PartialState().is_main_process:
        _remove_finished(WorkFolder(job.out), known)
    return retriever


def _remove_finished(work: WorkFolder, inputs: Inputs) -> None:
    """Remove the working folder of a completed training, unless it is of other inputs."""
    work.refuse_foreign()
    if (work.path / FILE).is_file() and read_inputs(work.path) != inputs:
        print_line(
            f"{work.path}: contains an interrupted training of other inputs; it is kept",
            stderr=True,
        )
        return
    work.remove()


def _prepare(
    job: TrainingJob, recipe: Recipe, work: WorkFolder, earlier: tuple[Path | None, Path | None]
) -> None:
    began = time.monotonic()
    documents = DocumentStore(work.corpus)
    split = _split(job, recipe, documents, work)
    made = leave_out(split.questions, _generated_queries(recipe, documents, work))
    retriever = build_retriever(recipe, documents, split.train, *earlier, made)
    facts = {"seconds": time.monotonic() - began}
    retriever.attachments["metrics.json"] = json.dumps(facts).encode()
    retriever.attachments[TRAIN_QUERIES] = _queries_known(recipe, split, made, earlier)
    retriever.manifest["base_url"] = job.base_url
    require_unchanged_since(work.path, job, recipe)
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


def _resolve_parent(job: TrainingJob, recipe: Recipe, work: WorkFolder) -> Path | None:
    """Return the model folder to start from, after training it if a recipe is named."""
    name = recipe.model.init_from
    if not name:
        return None
    if not names_recipe(name):
        _log(dev_leak_warning(recipe, Path(name), read_inputs(work.path)[QUERIES]))
        return Path(name)
    settings = [*inherited_overrides(recipe), *parent_overrides(recipe)]
    kind = load_recipe(name).model.kind
    if kind != recipe.model.kind:
        raise InputError(
            f"[model] init_from = {name!r} makes a {kind!r} model, but this recipe a "
            f"{recipe.model.kind!r} one; start from a model of the same kind"
        )
    _train_prerequisite(replace(job, recipe=name, out=work.start, settings=settings), work)
    return work.start


def _train_prerequisite(job: TrainingJob, work: WorkFolder) -> None:
    """Train a model that the training in `work` depends on."""
    made = train(replace(job, resume=True, overwrite=False))
    inputs = json.loads(made.attachments["metrics.json"])["inputs"]
    require_same_data(job.out, read_inputs(work.path), inputs)


def _log(text: str) -> None:
    if text:
        log(text, PartialState().is_main_process)


def _train_passage_stage(job: TrainingJob, recipe: Recipe, work: WorkFolder) -> Path | None:
    """Train the first of two stages on the same queries, and return its model folder."""
    if recipe.passage_stage is None:
        return None
    stage = {
        name: getattr(recipe.passage_stage, name)
        for name in type(recipe.passage_stage).model_fields
    }
    # The queries of both stages have been generated already.
    source = str(work.pseudo.resolve()) if recipe.pseudo_queries.source else ""
    pseudo = recipe.pseudo_queries.model_copy(update={"source": source})
    first = Recipe(name=f"{recipe.name}, first stage", pseudo_queries=pseudo, **stage)
    _train_prerequisite(replace(job, recipe=first, out=work.first, settings=()), work)
    return work.first


def _generate_queries(job: TrainingJob, recipe: Recipe, work: WorkFolder) -> None:
    """Write the file of generated queries; a recipe's generator is trained first."""
    source, state = recipe.pseudo_queries.source, PartialState()
    if not source or work.pseudo.exists():
        return
    if is_recipe(source):
        settings = inherited_overrides(recipe)
        _train_prerequisite(
            generator_job(job, recipe.pseudo_queries, work.generator, settings), work
        )
        source = str(work.generator)
    elif not is_file(source):
        _log(dev_leak_warning(recipe, Path(source), read_inputs(work.path)[QUERIES]))
    if state.is_main_process:
        documents = DocumentStore(work.corpus)
        check = partial(require_unchanged_since, work.path, job, recipe)
        if is_file(source):
            copy_queries(Path(source), documents.keys(), work.pseudo, check)
        else:
            check()
            make_queries(source, documents, recipe.pseudo_queries, work.pseudo)
        documents.close()
    state.wait_for_everyone()


def _generated_queries(recipe: Recipe, documents: DocumentStore, work: WorkFolder) -> TrainQueries:
    """Return the generated queries; empty if the recipe has none."""
    if not recipe.pseudo_queries.source:
        return {}
    return read_pseudo_queries(work.pseudo, set(documents.keys()))


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
            "has "
            "none; name a transformers model or a .jsonl file of queries, or set "
            "pseudo_queries.source= to "
            "disable"
        )
    changes = (*settings, *options.settings)
    recipe = load_recipe(options.source, changes)
    if recipe.decoding.mode != "text":
        raise InputError(
            f"[pseudo_queries] source = {options.source!r}: this recipe generates no queries; take "
            "'query-generator', or one with mode = \"text\" under [decoding]"
        )
    return replace(job, recipe=recipe, out=out, settings=(), resume=True, overwrite=False)


def _split(
    job: TrainingJob, recipe: Recipe, documents: DocumentStore, work: WorkFolder
) -> DevSplit:
    queries = train_queries(job.corpus, job.queries, job.qrels, set(documents.keys()))
    known = read_inputs(work.path)  # a file may have changed during preparation
    require_unchanged(work.path, known, known | {QUERIES: queries_digest(queries)})
    split = make_dev_split(documents, queries, recipe.training.dev_queries, recipe.training.seed)
    # A query generator is not evaluated on dev queries, but must not be trained on them either.
    return split._replace(questions={}) if recipe.decoding.mode == "text" else split


def _finish(
    job: TrainingJob, retriever: Retriever, split: DevSplit, progress: Progress, work: WorkFolder
) -> None:
    """Write the model folder with the best weights, metrics, curve and card.

    It is written to the working folder and then moved, so a kill leaves no partial folder.
    """
    prepared = json.loads(retriever.attachments["metrics.json"])
    work.restore_best(retriever.model, progress)
    began = time.monotonic()
    retriever.model.after_training(retriever.documents)
    retriever.protected_queries = retriever.model.protected_queries(split.train, retriever.table)
    finishing = time.monotonic() - began
    best = max(progress.history, key=lambda row: (row["RR@10"], row["step"]))
    metrics = {
        "recipe": retriever.recipe.name,
        "steps": progress.step,
        "precision": prepared["precision"],
        "seconds": {"preparing": round(prepared["seconds"], 1),
                    "training": round(progress.seconds, 1),
                    "finishing": round(finishing, 1)},
        "dev": {"questions": len(split.questions), "made_up": split.is_synthetic, **best,
                **evaluate_dev(retriever, split.questions)},
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
    require_absent(job.out, job.overwrite)
    refuse_other_files(job.out)
    move_folder(work.finished, work.target)
    work.close()
