"""The working folder of a training: what a killed run goes on from.

`inputs.json` says what it was begun with; `corpus.sqlite` has the documents until `prepared/` is
there, the assembled model folder before the first step; `checkpoint/` the latest state of
model, optimiser, schedule and random generators (accelerate's files) with the loop's own counts;
`best/` the weights that did best on dev; `start/` the model that this one starts from, `first/` the
first of two stages, `generator/` what makes up `pseudo.jsonl`; `finished/` the model folder about
to be moved to its place; `precision.json` the precision of each kind of work. Each is replaced in
one step.
"""

import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model

from genir.errors import InputError
from genir.folders import new_folder, sole_use
from genir.manifest import sha256
from genir.signals import on_leave

# It warns of tied weights at each checkpoint; they are tied again before they are read back.
logging.getLogger("accelerate.utils.other").setLevel(logging.ERROR)


@dataclass
class Progress:
    """Where a training stands. `history` holds one row a dev measurement; `schedule` is torch's.

    The schedule is kept here, in JSON: accelerate would pickle it.
    """

    step: int = 0
    seconds: float = 0.0
    best: float = -1.0
    history: list[dict[str, Any]] = field(default_factory=list)
    schedule: dict[str, Any] = field(default_factory=dict)
    processes: int = 1


OWN_NAMES = {
    "prepared",
    "checkpoint",
    "checkpoint.partial",
    "best",
    "finished",
    "training.png",
    "pseudo.jsonl",
    "pseudo.jsonl.part",
    "inputs.json",
    "corpus.sqlite",
    "precision.json",
    "precision.json.partial",
}
LOCK = ".lock"
"""In the working folder: held by the process that works there."""
CHECKSUMS = "checksums.json"
"""In a checkpoint: the sha256 of each of its other files."""
MODELS = ("start", "first", "generator")
"""Models trained before this one, each with a working folder of its own."""


