"""Arguments of a training run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from genir.config import Recipe
from genir.training.loop import StepCallback


@dataclass(frozen=True)
class TrainingJob:
    """Arguments of a training run. Without queries, the corpus folder's train split is used.

    Attributes:
        recipe: Recipe name, path of a recipe file, or a recipe.
        on_step: Called after each step of this training and of the trainings that it depends on.
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
    on_step: Sequence[StepCallback] = ()
