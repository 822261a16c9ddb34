"""Construction of an untrained retriever: model, tokenizer, vectors, identifiers and head."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState

from genir.config import Recipe
from genir.corpus.spelling import SpellingCorrector
from genir.corpus.store import DocumentStore
from genir.decoding.decoder import Decoder
from genir.decoding.stage import Stage
from genir.decoding.strategies.registry import load_strategy, max_identifiers
from genir.decoding.strategies.tome import FOLDER
from genir.errors import InputError
from genir.identifiers.base import Scheme, Vectors
from genir.identifiers.registry import build_scheme, scheme_options
from genir.identifiers.table import IdentifierTable
from genir.identifiers.units import spans_of, unit_documents, unit_options
from genir.manifest import check_manifest
from genir.models.base import DocidModel, Inheritable, Trainable
from genir.models.registry import build_model
from genir.retriever import Retriever
from genir.tasks.base import TrainQueries
from genir.types import Document
from genir.updates.index import Index
from genir.updates.loaded_model import LoadedModel
from genir.updates.updates import Updates


def build_retriever(
    recipe: Recipe,
    documents: DocumentStore,
    queries: TrainQueries,
    start: Path | None,
    folder: Path | None = None,
    pseudo_queries: TrainQueries | None = None,
) -> Retriever:
    """Build the retriever of a recipe for a corpus.

    Args:
        start: Trained model folder that provides the initial encoder and document vectors.
        folder: Folder of the trained `passage_stage/` of a recipe with two stages.
        pseudo_queries: Generated queries by document, used by schemes with query identifiers.

    Raises:
        InputError: parts of the recipe are incompatible.
    """
    torch.manual_seed(recipe.training.seed)  # new parameters are random
    parent = None if start is None else _parent(start, recipe, documents)
    units = unit_documents(documents, scheme_options(recipe.identifiers))
    model = build_model(recipe.model, units)
    model.check_source_length(recipe.training.source_length)
    learned = None
    if parent is not None:
        if not isinstance(model, Inheritable):
            raise InputError(f"[model] init_from: a {model.kind!r} model cannot start from another")
        learned = model.inherit_weights(parent.model, parent.table)
    if parent is not None and _inherit_identifiers(model, recipe, parent):
        scheme, table = parent.decoder.stage.scheme, parent.table
    else:
        scheme = build_scheme(recipe.identifiers, model.tokenizer)
        scheme.set_pseudo_queries(pseudo_queries or {})
        table = _identifiers(scheme, (documents, units), queries, model, learned)
    _refuse_long_targets(recipe, model, scheme, table)
    if folder is not None:
        check_manifest(folder / FOLDER)
    strategy = load_strategy(recipe, folder)
    counts = np.array([len(queries.get(key, ())) for key in table.keys], dtype=np.int32)
    index = Index(table, documents, counts, np.zeros_like(counts))
    spelling = None
    if recipe.decoding.spelling:
        spelling = SpellingCorrector.fit(f"{one.title} {one.text}" for one in documents)
    decoder = Decoder(Stage(recipe, scheme, table, model, spelling), strategy)
    return Retriever(Updates(LoadedModel(recipe, decoder, index)))


def _refuse_long_targets(
    recipe: Recipe, model: Trainable, scheme: Scheme, table: IdentifierTable
) -> None:
    """Raise InputError if a target can be longer than the model's positions."""
    limit = int(getattr(scheme, "max_length", 0))
    if limit > table.depth:  # documents added later may be longer
        model.check_target_length(limit + 1, "[identifiers] max_tokens", 1)
    together = max_identifiers(recipe) * table.depth
    model.check_target_length(together + 1, "the length of identifiers", 1)
    joined = any(section.options.get("join") for section in recipe.tasks)
    if recipe.decoding.is_text or joined:
        model.check_target_length(recipe.training.target_length, "[training] target_length")


def _identifiers(
    scheme: Scheme,
    corpus: tuple[DocumentStore, Sequence[Document]],
    queries: TrainQueries,
    model: Trainable,
    vectors: Vectors | None,
) -> IdentifierTable:
    """Fit the scheme, and make the table and the head. corpus: documents and their units."""
    documents, units = corpus
    if vectors is None and not scheme.needs_tokenizer:
        vectors = model.to(PartialState().device).document_vectors(units, queries)
        model.to("cpu")
    scheme.fit(documents, vectors)
    keys = [document.key for document in documents]
    spans = spans_of(documents, scheme.options)
    table = IdentifierTable.build(scheme.encode(documents, vectors), keys, spans)
    model.build_head(scheme, table, vectors)
    return table


def _inherit_identifiers(model: DocidModel, recipe: Recipe, parent: Retriever) -> bool:
    """Inherit the parent's identifiers if possible. Raises InputError if some are missing."""
    assert isinstance(model, Inheritable)
    if parent.recipe.identifiers != recipe.identifiers:
        return False
    if not model.inherit_identifiers(parent.model, parent.decoder.stage.scheme, parent.table):
        return False
    if not parent.table.live.all():
        raise InputError(
            f"[model] init_from: documents of this corpus were deleted from {parent.folder}; "
            "train that model on this corpus"
        )
    return True


def _parent(folder: Path, recipe: Recipe, documents: DocumentStore) -> Retriever:
    parent = Retriever.load(folder, "cpu")
    if parent.recipe.model.kind != recipe.model.kind:
        raise InputError(
            f"[model] init_from: {folder} holds a {parent.recipe.model.kind!r} model, but this "
            f"recipe makes a {recipe.model.kind!r} one; start from one of the same kind"
        )
    own, its = (unit_options(scheme_options(one.identifiers)) for one in (recipe, parent.recipe))
    if own != its:
        raise InputError(
            f"[model] init_from: {folder} has [identifiers] {its}, but this recipe {own}; use the "
            "same"
        )
    if list(parent.table.keys) != [document.key for document in documents]:
        raise InputError(
            f"[model] init_from: {folder} was trained on another corpus; train it on this one"
        )
    return parent