class WorkFolder:
    """`<model>.training` beside the model folder to come, `target`; `.refresh` of one there is."""

    def __init__(self, model_folder: Path, ending: str = ".training") -> None:
        # What a link points to is replaced, not the link.
        self.target = model_folder.resolve() if model_folder.is_symlink() else model_folder
        self.path = self.target.with_name(self.target.name + ending)
        self.prepared = self.path / "prepared"
        self.corpus = self.path / "corpus.sqlite"
        self.checkpoint = self.path / "checkpoint"
        self.best = self.path / "best"
        self.start = self.path / "start"
        self.first = self.path / "first"
        self.generator = self.path / "generator"
        self.pseudo = self.path / "pseudo.jsonl"
        self.finished = self.path / "finished"
        self.precision = self.path / "precision.json"

    @property
    def begun(self) -> bool:
        """Tell whether there is work to go on with: a preparation, or what is made before it."""
        earlier = (path for name in (*MODELS, "pseudo") for path in self.path.glob(f"{name}*"))
        return self.prepared.is_dir() or any(earlier)

    @contextmanager
    def open(self, resume: bool, overwrite: bool) -> Iterator[None]:
        """Make the folder; when the block meets bad input before a checkpoint, remove it again.

        Raises InputError when an interrupted training is in the way, and when it cannot be made.
        """
        if self.begun and not resume and not overwrite:
            raise InputError(
                f"{self.path}: holds an interrupted training; --resume goes on with it, "
                "--overwrite starts over"
            )
        self.refuse_foreign()
        if self.path.is_dir():
            with sole_use(self.path / LOCK, str(self.path)):
                pass
        try:
            if self.path.exists() and not (resume and self.begun):
                shutil.rmtree(self.path)
            fresh = not self.path.exists()
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"{self.path}: cannot be made ({error.strerror}); give another --out"
            ) from None

        def abandon() -> None:
            models = (self.path / name for name in MODELS)
            kept = (self.checkpoint, self.finished, *models, self.pseudo)
            if fresh and not any(path.exists() for path in kept):
                shutil.rmtree(self.path, ignore_errors=True)

        try:
            with (
                sole_use(self.path / LOCK, str(self.path)),
                on_leave(lambda: None if self.begun else abandon()),
            ):
                yield
        except InputError:
            abandon()
            raise

    def refuse_foreign(self) -> None:
        """Raise InputError where a file is not of a training: the name is the same by chance."""
        own = {*OWN_NAMES, *MODELS, *(f"{name}.training" for name in MODELS)}
        inside = sorted(self.path.iterdir()) if self.path.is_dir() else []
        foreign = [p for p in inside if p.name not in own and not p.name.startswith((".", "tmp"))]
        if foreign:
            raise InputError(f"{foreign[0]}: is not of genir's making; give another --out")

    def save(self, accelerator: Accelerator, progress: Progress) -> None:
        """Write a checkpoint; the one before stands until this one is whole.

        Raises InputError when it cannot be written, on a full disk say.
        """
        try:
            self._save(accelerator, progress)
        except (OSError, RuntimeError, SafetensorError) as error:  # as safetensors, torch say it
            raise InputError(
                f"{self.checkpoint}: cannot be written ({error}); the checkpoint before it is as "
                "it was: make room, then --resume"
            ) from None

    def _save(self, accelerator: Accelerator, progress: Progress) -> None:
        accelerator.wait_for_everyone()
        # Every process writes its own random state, so all need the folder that the first makes.
        partial = self.path / "checkpoint.partial"
        if accelerator.is_main_process:
            shutil.rmtree(partial, ignore_errors=True)
        accelerator.wait_for_everyone()
        accelerator.save_state(str(partial), safe_serialization=True)
        accelerator.wait_for_everyone()
        if not accelerator.is_main_process:
            return
        progress.processes = accelerator.num_processes
        (partial / "progress.json").write_text(json.dumps(asdict(progress)), encoding="utf-8")
        checksums = {path.name: sha256(path) for path in sorted(partial.iterdir())}
        (partial / CHECKSUMS).write_text(json.dumps(checksums), encoding="utf-8")
        with new_folder(self.checkpoint, overwrite=True) as folder:
            for path in partial.iterdir():
                shutil.move(path, folder / path.name)
        shutil.rmtree(partial)

    def load(self, accelerator: Accelerator) -> Progress:
        """Go back to the last checkpoint, or to the beginning when there is none."""
        if not self.checkpoint.is_dir():
            return Progress()
        try:
            self._refuse_changed()  # accelerate passes over a missing or damaged random state
            text = (self.checkpoint / "progress.json").read_text(encoding="utf-8")
            progress = Progress(**json.loads(text))
            self._refuse_other_number(progress.processes, accelerator.num_processes)
            accelerator.load_state(str(self.checkpoint))
        except (OSError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
            raise InputError(
                f"{self.checkpoint}: the checkpoint cannot be read ({error}); "
                "--overwrite starts over"
            ) from None
        return progress

    def _refuse_changed(self) -> None:
        """Raise ValueError for a file that is missing or not the one that was saved."""
        checksums = json.loads((self.checkpoint / CHECKSUMS).read_text(encoding="utf-8"))
        for name, digest in checksums.items():
            if not (self.checkpoint / name).is_file():
                raise ValueError(f"{name} is missing")
            if sha256(self.checkpoint / name) != digest:
                raise ValueError(f"{name} is damaged")

    def _refuse_other_number(self, before: int, now: int) -> None:
        """The batches are dealt out by process, and each process has a random state of its own."""
        if before != now:
            raise InputError(
                f"{self.checkpoint}: was written by {before} processes, but {now} are to go on "
                f"with it; start {before}, or --overwrite to start over"
            )

    def keep_best(self, model: Any) -> None:
        """Keep the present weights as the best on dev."""
        with new_folder(self.best, overwrite=True) as folder:
            save_model(model, str(folder / "model.safetensors"))

    def restore_best(self, model: Any, progress: Progress) -> None:
        """Load the weights that did best on dev, if dev was measured.

        Raises InputError where they are missing or damaged.
        """
        if not progress.history:
            return
        weights = self.best / "model.safetensors"
        try:
            load_model(model, str(weights))
        except (OSError, RuntimeError, SafetensorError) as error:
            raise InputError(
                f"{weights}: the best weights cannot be read ({error}); --overwrite starts over"
            ) from None

    def remove(self) -> None:
        """Remove the folder, if there is one, and no process works there.

        Raises InputError where another process does, and where it holds files of others.
        """
        if self.path.is_dir():
            self.refuse_foreign()
            with sole_use(self.path / LOCK, str(self.path)):
                shutil.rmtree(self.path)

    def close(self) -> None:
        """Remove the folder, whose lock this process holds: the model stands in its own."""
        shutil.rmtree(self.path)
