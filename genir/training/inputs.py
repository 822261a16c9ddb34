"""Recipe and train queries of a training, checked before the hard work. `fingerprints.py` digests
them, to notice a change when the training goes on.
"""

import json
from collections.abc import Container
from pathlib import Path

from genir.config import Recipe, Stage, load_recipe
from genir.corpus.folder import read_train_queries
from genir.corpus.layout import train_files
from genir.errors import InputError
from genir.identifiers.registry import find_scheme
from genir.models.encoder import MINILM, TextEncoder
from genir.models.registry import model_class, try_model
from genir.tasks.base import TrainQueries
from genir.tasks.registry import build_mixture
from genir.training.joining import check_joining
from genir.training.losses.registry import check_losses, loss_files


def check_recipe(recipe: Recipe) -> None:
    """Raise InputError for what would not be noticed before the hard work is done."""
    stages = stages_of(recipe)
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
    for stage in stages_of(recipe):
        if earlier:
            try_model(stage.model, stage.training.source_length)
        named = {section.options.get("encoder", MINILM) for section in stage.losses}
        for name in sorted(named - {MINILM}):
            TextEncoder.pretrained(name)


def stages_of(recipe: Recipe) -> list[Stage]:
    """Return the stages of a recipe: its own, and `[first]` where it has one."""
    return [recipe] if recipe.first is None else [recipe, recipe.first]


def same_as_start(recipe: Recipe) -> list[str]:
    """Return settings for a recipe to start from, where its model must be like this one's."""
    options, same = recipe.model.options, model_class(recipe.model.kind).same_as_start
    names = sorted(same & options.keys())
    settings = [f"model.{name}={json.dumps(options[name], ensure_ascii=False)}" for name in names]
    if "encoder" in names:  # another encoder may take fewer tokens than its recipe reads
        lengths = [one.training.source_length for one in (recipe, load_recipe(recipe.model.start))]
        settings.append(f"training.source_length={min(lengths)}")
    return settings


def shared(recipe: Recipe) -> list[str]:
    """Return settings for what is trained before: it must not see what this training holds out."""
    training = recipe.training
    settings = [f"training.{name}={getattr(training, name)}" for name in ("dev_queries", "seed")]
    if training.max_steps:
        settings.append(f"training.max_steps={training.max_steps}")
    return settings


def held_out_otherwise(recipe: Recipe, folder: Path, queries: str) -> str:
    """Return a warning about a trained model that may have learned from a recipe's dev questions.

    queries: the digest of the train queries. "" for a model that held out the same of the same
    queries, and for a folder that is no model of genir's.
    """
    if not recipe.training.dev_queries or not (folder / "recipe.toml").is_file():
        return ""
    before = load_recipe(str(folder / "recipe.toml")).training
    pairs = [(key, getattr(before, key)) for key in ("dev_queries", "seed")]
    if all(getattr(recipe.training, key) == value for key, value in pairs):
        known = _known_queries(folder)
        if known in ("", queries):
            return ""
        return (
            f"{folder}: was trained on other queries than this training is given ({known}), and "
            "may have learned from its dev questions: dev figures say too much"
        )
    same = " ".join(f"--set training.{key}={value}" for key, value in pairs)
    return (
        f"{folder}: held out other queries than this training does, and may have learned from its "
        f"dev questions: dev figures say too much ({same} holds out the same)"
    )


def _known_queries(folder: Path) -> str:
    """Return the digest of the train queries of a model folder, "" where it is not known."""
    try:
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        return str(metrics["inputs"]["train queries"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def train_queries(
    corpus: Path, queries: Path | None, qrels: Path | None, known: Container[str]
) -> TrainQueries:
    """Return the train queries in these files, by default in the corpus folder's; perhaps none.

    known: the keys of the documents. Raises InputError for one file without the other.
    """
    if queries is None and qrels is None:
        own = train_files(corpus)
        return {} if own is None else read_train_queries(*own, known)
    if queries is None or qrels is None:
        raise InputError("--queries and --qrels go together: give both, or neither")
    return read_train_queries(queries, qrels, known)
