"""Fingerprints of the inputs of a training run, to detect changes when it resumes.

Documents are hashed in reading order, so touching, compressing or moving a file does not matter.
Other files are hashed byte by byte; pre-trained models by folder or hub commit. `Inputs` maps the
name of an input, as shown in messages, to its fingerprint.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from genir.arguments import as_path
from genir.config import Recipe, StrictModel, is_recipe, load_recipe
from genir.corpus.readers import read_corpus
from genir.corpus.store import DocumentStore
from genir.errors import InputError
from genir.manifest import check_manifest
from genir.models.digests import file_digest, folder_digest, short_digests, weights_digest
from genir.plurals import counted
from genir.tasks.base import TrainQueries
from genir.training.job import TrainingJob
from genir.training.pseudo_queries import is_file
from genir.training.recipe_checks import (
    inherited_overrides,
    parent_overrides,
    recipe_options,
    train_queries,
)
from genir.types import Document

Inputs = dict[str, str]
QUERIES = "train queries"
FILE = "inputs.json"
"""File with the fingerprints in a working folder; a model folder has them in metrics.json."""


class DocumentDigest:
    """Running digest of documents: keys, texts, titles, URLs, links and metadata."""

    def __init__(self) -> None:
        self._sha = hashlib.sha256()
        self.keys: set[str] = set()

    def update(self, documents: Iterable[Document]) -> Iterator[Document]:
        """Yield the documents and update the digest."""
        for document in documents:
            links = [(link.start, link.end, link.target) for link in document.links]
            fields = [document.key, document.title, document.text, document.url, links,
                      dict(document.metadata)]  # fmt: skip
            self._sha.update(json.dumps(fields, sort_keys=True, default=str).encode())
            self.keys.add(document.key)
            yield document

    @property
    def value(self) -> str:
        """Return the number of documents and their digest."""
        return f"{counted(len(self.keys), 'document')}, sha256 {self._sha.hexdigest()}"


def queries_digest(queries: TrainQueries) -> str:
    """Return the number of train queries and their digest, grouped by document."""
    digest = hashlib.sha256()
    for key in sorted(queries):
        digest.update(json.dumps([key, *queries[key]]).encode())
    count = sum(len(texts) for texts in queries.values())
    return f"{counted(count, 'query', 'queries')}, sha256 {digest.hexdigest()}"


def training_inputs(job: TrainingJob, recipe: Recipe, store: Path | None = None) -> Inputs:
    """Read all inputs of a training run and return their fingerprints.

    Args:
        store: Path to write the document store to, so that the corpus is read once.

    Raises:
        InputError: an input is missing or invalid.
    """
    found = recipe_inputs(recipe, [job.recipe] if isinstance(job.recipe, str) else [])
    digest = DocumentDigest()
    documents = digest.update(read_corpus(job.corpus, job.base_url))
    if store is None:
        for _ in documents:
            pass
    else:
        store.unlink(missing_ok=True)
        DocumentStore.create(store, documents).close()
    queries = train_queries(job.corpus, job.queries, job.qrels, digest.keys, notes=False)
    own = {"base URL": json.dumps(job.base_url), "documents": digest.value}
    return own | {QUERIES: queries_digest(queries)} | found


def files_read(job: TrainingJob, recipe: Recipe) -> dict[str, Path | None]:
    """Return the paths that a training run reads, by the option or key that names them."""
    named = {"CORPUS": job.corpus, "--queries": job.queries, "--qrels": job.qrels}
    key = "pseudo_queries.source"
    source = recipe.pseudo_queries.source
    named[key] = as_path(source, key) if source else None
    if isinstance(job.recipe, str) and job.recipe.endswith(".toml"):
        named["RECIPE"] = as_path(job.recipe, "RECIPE")
    files = [file for options in recipe_options(recipe) for file in options.files()]
    return named | {f"file {file}": as_path(file, "file") for file in files}


def recipe_inputs(recipe: Recipe, trained: Sequence[str] = ()) -> Inputs:
    """Return the fingerprints of a recipe: its settings, files, weights and parent recipes.

    Args:
        trained: Recipes that depend on this one.

    Raises:
        InputError: an input is missing, or a recipe starts from itself.
    """
    found = recipe_settings(recipe) | options_inputs(recipe_options(recipe))
    return found | _named_inputs(recipe) | _earlier_inputs(recipe, trained)


def recipe_settings(recipe: Recipe) -> Inputs:
    """Return the value of every recipe key as JSON."""
    return {f"setting {name}": text for name, text in _flat(recipe.model_dump(mode="json"))}


def options_inputs(options: Sequence[StrictModel]) -> Inputs:
    """Return digests of the files and weights named by options. Raises InputError."""
    found = {f"file {file}": file_digest(file) for one in options for file in one.files()}
    names = dict.fromkeys(name for one in options for name in one.weights())
    return found | {f"weights {name!r}": weights_digest(name) for name in names}


def _named_inputs(recipe: Recipe) -> Inputs:
    """Return the inputs named by `[pseudo_queries] source` and `[model] init_from`, except
    recipes."""
    found: Inputs = {}
    source = recipe.pseudo_queries.source
    if is_file(source):
        found[f"file {source}"] = file_digest(Path(source))
    elif source and not is_recipe(source):
        found[f"weights {source!r}"] = weights_digest(source)
    start = recipe.model.init_from
    if start and not is_recipe(start):
        check_manifest(Path(start))
        found[f"model folder {start}"] = folder_digest(Path(start))
    return found


def _earlier_inputs(recipe: Recipe, trained: Sequence[str]) -> Inputs:
    """Return the inputs of the recipes that are trained before this one."""
    parts: list[tuple[str, Sequence[str]]] = []
    if is_recipe(recipe.model.init_from):
        parts.append((recipe.model.init_from, parent_overrides(recipe)))
    if is_recipe(recipe.pseudo_queries.source):
        parts.append((recipe.pseudo_queries.source, recipe.pseudo_queries.settings))
    found: Inputs = {}
    for name, own in parts:
        if name in trained:
            raise InputError(
                f"[model] init_from = {name!r}: a recipe cannot start from itself; name another"
            )
        settings = [*inherited_overrides(recipe), *own]
        inputs = recipe_inputs(load_recipe(name, settings), (*trained, name))
        found |= {f"recipe {name}: {key}": value for key, value in inputs.items()}
    return found


def _flat(values: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the path and JSON text of each leaf value."""
    if isinstance(values, dict) and values:
        for name, value in values.items():
            yield from _flat(value, f"{path}.{name}" if path else name)
    elif isinstance(values, list) and values and all(isinstance(one, dict) for one in values):
        for place, value in enumerate(values):
            yield from _flat(value, f"{path}.{place}")
    else:
        yield path, json.dumps(values)


