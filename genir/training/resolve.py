"""First step of a training: its recipe, options and files, checked before anything is written."""

from dataclasses import dataclass

from genir.arguments import as_path
from genir.atomic_dirs import require_absent
from genir.config import Recipe, load_recipe
from genir.manifest import refuse_other_files
from genir.outputs import require_outside
from genir.training.checkpoints import WorkFolder
from genir.training.fingerprints import files_read
from genir.training.job import TrainingJob
from genir.training.recipe_checks import check_recipe


@dataclass(frozen=True)
class TrainingRun:
    """A checked training job with its recipe and working folder.

    Attributes:
        finished: Whether the model folder that `--resume` continues is complete.
    """

    job: TrainingJob
    recipe: Recipe
    work: WorkFolder
    finished: bool


def resolve(job: TrainingJob) -> TrainingRun:
    """Load the recipe of a job and check its variants, options and files. Nothing is written.

    Raises:
        InputError: bad input, or the training would remove one of its inputs.
    """
    recipe = job.recipe
    if not isinstance(recipe, Recipe):
        recipe = load_recipe(recipe, job.settings)
    check_recipe(recipe)
    finished = job.resume and job.out.exists() and not job.overwrite
    run = TrainingRun(job, recipe, WorkFolder(job.out), finished)
    if not finished:
        require_absent(job.out, job.overwrite)
        _refuse_input_removal(run)
    return run


def _refuse_input_removal(run: TrainingRun) -> None:
    """Raise InputError if the training would remove one of its inputs."""
    refuse_other_files(run.job.out)
    read = files_read(run.job, run.recipe)
    require_outside("--out", run.job.out, read)
    if not run.job.resume:
        parent = run.recipe.model.init_from
        start = as_path(parent, "model.init_from") if parent else None
        removed = {**read, "model.init_from": start}
        require_outside("the working folder", run.work.path, removed)
