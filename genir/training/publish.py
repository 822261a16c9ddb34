"""Last step of a training: the model folder with its weights, metrics, curve and model card."""

import json
import time
from collections.abc import Mapping
from typing import NamedTuple

from accelerate import PartialState

from genir.atomic_dirs import move_folder, require_absent
from genir.config import dump_recipe
from genir.console import print_line
from genir.errors import InputError
from genir.identifiers.units import unit_documents
from genir.manifest import refuse_other_files
from genir.retriever import Retriever
from genir.training.checkpoints import Progress, WorkFolder
from genir.training.chosen_settings import choose_settings
from genir.training.dev_eval import evaluate_dev
from genir.training.dev_split import DevSplit
from genir.training.fingerprints import (
    FILE,
    Inputs,
    read_inputs,
    require_unchanged,
    training_inputs,
)
from genir.training.model_card import model_card
from genir.training.plots import draw_curve
from genir.training.resolve import TrainingRun
from genir.updates.model_folder import TRAIN_QUERIES


class Trained(NamedTuple):
    """A retriever after its last step, with its queries and the progress of the training."""

    retriever: Retriever
    split: DevSplit
    progress: Progress


def publish(run: TrainingRun, trained: Trained, precision: Mapping[str, str]) -> None:
    """Write the model folder with the best weights, metrics, curve and card.

    It is written to the working folder and then moved, so a kill leaves no partial folder.
    """
    retriever, split, progress = trained
    work, recipe = run.work, dump_recipe(retriever.recipe)
    work.restore_best(retriever.model, progress)
    began = time.monotonic()
    if progress.step:
        options = retriever.decoder.stage.scheme.options
        retriever.model.after_training(unit_documents(retriever.documents, options))
    if progress.step or not retriever.model.is_trainable:
        retriever.model.eval()
        choose_settings(retriever, split)
    retriever.protect_queries(split.train)
    metrics = _metrics(run, trained, precision, time.monotonic() - began)
    picture = work.path / "training.png"
    draw_curve(progress.history, f"{retriever.recipe.name} on {run.job.corpus.name}", picture)
    known = retriever.attachments[TRAIN_QUERIES]
    attachments = {
        "metrics.json": (json.dumps(metrics, indent=2) + "\n").encode(),
        "training.png": picture.read_bytes(),
        "MODEL_CARD.md": model_card(retriever, metrics, recipe).encode(),
        TRAIN_QUERIES: known,
    }
    retriever.attachments.clear()
    retriever.attachments.update(attachments)
    retriever.model.eval()
    retriever.save(work.finished, overwrite=True)
    retriever.documents.close()
    require_absent(run.job.out, run.job.overwrite)
    refuse_other_files(run.job.out)
    move_folder(work.finished, work.target)
    work.close()


def _metrics(
    run: TrainingRun, trained: Trained, precision: Mapping[str, str], finishing: float
) -> dict[str, object]:
    """Return the content of metrics.json. finishing: seconds after the last step."""
    retriever, split, progress = trained
    prepared = json.loads(retriever.attachments["metrics.json"])
    best = max(progress.history, key=lambda row: (row["RR@10"] or 0.0, row["step"]))
    return {
        "recipe": retriever.recipe.name,
        "steps": progress.step,
        "precision": precision,
        "seconds": {"preparing": round(prepared["seconds"], 1),
                    "training": round(progress.seconds, 1),
                    "finishing": round(finishing, 1)},
        "dev": {"questions": len(split.questions), "made_up": split.is_synthetic, **best,
                **evaluate_dev(retriever, split.questions)},
        "history": progress.history,
        "inputs": read_inputs(run.work.path),
    }  # fmt: skip


def resume_finished(run: TrainingRun) -> Retriever:
    """Return the retriever of a completed training; remove a working folder that it left."""
    out = run.job.out
    retriever = Retriever.load(out)
    known = json.loads(retriever.attachments.get("metrics.json", b"{}")).get("inputs")
    if known is None:
        raise InputError(
            f"{out}: has no record of its inputs, so --resume cannot compare them; train it "
            "again with --overwrite"
        )
    require_unchanged(out, known, training_inputs(run.job, run.recipe))
    if PartialState().is_main_process:
        _remove_finished(run.work, known)
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