# --- comparison --------------------------------------------------------------------------------


def describe_change(recorded: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Return the name of the first changed input with both values, or ""."""
    for name in dict.fromkeys([*now, *recorded]):
        before, after = recorded.get(name, "absent"), now.get(name, "absent")
        if before != after:
            return f"{name}: {short_digests(before)} then, {short_digests(after)} now"
    return ""


def require_unchanged(where: Path, recorded: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Raise InputError with the first input that differs from the recorded ones."""
    if difference := describe_change(recorded, now):
        raise InputError(
            f"{where}: was made from other inputs ({difference}); restore them to continue with "
            "--resume, or start again with --overwrite"
        )


def require_unchanged_since(folder: Path, job: TrainingJob, recipe: Recipe) -> None:
    """Raise InputError if a file, weights or a recipe changed since the inputs were recorded.

    Called after reading them, which may be hours later if other models are trained first.

    Args:
        folder: Working folder with the recorded inputs.
    """
    known = read_inputs(folder)
    now = recipe_inputs(recipe, [job.recipe] if isinstance(job.recipe, str) else [])
    require_unchanged(folder, known, known | now)


def require_same_data(folder: Path, recorded: Inputs, inputs: Inputs) -> None:
    """Raise InputError if a model was trained on other documents or queries.

    Args:
        recorded: Current inputs.
        inputs: Inputs of the model's training.
    """
    data = {name: recorded[name] for name in ("base URL", "documents", QUERIES)}
    require_unchanged(folder, inputs, inputs | data)


def write_inputs(folder: Path, inputs: Mapping[str, str]) -> None:
    """Record the inputs in a working folder."""
    part = folder / f".{FILE}.part"
    part.write_text(json.dumps(inputs, indent=1), encoding="utf-8")
    part.replace(folder / FILE)


def read_inputs(folder: Path) -> Inputs:
    """Return the recorded inputs of a working folder. Raises InputError if there are none."""
    try:
        known: Inputs = json.loads((folder / FILE).read_text(encoding="utf-8"))
        if not isinstance(known, dict) or not all(isinstance(one, str) for one in known.values()):
            raise ValueError("not an object of texts")
    except (OSError, ValueError, RecursionError):
        raise InputError(
            f"{folder}: has no valid record of its inputs ({FILE}), so it cannot be resumed; start "
            "again with --overwrite"
        ) from None
    return known
