"""Early validation of a training run's recipe and train queries."""

import json
from collections.abc import Container
from pathlib import Path

from genir.config import Recipe, StageConfig, load_recipe
from genir.corpus.layout import train_files
from genir.corpus.readers import read_train_queries
from genir.errors import InputError
from genir.identifiers.registry import find_scheme
from genir.manifest import check_format
from genir.models.encoder import MINILM, TextEncoder
from genir.models.registry import model_class, try_model
from genir.tasks.base import TrainQueries
from genir.tasks.registry import build_mixture
from genir.training.losses.registry import check_losses, loss_files
from genir.training.multi_target_checks import check_multi_target


def check_recipe(recipe: Recipe) -> None:
    """Raise InputError for mistakes in a recipe that would otherwise surface late."""
    stages = stages_of(recipe)
    for stage in stages:
        build_mixture(stage.tasks, stage.training.seed)
        check_losses(stage)
        check_multi_target(stage)
    loss_files(stages)
    if recipe.passage_stage is None:
        return
    if recipe.decoding.mode != "beam" or recipe.passage_stage.decoding.mode != "beam":
        raise InputError('[decoding] mode: two stages answer by beam search; leave it at "beam"')
    if not find_scheme(recipe.passage_stage.identifiers.scheme).needs_tokenizer:
        raise InputError(
            f"[passage_stage.identifiers] scheme = {recipe.passage_stage.identifiers.scheme!r}: "
            "the second stage "
            "reads the passages of the first, so they must be text; take 'passage'"
        )


def check_networks(recipe: Recipe) -> None:
    """Raise InputError for an unusable pre-trained network before other models are trained.

    If no other model is trained first, `build_retriever` loads the network first and checks it.
    """
    earlier = bool(recipe.pseudo_queries.source or recipe.model.init_from or recipe.passage_stage)
    for stage in stages_of(recipe):
        if earlier:
            try_model(stage.model, stage.training.source_length)
        named = {section.options.get("encoder", MINILM) for section in stage.losses}
        for name in sorted(named - {MINILM}):
            TextEncoder.pretrained(name)


def stages_of(recipe: Recipe) -> list[StageConfig]:
    """Return the stages of a recipe: its own, and `[passage_stage]` if present."""
    return [recipe] if recipe.passage_stage is None else [recipe, recipe.passage_stage]


def parent_overrides(recipe: Recipe) -> list[str]:
    """Return overrides for the parent recipe, where parent and child must be equal."""
    options, same = recipe.model.options, model_class(recipe.model.kind).must_match_parent
    names = sorted(same & options.keys())
    settings = [f"model.{name}={json.dumps(options[name], ensure_ascii=False)}" for name in names]
    if "encoder" in names:  # another encoder may accept fewer tokens
        lengths = [
            one.training.source_length for one in (recipe, load_recipe(recipe.model.init_from))
        ]
        settings.append(f"training.source_length={min(lengths)}")
    return settings


def inherited_overrides(recipe: Recipe) -> list[str]:
    """Return overrides for models trained first: they must hold out the same dev queries."""
    training = recipe.training
    settings = [f"training.{name}={getattr(training, name)}" for name in ("dev_queries", "seed")]
    if training.max_steps:
        settings.append(f"training.max_steps={training.max_steps}")
    return settings


def dev_leak_warning(recipe: Recipe, folder: Path, queries: str) -> str:
    """Return a warning if a trained model may have seen the recipe's dev queries.

    Args:
        queries: Digest of the train queries.

    Returns:
        "" if the model held out the same queries, or if the folder is not a genir model.
    """
    if not recipe.training.dev_queries or not (folder / "recipe.toml").is_file():
        return ""
    check_format(folder)
    before = load_recipe(str(folder / "recipe.toml")).training
    pairs = [(key, getattr(before, key)) for key in ("dev_queries", "seed")]
    if all(getattr(recipe.training, key) == value for key, value in pairs):
        known = _known_queries(folder)
        if known in ("", queries):
            return ""
        return (
            f"{folder}: was trained on other queries ({known}), perhaps including dev queries of "
            "this training: dev figures may be too high"
        )
    same = " ".join(f"--set training.{key}={value}" for key, value in pairs)
    return (
        f"{folder}: held out other queries, and was perhaps trained on dev queries of this "
        f"training: dev figures may be too high ({same} holds out the same)"
    )


def _known_queries(folder: Path) -> str:
    """Return the digest of the train queries of a model folder; "" if unknown."""
    try:
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        return str(metrics["inputs"]["train queries"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def train_queries(
    corpus: Path, queries: Path | None, qrels: Path | None, known: Container[str]
) -> TrainQueries:
    """Return the train queries of these files, by default those of the corpus folder, if any.

    Args:
        known: Keys of the documents.

    Raises:
        InputError: only one of the two files is given, or a file is invalid.
    """
    if queries is None and qrels is None:
        own = train_files(corpus)
        return {} if own is None else read_train_queries(*own, known)
    if queries is None or qrels is None:
        raise InputError("--queries and --qrels: give both, or neither")
    return read_train_queries(queries, qrels, known)
