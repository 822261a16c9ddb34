"""A training from files to a model folder: read, assemble, train, save; resumable at any moment."""

import hashlib
import json
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from accelerate import PartialState
from accelerate.utils import parse_flag_from_env

from genir.config import Recipe, dump_recipe, load_recipe, recipe_names
from genir.corpus.folder import read_corpus, read_train_queries
from genir.corpus.store import DocumentStore
from genir.errors import InputError
from genir.folders import move_folder, refuse_existing
from genir.retriever import Retriever
from genir.tasks.base import TrainQueries
from genir.tasks.registry import build_mixture
from genir.training.assembly import assemble
from genir.training.card import model_card
from genir.training.checkpoints import Progress, WorkFolder
from genir.training.curve import draw_curve
from genir.training.dev import measure_dev
from genir.training.loop import Trainer
from genir.training.split import DevSplit, carve_dev


@dataclass(frozen=True)
class Job:
    """What `train.py` is asked for. Without queries, the corpus folder's train split is used."""

    recipe: str
    corpus: Path
    out: Path
    queries: Path | None = None
    qrels: Path | None = None
    settings: Sequence[str] = ()
    resume: bool = False
    overwrite: bool = False
    base_url: str = ""


def train(job: Job) -> Retriever:
    """Train a recipe on a corpus and return the saved retriever.

    Raises InputError for bad input, Stopped on Ctrl-C; what was at `out` stays until the new model
    is whole.
    """
    recipe = load_recipe(job.recipe, job.settings)
    build_mixture(recipe.tasks, recipe.training.seed)  # a mistake there shows before the hard work
    if job.resume and job.out.exists() and not job.overwrite:
        return _finished(job, recipe)
    refuse_existing(job.out, job.overwrite)
    _refuse_foreign(job.out)
    # As Accelerator would ask: this is the first to know how many processes there are.
    # The others wait for the one that embeds the corpus, for hours where it is large.
    state = PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"), timeout=timedelta(days=1))
    work = WorkFolder(job.out)
    with work.open(job.resume, job.overwrite) if state.is_main_process else nullcontext():
        state.wait_for_everyone()
        _train(job, recipe, work)
    return Retriever.load(job.out)


def _refuse_foreign(out: Path) -> None:
    """Let --overwrite replace a model folder, or an empty one, and nothing else."""
    if out.is_dir() and any(out.iterdir()) and not (out / "manifest.json").is_file():
        raise InputError(f"{out}: is not a model folder, so it is not replaced; give another --out")


def _train(job: Job, recipe: Recipe, work: WorkFolder) -> None:
    state = PartialState()
    if not work.prepared.is_dir():
        start = _start(job, recipe, work)
        if state.is_main_process:
            _prepare(job, recipe, work, start)
    state.wait_for_everyone()
    retriever = _prepared(recipe, work)
    split = _split(job, recipe, retriever.documents)
    _check_same_queries(work, split.train)
    progress = Trainer(retriever, split, work).run()
    if state.is_main_process:
        _finish(job, retriever, split, progress, work)
    state.wait_for_everyone()


def _finished(job: Job, recipe: Recipe) -> Retriever:
    """Resume a training that had ended, perhaps just before removing its working folder."""
    retriever = Retriever.load(job.out)
    if retriever.recipe != recipe:
        raise InputError(f"{job.out}: holds a model of another recipe; --overwrite replaces it")
    work = WorkFolder(job.out)
    if work.path.exists() and PartialState().is_main_process:
        work.close()
    return retriever


def _prepare(job: Job, recipe: Recipe, work: WorkFolder, start: Path | None) -> None:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=work.path) as folder:
        documents = DocumentStore.create(
            Path(folder) / "documents.sqlite", read_corpus(job.corpus, job.base_url)
        )
        split = _split(job, recipe, documents)
        retriever = assemble(recipe, documents, split.train, start)
        facts = {"queries": fingerprint(split.train), "seconds": time.monotonic() - began}
        retriever.attachments["metrics.json"] = json.dumps(facts).encode()
        retriever.save(work.prepared)
        documents.close()


