"""Working folder of a training run, from which an interrupted run resumes.

- `inputs.json`: fingerprints of the inputs
- `corpus.sqlite`: documents, until `prepared/` exists
- `prepared/`: untrained model folder
- `checkpoint/`: model, optimizer, schedule and random states (accelerate), `Progress`, and the
  average of the weights if there is one
- `best/`: weights with the best dev score
- `parent/`, `passage_stage/`, `generator/`: parent model, first stage and query generator
- `pseudo.jsonl`: generated queries
- `finished/`: model folder before it is moved to its destination
- `precision.json`: precision of each kind of work

Each is replaced atomically.
"""

import json
import logging
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model

from genir.arguments import as_path
from genir.atomic_dirs import PARTIAL, REPLACED, exclusive_lock, new_folder
from genir.errors import InputError
from genir.manifest import sha256
from genir.plurals import counted
from genir.signals import on_leave
from genir.training.optimization import WeightAverage

# accelerate warns of tied weights at each checkpoint; they are tied again before loading.
logging.getLogger("accelerate.utils.other").setLevel(logging.ERROR)


@dataclass
class Progress:
    """Position of a training run.

    `history` has one row per dev evaluation; `schedule` is the scheduler's state, stored as JSON
    because accelerate would pickle it.
    """

    step: int = 0
    seconds: float = 0.0
    best: float = -1.0
    history: list[dict[str, Any]] = field(default_factory=list)
    schedule: dict[str, Any] = field(default_factory=dict)
    processes: int = 1


OWN_NAMES = {
    "prepared", "checkpoint", "checkpoint.partial", "best", "finished", "training.png",
    "pseudo.jsonl", "pseudo.jsonl.part", "inputs.json", "corpus.sqlite", "precision.json",
    "precision.json.partial", ".teacher.safetensors",
}  # fmt: skip
LOCK = ".lock"
"""Lock file of the working folder, held by the process that uses it."""
UNFINISHED = re.compile(
    rf"genir-[a-z0-9_]{{8}}|"
    rf"\..+\.([0-9]+\.part(-journal|-wal|-shm)?|[a-z0-9_]{{8}}({PARTIAL}|{REPLACED}))"
)
"""Unfinished files and folders of a killed process, in the working folder."""
CHECKSUMS = "checksums.json"
"""File with the sha256 of each other file of `checkpoint/` and of `best/`."""
WEIGHTS = "model.safetensors"
"""Weights in `best/`."""
AVERAGE = "average.safetensors"
"""Average of the weights in `checkpoint/`."""
MODELS = ("parent", "passage_stage", "generator")
"""Models trained before this one, each in its own working folder."""


