"""Digests of everything that a training reads, to notice a change when it goes on.

The documents are digested as they were read, in their order: a file that was touched, packed or
moved is the same input. Files are digested byte by byte, pre-trained models by their folder or by
the commit on the hub. `Inputs` maps the name of an input, as messages show it, to its value.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genir.config import Recipe, Stage, Strict, load_recipe, recipe_names
from genir.corpus.folder import read_corpus
from genir.corpus.store import DocumentStore
from genir.errors import InputError
from genir.identifiers.registry import scheme_options
from genir.manifest import check_manifest
from genir.models.digests import file_digest, folder_digest, weights_digest
from genir.models.registry import model_options
from genir.records import Document
from genir.tasks.base import TrainQueries
from genir.tasks.registry import task_options
from genir.training.inputs import same_as_start, shared, stages_of, train_queries
from genir.training.losses.registry import loss_options
from genir.training.pseudo import is_file, is_recipe

if TYPE_CHECKING:
    from genir.training.job import Job

Inputs = dict[str, str]
QUERIES = "train queries"
FILE = "inputs.json"
"""Where a working folder keeps its inputs. A model folder has them in metrics.json."""
SHOWN = 12
"""Hexadecimal digits of a digest in messages."""


class DocumentDigest:
    """A running digest of documents in their order: keys, texts, titles, URLs, links, metadata."""

    def __init__(self) -> None:
        self._sha = hashlib.sha256()
        self.keys: set[str] = set()

    def over(self, documents: Iterable[Document]) -> Iterator[Document]:
        """Yield the documents, digesting each on the way."""
        for document in documents:
            links = [(link.start, link.end, link.target) for link in document.links]
            fields = [document.key, document.title, document.text, document.url, links,
                      dict(document.metadata)]  # fmt: skip
            self._sha.update(json.dumps(fields, sort_keys=True, default=str).encode())
            self.keys.add(document.key)
            yield document

    @property
    def value(self) -> str:
        """Return the number of documents so far, and their digest."""
        return f"{len(self.keys):,} documents, sha256 {self._sha.hexdigest()}"


def queries_digest(queries: TrainQueries) -> str:
    """Return the number of train queries and a digest of them, by document."""
    digest = hashlib.sha256()
    for key in sorted(queries):
        digest.update(json.dumps([key, *queries[key]]).encode())
    count = sum(len(texts) for texts in queries.values())
    return f"{count:,} queries, sha256 {digest.hexdigest()}"


def training_inputs(job: "Job", recipe: Recipe, store: Path | None = None) -> Inputs:
    """Read everything that a training reads, and return its digests.

    store: where the documents are to be kept, if anywhere: the corpus is read once. Raises
    InputError for an input that is missing or bad.
    """
    found = recipe_inputs(recipe, [job.recipe] if isinstance(job.recipe, str) else [])
    digest = DocumentDigest()
    documents = digest.over(read_corpus(job.corpus, job.base_url))
    if store is None:
        for _ in documents:
            pass
    else:
        store.unlink(missing_ok=True)
        DocumentStore.create(store, documents).close()
    queries = train_queries(job.corpus, job.queries, job.qrels, digest.keys)
    own = {"base URL": json.dumps(job.base_url), "documents": digest.value}
    return own | {QUERIES: queries_digest(queries)} | found


def files_read(job: "Job", recipe: Recipe) -> dict[str, Path | None]:
    """Return the paths that a training reads, by the option or key that names each."""
    named: dict[str, Path | None] = {
        "CORPUS": job.corpus,
        "--queries": job.queries,
        "--qrels": job.qrels,
        "pseudo.source": Path(recipe.pseudo.source) if recipe.pseudo.source else None,
    }
    if isinstance(job.recipe, str) and job.recipe.endswith(".toml"):
        named["RECIPE"] = Path(job.recipe)
    options = [one for stage in stages_of(recipe) for one in stage_options(stage)]
    return named | {f"file {file}": Path(file) for one in options for file in one.files()}


def recipe_inputs(recipe: Recipe, trained: Sequence[str] = ()) -> Inputs:
    """Return what a recipe reads: its settings, and files, weights and recipes that it names.

    trained: the recipes that start from this one, or have it make up queries. Raises InputError for
    an input that is missing, and for a recipe that starts from itself.
    """
    options = [one for stage in stages_of(recipe) for one in stage_options(stage)]
    found = recipe_settings(recipe) | options_inputs(options)
    return found | _named_inputs(recipe) | _earlier_inputs(recipe, trained)


def recipe_settings(recipe: Recipe) -> Inputs:
    """Return every key of a recipe, with its value as JSON."""
    return {f"setting {name}": text for name, text in _flat(recipe.model_dump(mode="json"))}


def options_inputs(options: Sequence[Strict]) -> Inputs:
    """Return digests of the files and weights that options name. Raises InputError as they do."""
    found = {f"file {file}": file_digest(file) for one in options for file in one.files()}
    names = dict.fromkeys(name for one in options for name in one.weights())
    return found | {f"weights {name!r}": weights_digest(name) for name in names}


def _named_inputs(recipe: Recipe) -> Inputs:
    """Return the inputs that `[pseudo] source` and `[model] start` name, unless it is a recipe."""
    found: Inputs = {}
    source = recipe.pseudo.source
    if is_file(source):
        found[f"file {source}"] = file_digest(Path(source))
    elif source and not is_recipe(source):
        found[f"weights {source!r}"] = weights_digest(source)
    start = recipe.model.start
    if start and not names_recipe(start):
        check_manifest(Path(start))
        found[f"model folder {start}"] = folder_digest(Path(start))
    return found


def _earlier_inputs(recipe: Recipe, trained: Sequence[str]) -> Inputs:
    """Return the inputs of the recipes that are trained before one."""
    parts = []
    if recipe.model.start and names_recipe(recipe.model.start):
        parts.append((recipe.model.start, [*shared(recipe), *same_as_start(recipe)]))
    if is_recipe(recipe.pseudo.source):
        parts.append((recipe.pseudo.source, [*shared(recipe), *recipe.pseudo.settings]))
    found: Inputs = {}
    for name, settings in parts:
        if name in trained:
            raise InputError(
                f"[model] start = {name!r}: a recipe cannot start from itself; name another"
            )
        inputs = recipe_inputs(load_recipe(name, settings), (*trained, name))
        found |= {f"recipe {name}: {key}": value for key, value in inputs.items()}
    return found


def stage_options(stage: Stage) -> list[Strict]:
    """Return the options of all variants that a stage names. Raises InputError for a bad one."""
    return [
        scheme_options(stage.identifiers),
        *map(task_options, stage.tasks),
        *map(loss_options, stage.losses),
        model_options(stage.model),
    ]


def names_recipe(name: str) -> bool:
    """Tell whether `[model] start` names a recipe, which is trained first, or a model folder."""
    return name in recipe_names() or name.endswith(".toml")


def _flat(values: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the path and the JSON text of each value that is no section and no list of sections."""
    if isinstance(values, dict) and values:
        for name, value in values.items():
            yield from _flat(value, f"{path}.{name}" if path else name)
    elif isinstance(values, list) and values and all(isinstance(one, dict) for one in values):
        for place, value in enumerate(values):
            yield from _flat(value, f"{path}.{place}")
    else:
        yield path, json.dumps(values)