def _start(job: Job, recipe: Recipe, work: WorkFolder) -> Path | None:
    """Return the model folder to start from, training its recipe first if that is what is named."""
    name = recipe.model.start
    if not name:
        return None
    if name == job.recipe:
        raise InputError(
            f"[model] start = {name!r}: a recipe cannot start from itself; name another"
        )
    if name not in recipe_names() and not name.endswith(".toml"):
        return Path(name)
    train(Job(name, job.corpus, work.start, job.queries, job.qrels, resume=True))
    return work.start


def _split(job: Job, recipe: Recipe, documents: DocumentStore) -> DevSplit:
    known = set(documents.keys())
    queries = _train_queries(job, known)
    return carve_dev(documents, queries, recipe.training.dev_queries, recipe.training.seed)


def _train_queries(job: Job, known: set[str]) -> TrainQueries:
    queries, qrels = job.queries, job.qrels
    if queries is None and qrels is None:
        queries, qrels = _own(job.corpus, "queries.jsonl"), _own(job.corpus, "qrels/train.tsv")
        if queries is None or qrels is None:
            return {}
    if queries is None or qrels is None:
        raise InputError("--queries and --qrels go together: give both, or neither")
    return read_train_queries(queries, qrels, known)


def _own(corpus: Path, name: str) -> Path | None:
    candidates = (corpus / name, corpus / f"{name}.gz")
    return next((path for path in candidates if path.is_file()), None)


def _prepared(recipe: Recipe, work: WorkFolder) -> Retriever:
    retriever = Retriever.load(work.prepared, "cpu")
    if retriever.recipe != recipe:
        raise InputError(
            f"{work.path}: was begun with other recipe settings than these; resume with the same "
            "ones, or --overwrite to start over"
        )
    return retriever


def fingerprint(queries: TrainQueries) -> str:
    """Return a digest of the train queries, to notice a change between runs."""
    digest = hashlib.sha256()
    for key in sorted(queries):
        digest.update(json.dumps([key, *queries[key]]).encode())
    return digest.hexdigest()


def _check_same_queries(work: WorkFolder, queries: TrainQueries) -> None:
    known = json.loads((work.prepared / "metrics.json").read_text(encoding="utf-8"))["queries"]
    if known != fingerprint(queries):
        raise InputError(
            f"{work.path}: was begun with other train queries than these; resume with the same "
            "ones, or --overwrite to start over"
        )


def _finish(
    job: Job, retriever: Retriever, split: DevSplit, progress: Progress, work: WorkFolder
) -> None:
    """Save the best weights with figures, curve and card.

    In the working folder first, so that a kill leaves nothing beside the model folder.
    """
    prepared = json.loads(retriever.attachments["metrics.json"])
    work.restore_best(retriever.model)
    began = time.monotonic()
    retriever.model.finish(retriever.documents)
    retriever.guards = retriever.model.guard(split.train, retriever.table)
    finishing = time.monotonic() - began
    best = max(progress.history, key=lambda row: (row["RR@10"], row["step"]))
    metrics = {
        "recipe": retriever.recipe.name,
        "steps": progress.step,
        "seconds": {"preparing": round(prepared["seconds"], 1),
                    "training": round(progress.seconds, 1),
                    "finishing": round(finishing, 1)},
        "dev": {"questions": len(split.questions), "made_up": split.made_up, **best,
                **measure_dev(retriever, split.questions)},
        "history": progress.history,
    }  # fmt: skip
    picture = work.path / "training.png"
    draw_curve(progress.history, f"{retriever.recipe.name} on {job.corpus.name}", picture)
    retriever.attachments = {
        "metrics.json": (json.dumps(metrics, indent=2) + "\n").encode(),
        "training.png": picture.read_bytes(),
        "MODEL_CARD.md": model_card(retriever, metrics, dump_recipe(retriever.recipe)).encode(),
    }
    retriever.model.eval()
    retriever.save(work.finished, overwrite=True)
    retriever.documents.close()
    refuse_existing(job.out, job.overwrite)
    move_folder(work.finished, work.target)
    work.close()