class WorkFolder:
    """Folder `<model>.training` beside the model folder `target`, or `.refresh` for an update."""

    def __init__(self, model_folder: Path, ending: str = ".training") -> None:
        # A link's destination is replaced, not the link.
        resolved = model_folder.is_symlink() or model_folder.name in ("", "..")
        self.target = model_folder.resolve() if resolved else model_folder
        if not self.target.name:
            raise InputError(f"{model_folder}: is the root folder; give a folder in it")
        self.path = as_path(self.target.with_name(self.target.name + ending), "working folder")
        self.prepared = self.path / "prepared"
        self.corpus = self.path / "corpus.sqlite"
        self.checkpoint = self.path / "checkpoint"
        self.best = self.path / "best"
        self.start = self.path / "parent"
        self.first = self.path / "passage_stage"
        self.generator = self.path / "generator"
        self.pseudo = self.path / "pseudo.jsonl"
        self.finished = self.path / "finished"
        self.precision = self.path / "precision.json"

    @property
    def begun(self) -> bool:
        """Return whether there is work to resume."""
        earlier = (path for name in (*MODELS, "pseudo") for path in self.path.glob(f"{name}*"))
        return self.prepared.is_dir() or any(earlier)

    @contextmanager
    def open(self, resume: bool, overwrite: bool) -> Iterator[None]:
        """Create and lock the folder; remove it if the block fails before the first checkpoint.

        Raises:
            InputError: an interrupted run exists, or the folder cannot be created.
        """
        if self.begun and not resume and not overwrite:
            raise InputError(
                f"{self.path}: contains an interrupted training; --resume continues it, "
                "--overwrite starts again"
            )
        self.refuse_foreign()
        if self.path.is_dir():
            with exclusive_lock(self.path / LOCK, str(self.path)):
                pass
        try:
            if self.path.exists() and not (resume and self.begun):
                shutil.rmtree(self.path)
            fresh = not self.path.exists()
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"{self.path}: cannot be created ({error.strerror}); give another --out"
            ) from None

        def abandon() -> None:
            models = (self.path / name for name in MODELS)
            kept = (self.checkpoint, self.finished, *models, self.pseudo)
            if fresh and not any(path.exists() for path in kept):
                shutil.rmtree(self.path, ignore_errors=True)

        try:
            with (
                exclusive_lock(self.path / LOCK, str(self.path)),
                on_leave(lambda: None if self.begun else abandon()),
            ):
                yield
        except InputError:
            abandon()
            raise

    def refuse_foreign(self) -> None:
        """Raise InputError if the folder has a file that training did not write."""
        own = {LOCK, *OWN_NAMES, *MODELS, *(f"{name}.training" for name in MODELS)}
        inside = sorted(self.path.iterdir()) if self.path.is_dir() else []
        foreign = [p for p in inside if p.name not in own and not UNFINISHED.fullmatch(p.name)]
        if foreign:
            raise InputError(f"{foreign[0]}: was not written by genir; give another --out")

    def save(
        self, accelerator: Accelerator, progress: Progress, average: WeightAverage | None = None
    ) -> None:
        """Write a checkpoint; it replaces the previous one only when complete.

        Raises:
            InputError: the checkpoint cannot be written, for example on a full disk.
        """
        try:
            self._save(accelerator, progress, average)
        except (OSError, RuntimeError, SafetensorError) as error:  # of torch and safetensors, too
            raise InputError(
                f"{self.checkpoint}: cannot be written ({error}); the previous checkpoint is "
                "intact: free space, then --resume"
            ) from None

    def _save(
        self, accelerator: Accelerator, progress: Progress, average: WeightAverage | None
    ) -> None:
        accelerator.wait_for_everyone()
        # Every process writes its random state into the folder that the main process creates.
        partial = self.path / "checkpoint.partial"
        if accelerator.is_main_process:
            shutil.rmtree(partial, ignore_errors=True)
        accelerator.wait_for_everyone()
        accelerator.save_state(str(partial), safe_serialization=True)
        accelerator.wait_for_everyone()
        if not accelerator.is_main_process:
            return
        progress.processes = accelerator.num_processes
        if average is not None:
            average.save(partial / AVERAGE)
        (partial / "progress.json").write_text(json.dumps(asdict(progress)), encoding="utf-8")
        _write_checksums(partial)
        with new_folder(self.checkpoint, overwrite=True) as folder:
            for path in partial.iterdir():
                shutil.move(path, folder / path.name)
        shutil.rmtree(partial)

    def load(self, accelerator: Accelerator, average: WeightAverage | None = None) -> Progress:
        """Restore the last checkpoint; return the initial progress if there is none.

        Raises:
            InputError: the checkpoint, or the best weights that it refers to, are missing or
                damaged.
        """
        if not self.checkpoint.is_dir():
            return Progress()
        try:
            # accelerate ignores a missing or damaged random state
            _refuse_changed(self.checkpoint)
            text = (self.checkpoint / "progress.json").read_text(encoding="utf-8")
            progress = Progress(**json.loads(text))
            before, now = progress.processes, accelerator.num_processes
            if before != now:  # batches and random states differ between processes
                raise InputError(
                    f"{self.checkpoint}: was written by "
                    f"{counted(before, 'process', 'processes')}, not {now}; start "
                    f"{before}, or --overwrite to start again"
                )
            accelerator.load_state(str(self.checkpoint))
            if average is not None:
                average.load(self.checkpoint / AVERAGE)
        except (OSError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
            raise InputError(
                f"{self.checkpoint}: the checkpoint cannot be read ({error}); "
                "--overwrite starts again"
            ) from None
        if progress.history:
            self._verify_best()  # now, rather than after the remaining steps
        return progress

    def _verify_best(self) -> None:
        try:
            _refuse_changed(self.best)
        except (OSError, ValueError) as error:
            raise self._unreadable_best(error) from None

    def _unreadable_best(self, error: Exception) -> InputError:
        return InputError(
            f"{self.best / WEIGHTS}: the best weights cannot be read ({error}); "
            "--overwrite starts again"
        )

    def keep_best(self, model: Any) -> None:
        """Save the current weights as the best on dev."""
        with new_folder(self.best, overwrite=True) as folder:
            save_model(model, str(folder / WEIGHTS))
            _write_checksums(folder)

    def restore_best(self, model: Any, progress: Progress) -> None:
        """Load the weights with the best dev score, if dev was measured.

        Raises:
            InputError: the weights are missing or damaged.
        """
        if not progress.history:
            return
        try:
            _refuse_changed(self.best)
            load_model(model, str(self.best / WEIGHTS))
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise self._unreadable_best(error) from None

    def remove(self) -> None:
        """Remove the folder if it exists.

        Raises:
            InputError: another process uses it, or it has files that training did not write.
        """
        if self.path.is_dir():
            self.refuse_foreign()
            with exclusive_lock(self.path / LOCK, str(self.path)):
                shutil.rmtree(self.path)

    def close(self) -> None:
        """Remove the folder, which this process has locked, after the model has been published."""
        shutil.rmtree(self.path)


def _write_checksums(folder: Path) -> None:
    checksums = {path.name: sha256(path) for path in sorted(folder.iterdir())}
    (folder / CHECKSUMS).write_text(json.dumps(checksums), encoding="utf-8")


def _refuse_changed(folder: Path) -> None:
    """Raise OSError or ValueError unless every file of `folder` is as `CHECKSUMS` records."""
    checksums = json.loads((folder / CHECKSUMS).read_text(encoding="utf-8"))
    if not isinstance(checksums, dict) or not checksums:
        raise ValueError(f"{CHECKSUMS} is damaged")
    for name, digest in checksums.items():
        if not (folder / name).is_file():
            raise ValueError(f"{name} is missing")
        if sha256(folder / name) != digest:
            raise ValueError(f"{name} is damaged")
