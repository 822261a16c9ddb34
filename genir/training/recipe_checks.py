"""Early validation of a training run's recipe and train queries."""

import json
import sys
from collections.abc import Container
from pathlib import Path

from genir.config import Recipe, StageConfig, StrictModel, load_recipe
from genir.corpus.layout import train_files
from genir.corpus.readers import read_train_queries
from genir.decoding.strategies.base import read_options
from genir.decoding.strategies.registry import check_strategy, find_strategy
from genir.errors import InputError
from genir.identifiers.registry import scheme_options
from genir.manifest import check_format
from genir.models.base import Inheritable
from genir.models.encoder import TextEncoder
from genir.models.network_loading import MINILM
from genir.models.registry import MODELS, model_options, try_model
from genir.models.reranker import Reranker
from genir.tasks.base import TrainQueries
from genir.tasks.registry import build_mixture, task_options
from genir.training.losses.registry import check_losses, loss_options
from genir.training.multi_target_checks import check_multi_target
from genir.training.unit_checks import check_units


def check_recipe(recipe: Recipe) -> None:
    """Raise InputError for mistakes in a recipe that would otherwise surface late."""
    stages = stages_of(recipe)
    for stage in stages:
        build_mixture(stage.tasks, stage.training.seed)
        check_losses(stage)
        check_multi_target(stage)
        check_units(stage)
    check_strategy(recipe)
    for options in recipe_options(recipe):
        options.files()
    for stage in stages:
        MODELS.find(stage.model.kind).check_recipe(model_options(stage.model), stage)


def check_networks(recipe: Recipe) -> None:
    """Raise InputError for a pre-trained network or re-ranker that cannot be used.

    If no other model is trained first, `build_retriever` loads the network first and checks it.
    """
    earlier = bool(recipe.pseudo_queries.source or recipe.model.init_from or recipe.passage_stage)
    for stage in stages_of(recipe):
        if earlier:
            try_model(stage.model, stage.training.source_length)
        named = {section.options.get("encoder", MINILM) for section in stage.losses}
        for name in sorted(named - {MINILM}):
            TextEncoder.pretrained(name)
    if recipe.rerank.model:
        Reranker(recipe.rerank.model, recipe.rerank.length, "cpu")


def stages_of(recipe: Recipe) -> list[StageConfig]:
    """Return the stages of a recipe: its own, and `[passage_stage]` if present."""
    return [recipe] if recipe.passage_stage is None else [recipe, recipe.passage_stage]


def recipe_options(recipe: Recipe) -> list[StrictModel]:
    """Return the options of all parts of a recipe. Raises InputError if one is invalid.

    They declare the files and the pre-trained weights that the training reads.
    """
    return [recipe.rerank] + [
        options
        for stage in stages_of(recipe)
        for options in (
            scheme_options(stage.identifiers),
            *map(task_options, stage.tasks),
            *map(loss_options, stage.losses),
            model_options(stage.model),
            read_options(find_strategy(stage.decoding.strategy), stage),
        )
    ]


def parent_overrides(recipe: Recipe) -> list[str]:
    """Return overrides for the parent recipe, where parent and child must be equal."""
    options, model = recipe.model.options, MODELS.find(recipe.model.kind)
    if not issubclass(model, Inheritable):
        return []
    names = sorted(model.must_match_parent & options.keys())
    settings = [f"model.{name}={json.dumps(options[name], ensure_ascii=False)}" for name in names]
    if "encoder" in names:  # another encoder may accept fewer tokens
        lengths = [
            one.training.source_length for one in (recipe, load_recipe(recipe.model.init_from))
        ]
        settings.append(f"training.source_length={min(lengths)}")
    return settings


def query_vectors_of(recipe: Recipe) -> Path | None:
    """Return the file of the train queries' vectors, if the recipe names one."""
    file = recipe.model.options.get("query_vectors")
    return Path(file) if file else None


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
    known, count = _known_queries(folder), recipe.training.dev_queries
    # Fewer than asked for: a tenth of the queries, which any larger number gives, too.
    tenth = _held_out(folder) if known == queries else before.dev_queries
    same_count = count == before.dev_queries or tenth < min(count, before.dev_queries)
    if same_count and recipe.training.seed == before.seed:
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


def _held_out(folder: Path) -> int:
    """Return the number of dev queries of a model folder's training."""
    try:
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        return int(metrics["dev"]["questions"])
    except (OSError, ValueError, KeyError, TypeError):
        return sys.maxsize


def _known_queries(folder: Path) -> str:
    """Return the digest of the train queries of a model folder; "" if unknown."""
    try:
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        return str(metrics["inputs"]["train queries"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def train_queries(
    corpus: Path,
    queries: Path | None,
    qrels: Path | None,
    known: Container[str],
    notes: bool = True,
    vectors: Path | None = None,
) -> TrainQueries:
    """Return the train queries of these files, by default the corpus folder's, if any.

    Args:
        notes: Whether to log skipped items; once per training, which reads the files repeatedly.
        vectors: File of the queries' vectors.

    Raises:
        InputError: only one of the two files is given, or a file is invalid.
    """
    if queries is None and qrels is None:
        own = train_files(corpus)
        return {} if own is None else read_train_queries(*own, known, notes, vectors)
    if queries is None or qrels is None:
        raise InputError("--queries and --qrels: give both, or neither")
    return read_train_queries(queries, qrels, known, notes, vectors)