# --- comparing ---------------------------------------------------------------------------------


def changed(known: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Return which input is another one now than it was, with both values; "" for none."""
    for name in dict.fromkeys([*now, *known]):
        before, after = known.get(name, "absent"), now.get(name, "absent")
        if before != after:
            return f"{name}: {_short(before)} then, {_short(after)} now"
    return ""


def _short(value: str) -> str:
    return re.sub(r"[0-9a-f]{40,}", lambda digits: digits[0][:SHOWN], value)


def refuse_changed(where: Path, known: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Raise InputError that names the first input that has changed since they were noted."""
    if difference := changed(known, now):
        raise InputError(
            f"{where}: was made from other inputs than these ({difference}); restore what has "
            "changed to go on with --resume, or start over with --overwrite"
        )


def refuse_changed_since(folder: Path, job: "Job", recipe: Recipe) -> None:
    """Raise InputError for a file, weights or a recipe that changed since the inputs were noted.

    To call once they are read: hours may lie between, where other models are trained first.

    folder: the working folder, which has the inputs.
    """
    known = read_inputs(folder)
    now = recipe_inputs(recipe, [job.recipe] if isinstance(job.recipe, str) else [])
    refuse_changed(folder, known, known | now)


def refuse_other_data(folder: Path, known: Inputs, inputs: Inputs) -> None:
    """Raise InputError where a model was trained on other documents or queries than are known.

    folder: of the model. inputs: of its training.
    """
    data = {name: known[name] for name in ("base URL", "documents", QUERIES)}
    refuse_changed(folder, inputs, inputs | data)


def write_inputs(folder: Path, inputs: Mapping[str, str]) -> None:
    """Note the inputs of a working folder."""
    part = folder / f".{FILE}.part"
    part.write_text(json.dumps(inputs, indent=1), encoding="utf-8")
    part.replace(folder / FILE)


def read_inputs(folder: Path) -> Inputs:
    """Return the inputs that a working folder was begun with. Raises InputError without any."""
    try:
        known: Inputs = json.loads((folder / FILE).read_text(encoding="utf-8"))
        if not isinstance(known, dict) or not all(isinstance(one, str) for one in known.values()):
            raise ValueError("not an object of texts")
    except (OSError, ValueError, RecursionError):
        raise InputError(
            f"{folder}: holds no record of its inputs ({FILE}), so it cannot be resumed safely; it "
            "was begun by an earlier genir, or is damaged: start over with --overwrite"
        ) from None
    return known
