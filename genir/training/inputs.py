"""What a training is given beside its corpus: recipe, train queries, files. Checked before the hard
work; that they are the same is checked when a training goes on.
"""

import hashlib
import json
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

from genir.config import Recipe, Stage, load_recipe
from genir.corpus.folder import find_file, read_train_queries
from genir.errors import InputError
from genir.identifiers.registry import find_scheme
from genir.manifest import sha256
from genir.models.encoder import MINILM, TextEncoder
from genir.models.registry import model_class, try_model
from genir.tasks.base import TrainQueries
from genir.tasks.registry import build_mixture
from genir.training.joining import check_joining
from genir.training.losses.registry import check_losses, loss_files


def check_recipe(recipe: Recipe) -> None:
    """Raise InputError for what would not be noticed before the hard work is done."""
    stages = _stages(recipe)
    for stage in stages:
        build_mixture(stage.tasks, stage.training.seed)
        check_losses(stage)
        check_joining(stage)
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


def check_networks(recipe: Recipe) -> None:
    """Raise InputError for a pre-trained network that cannot be used, before others are trained.

    Where nothing is trained before, `assemble` loads the model's own network first, and finds out.
    """
    earlier = bool(recipe.pseudo.source or recipe.model.start or recipe.first)
    for stage in _stages(recipe):
        if earlier:
            try_model(stage.model, stage.training.source_length)
        named = {section.options.get("encoder", MINILM) for section in stage.losses}
        for name in sorted(named - {MINILM}):
            TextEncoder.pretrained(name)


def _stages(recipe: Recipe) -> list[Stage]:
    return [recipe] if recipe.first is None else [recipe, recipe.first]


def same_as_start(recipe: Recipe) -> list[str]:
    """Return settings for a recipe to start from, where its model must be like this one's."""
    options, same = recipe.model.options, model_class(recipe.model.kind).same_as_start
    return [f"model.{name}={json.dumps(options[name])}" for name in sorted(same & options.keys())]


def shared(recipe: Recipe) -> list[str]:
    """Return settings for what is trained before: it must not see what this training holds out."""
    training = recipe.training
    settings = [f"training.{name}={getattr(training, name)}" for name in ("dev_queries", "seed")]
    if training.max_steps:
        settings.append(f"training.max_steps={training.max_steps}")
    return settings


def held_out_otherwise(recipe: Recipe, folder: Path) -> str:
    """Return what to tell of a trained model that may have learned from a recipe's dev questions.

    "" for one that held out the same, and for a folder that is no model of genir's.
    """
    if not recipe.training.dev_queries or not (folder / "recipe.toml").is_file():
        return ""
    before = load_recipe(str(folder / "recipe.toml")).training
    pairs = [(key, getattr(before, key)) for key in ("dev_queries", "seed")]
    if all(getattr(recipe.training, key) == value for key, value in pairs):
        return ""
    same = " ".join(f"--set training.{key}={value}" for key, value in pairs)
    return (
        f"{folder}: held out other queries than this training does, and may have learned from its "
        f"dev questions: dev figures say too much ({same} holds out the same)"
    )


def train_queries(
    corpus: Path, queries: Path | None, qrels: Path | None, known: Container[str]
) -> TrainQueries:
    """Return the train queries in these files, by default in the corpus folder's; perhaps none.

    known: the keys of the documents. Raises InputError for one file without the other.
    """
    if queries is None and qrels is None:
        queries, qrels = (
            find_file(corpus, [name]) for name in ("queries.jsonl", "qrels/train.tsv")
        )
        if queries is None or qrels is None:
            return {}
    if queries is None or qrels is None:
        raise InputError("--queries and --qrels go together: give both, or neither")
    return read_train_queries(queries, qrels, known)


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


def given(recipe: Recipe, queries: TrainQueries) -> dict[str, Any]:
    """Return what is to stay the same while a training goes on, as JSON has it."""
    return {"queries": fingerprint(queries), "files": file_digests(recipe)}


def changed(known: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return what of `given` is another now than it was known, "" for nothing."""
    before = known.get("files", {})
    for file, digest in now["files"].items():
        if before.get(file) != digest:
            return f"contents of {file}"
    return "train queries" if known["queries"] != now["queries"] else ""


def refuse_other(work: Path, what: str) -> None:
    """Raise InputError where `what` a training was given has changed; "" for nothing."""
    if what:
        raise InputError(
            f"{work}: was begun with other {what} than these; resume with the same ones, or "
            "--overwrite to start over"
        )
