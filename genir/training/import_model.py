"""`genir import`: a model folder from an encoder-decoder that was trained elsewhere.

Weights and tokenizer are a folder of transformers; the identifiers of its documents are a file
(`genir.identifiers.identifier_file`). Nothing is trained.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genir.atomic_dirs import require_absent, temporary_folder
from genir.config import Recipe, validate
from genir.corpus.readers import read_corpus
from genir.corpus.store import DocumentStore
from genir.errors import InputError
from genir.manifest import refuse_other_files
from genir.outputs import require_outside
from genir.overrides import apply_settings
from genir.retriever import Retriever
from genir.training.build import build_retriever
from genir.training.recipe_checks import check_recipe


@dataclass(frozen=True)
class ImportRequest:
    """Arguments of `genir import`.

    Attributes:
        model: Folder of a transformers encoder-decoder with its tokenizer.
        identifiers: File with the identifiers of every document.
        corpus: Corpus folder or file.
        out: Model folder to write.
        settings: Changes to the recipe, for example `training.source_length=384`.
        base_url: Prefix of the URLs of a folder of pages.
    """

    model: Path
    identifiers: Path
    corpus: Path
    out: Path
    settings: Sequence[str] = ()
    overwrite: bool = False
    base_url: str = ""


def import_model(request: ImportRequest) -> Retriever:
    """Write a model folder with the weights of another program; return its retriever.

    Raises:
        InputError: The folder is not an encoder-decoder that genir can decode, a document has no
            identifier, an identifier has a token that the model lacks, or a setting is invalid.
    """
    if not request.model.is_dir():
        raise InputError(
            f"{request.model}: no such folder; download the model to a folder, and give that"
        )
    require_absent(request.out, request.overwrite)
    refuse_other_files(request.out)
    inputs = {
        "--model": request.model,
        "--identifiers": request.identifiers,
        "--corpus": request.corpus,
    }
    require_outside("OUT", request.out, inputs)
    recipe = _recipe(request)
    check_recipe(recipe)
    with temporary_folder() as folder:
        documents = read_corpus(request.corpus, request.base_url)
        store = DocumentStore.create(folder / "documents.sqlite", documents)
        retriever = build_retriever(recipe, store, {}, None)
        retriever.model.eval()
        retriever.set_base_url(request.base_url)
        retriever.save(request.out, request.overwrite)
        store.close()
    return retriever


def _recipe(request: ImportRequest) -> Recipe:
    values: dict[str, Any] = {
        "name": "imported",
        "description": "encoder-decoder trained elsewhere, with given identifiers",
        "identifiers": {"scheme": "given", "file": str(request.identifiers)},
        "tasks": [{"task": "queries"}],  # for further training; a recipe has at least one
        "model": {"kind": "seq2seq", "source": str(request.model)},
        "decoding": {"beams": 10},
    }
    apply_settings(values, request.settings, Recipe)
    fixed = values["model"]["source"], values["identifiers"].get("file")
    if fixed != (str(request.model), str(request.identifiers)):
        raise InputError(
            f"--set {json.dumps(list(request.settings))}: --model and --identifiers name the "
            "weights and the identifiers; leave model.source and identifiers.file out"
        )
    return validate(Recipe, values, "--set")
