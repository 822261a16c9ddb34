"""What a training is given beside its corpus: recipe, train queries, files. Checked before the hard
work; that they are the same is checked when a training goes on.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from genir.config import Recipe, Stage
from genir.errors import InputError
from genir.identifiers.registry import find_scheme
from genir.manifest import sha256
from genir.tasks.base import TrainQueries
from genir.tasks.registry import build_mixture
from genir.training.losses.registry import check_losses, loss_files


def check_recipe(recipe: Recipe) -> None:
    """Raise InputError for what would not be noticed before the hard work is done."""
    stages = _stages(recipe)
    for stage in stages:
        build_mixture(stage.tasks, stage.training.seed)
        check_losses(stage)
    loss_files(stages)
    if recipe.first is None:
        return
    if recipe.decoding.mode != "beam" or recipe.first.decoding.mode != "beam":
        raise InputError('[decoding] mode: two stages answer by beam search; leave it at "beam"')
    if not find_scheme(recipe.first.identifiers.scheme).needs_tokenizer:
        raise InputError(
            f"[first.identifiers] scheme = {recipe.first.identifiers.scheme!r}: the second stage "
            "reads what the first has found, so it must be text; take 'passage'"
        )


def _stages(recipe: Recipe) -> list[Stage]:
    return [recipe] if recipe.first is None else [recipe, recipe.first]


def fingerprint(queries: TrainQueries) -> str:
    """Return a digest of the train queries, to notice a change between runs."""
    digest = hashlib.sha256()
    for key in sorted(queries):
        digest.update(json.dumps([key, *queries[key]]).encode())
    return digest.hexdigest()


def file_digests(recipe: Recipe) -> dict[str, str]:
    """Return a digest of each file that tasks and losses read. Raises InputError if one is missing.

    Files of [pseudo] are not among them: a training keeps a copy.
    """
    stages = _stages(recipe)
    mixtures = [build_mixture(stage.tasks, stage.training.seed) for stage in stages]
    own = [file for mixture in mixtures for task, _ in mixture.tasks for file in task.files()]
    return {str(file): sha256(file) for file in [*own, *loss_files(stages)]}


def changed_file(known: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Return "contents of FILE" for the last file whose digest is another now, "" for none."""
    changed = [file for file, digest in now.items() if known.get(file) != digest]
    return f"contents of {changed[-1]}" if changed else ""


def refuse_other(work: Path, what: str) -> None:
    """Raise InputError where `what` a training was given has changed; "" for nothing."""
    if what:
        raise InputError(
            f"{work}: was begun with other {what} than these; resume with the same ones, or "
            "--overwrite to start over"
        )
