"""Reading and writing of model folders."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from genir.config import dump_recipe, load_recipe
from genir.corpus.store import DocumentStore
from genir.decoding.decoder import Decoder
from genir.errors import InputError
from genir.manifest import check_manifest, read_json, write_manifest
from genir.models.insertion import Insertable, ProtectedQueries
from genir.updates.index import Index
from genir.updates.loaded_model import LoadedModel
from genir.updates.snapshot import Snapshot

METRICS = "metrics.json"
TRAIN_QUERIES = "train-queries.digests"
"""Digests of the train queries, to detect train queries in an evaluation."""
ATTACHMENTS = (METRICS, "training.png", "MODEL_CARD.md", TRAIN_QUERIES)
"""Files of a training run that are kept when the model is saved again."""
MAX_ATTACHMENT_BYTES = 256 * 2**20
FACTS = "queries.safetensors"
"""Number of train queries of each document, and the version that added it."""


def read_folder(folder: Path, device: torch.device) -> LoadedModel:
    """Read a model folder, without the changes of its journal, onto a device.

    Raises:
        InputError: A file is missing, truncated or foreign.
    """
    manifest = check_manifest(folder)
    recipe = load_recipe(folder / "recipe.toml")
    decoder = Decoder.load(folder, recipe, device)
    table = decoder.stage.table
    documents = DocumentStore(folder / "documents.sqlite")
    if documents.keys() != table.keys:
        raise InputError(
            f"{documents.path}: holds other documents than the identifiers beside it; restore "
            "the folder or train it again"
        )
    counts, added = read_facts(folder / FACTS, len(documents))
    index = Index(table, documents, counts, added, None, int(manifest.get("version", 0)), manifest)
    loaded = LoadedModel(recipe, decoder, index, read_attachments(folder, ATTACHMENTS))
    protected = ProtectedQueries.load(folder, len(documents), loaded.row_width)
    return loaded.with_protected_queries(protected)


def write_folder(folder: Path, loaded: LoadedModel, contents: Snapshot) -> None:
    """Write a snapshot of a model to an existing folder."""
    (folder / "recipe.toml").write_text(dump_recipe(loaded.recipe), encoding="utf-8")
    kept = np.flatnonzero(contents.numbers >= 0)
    model = loaded.model
    if isinstance(model, Insertable):
        model = model.restricted_to(contents.symbols, kept)
    model.save(folder)
    (folder / "identifiers").mkdir()
    contents.scheme.save(folder / "identifiers")
    contents.table.save(folder / "identifiers")
    save_file(contents.document_facts, folder / FACTS)
    if contents.protected_queries is not None:
        contents.protected_queries.save(folder)
    if loaded.decoder.stage.spelling is not None:
        loaded.decoder.stage.spelling.save(folder)
    loaded.decoder.strategy.save(folder, contents.table, contents.numbers)
    for name, content in loaded.attachments.items():
        (folder / name).write_bytes(content)
    contents.write_documents(folder / "documents.sqlite")
    facts = {
        "recipe": loaded.recipe.name,
        "scheme": loaded.recipe.identifiers.scheme,
        "documents": len(contents.table.keys),
        "identifiers": len(contents.table),
        "vocabulary": 0 if loaded.model.tokenizer is None else len(loaded.model.tokenizer),
        "version": loaded.index.version,
        "learned": loaded.index.learned,
        "base_url": loaded.index.base_url,
        "versions": contents.versions,
    }
    write_manifest(folder, facts)


def read_attachments(folder: Path, names: Sequence[str]) -> dict[str, bytes]:
    """Return the files that training left in a model folder, by name.

    Raises:
        InputError: a file is too large, or `metrics.json` is malformed.
    """
    found = {}
    for path in (folder / name for name in names if (folder / name).is_file()):
        if path.stat().st_size > MAX_ATTACHMENT_BYTES:
            raise InputError(
                f"{path}: larger than {MAX_ATTACHMENT_BYTES:,} bytes; restore the folder"
            )
        if path.name == METRICS:
            _refuse_misshapen(path)
        found[path.name] = path.read_bytes()
    return found


def _refuse_misshapen(path: Path) -> None:
    """Raise InputError if a section of `metrics.json` has the wrong type."""
    metrics = read_json(path)
    sections = {"inputs": dict, "precision": dict, "dev": dict, "refreshes": list}
    for name, kind in sections.items():
        if not isinstance(metrics, dict) or not isinstance(metrics.get(name, kind()), kind):
            raise InputError(f"{path}: damaged ({name}); restore the folder or train it again")


def read_facts(path: Path, documents: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return how many train queries each document had, and the version that brought it.

    Raises InputError for a missing or damaged file.
    """
    try:
        arrays = load_file(path)
        counts = arrays["counts"]
        born = arrays.get("born", np.zeros_like(counts))
    except (OSError, KeyError, SafetensorError) as error:
        raise InputError(f"{path}: damaged ({error}); restore it or train it again") from None
    for array in (counts, born):
        wrong = ""
        if array.shape != (documents,) or array.dtype != np.int32:
            wrong = f"{array.dtype} {list(array.shape)} instead of int32 [{documents}]"
        elif array.min(initial=0) < 0:
            wrong = f"a count or version of {array.min()}"
        if wrong:
            raise InputError(f"{path}: damaged ({wrong}); restore it or train it again")
    return counts, born
