"""Construction of an untrained retriever: model, tokenizer, vectors, identifiers and head."""

from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState

from genir.config import Recipe
from genir.corpus.store import DocumentStore
from genir.decoding.strategies.tome import PassageStage
from genir.errors import InputError
from genir.identifiers.base import Scheme, Vectors
from genir.identifiers.registry import build_scheme
from genir.identifiers.table import IdentifierTable
from genir.models.base import DocidModel
from genir.models.registry import build_model
from genir.retriever import Retriever
from genir.tasks.base import TrainQueries


def build_retriever(
    recipe: Recipe,
    documents: DocumentStore,
    queries: TrainQueries,
    start: Path | None,
    passage_stage: Path | None = None,
    pseudo_queries: TrainQueries | None = None,
) -> Retriever:
    """Build the retriever of a recipe for a corpus.

    Args:
        start: Trained model folder that provides the initial encoder and document vectors.
        passage_stage: Trained model folder of the recipe's first stage.
        pseudo_queries: Generated queries by document, used by schemes with query identifiers.

    Raises:
        InputError: parts of the recipe are incompatible.
    """
    torch.manual_seed(recipe.training.seed)  # new parameters are random
    parent = None if start is None else _parent(start, recipe, documents)
    model = build_model(recipe.model, documents)
    model.check_source_length(recipe.training.source_length)
    learned = None if parent is None else model.inherit_weights(parent.model, parent.table)
    if parent is not None and _inherits_identifiers(model, recipe, parent):
        scheme, table = parent.scheme, parent.table
        model.inherit_identifiers(parent.model, scheme, table)
    else:
        scheme = build_scheme(recipe.identifiers, model.tokenizer)
        scheme.set_pseudo_queries(pseudo_queries or {})
        table = _identifiers(scheme, documents, queries, model, learned)
    _refuse_long_targets(recipe, model, scheme, table)
    retriever = Retriever(recipe, scheme, table, model, documents)
    if passage_stage is not None and recipe.passage_stage is not None:
        before = Retriever.load(passage_stage, "cpu")
        retriever.passage_stage = PassageStage(
            recipe.passage_stage, before.scheme, before.table, before.model
        )
    counts = [len(queries.get(key, ())) for key in table.keys]
    retriever.query_counts = np.array(counts, dtype=np.int32)
    return retriever


def _refuse_long_targets(
    recipe: Recipe, model: DocidModel, scheme: Scheme, table: IdentifierTable
) -> None:
    """Raise InputError if a target can be longer than the model's positions."""
    limit = int(getattr(scheme, "max_length", 0))
    if limit > table.depth:  # documents added later may be longer
        model.check_target_length(limit + 1, "[identifiers] max_tokens", 1)
    together = recipe.decoding.max_identifiers * table.depth
    model.check_target_length(together + 1, "the length of identifiers", 1)
    joined = any(section.options.get("join") for section in recipe.tasks)
    if recipe.decoding.mode == "text" or joined:
        model.check_target_length(recipe.training.target_length, "[training] target_length")


def _identifiers(
    scheme: Scheme,
    documents: DocumentStore,
    queries: TrainQueries,
    model: DocidModel,
    vectors: Vectors | None,
) -> IdentifierTable:
    """Fit the scheme, assign identifiers and attach the head to the model."""
    if vectors is None and not scheme.needs_tokenizer:
        vectors = model.to(PartialState().device).document_vectors(documents, queries)
        model.to("cpu")
    scheme.fit(documents, vectors)
    keys = [document.key for document in documents]
    table = IdentifierTable.build(scheme.encode(documents, vectors), keys)
    model.build_head(scheme, table, vectors)
    return table


def _inherits_identifiers(model: DocidModel, recipe: Recipe, parent: Retriever) -> bool:
    """Return whether to keep the parent's identifiers. Raises InputError if some are missing."""
    if not model.inherits_identifiers or parent.recipe.identifiers != recipe.identifiers:
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
            "recipe "
            f"makes a {recipe.model.kind!r} one; start from one of its own kind"
        )
    if list(parent.table.keys) != [document.key for document in documents]:
        raise InputError(
            f"[model] init_from: {folder} was trained on another corpus; train it on this one"
        )
    return parent
