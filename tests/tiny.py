"""Untrained models of the tiny corpus as complete retrievers; recipes reduced to the same size."""

import json
from dataclasses import replace

import torch

from genir.config import DecodingSection, Recipe, dump_recipe, load_recipe
from genir.corpus.readers import read_corpus, read_train_queries
from genir.corpus.store import DocumentStore
from genir.training.build import build_retriever
from genir.training.losses.registry import LOSSES

SCHEMES = {
    "atomic": {},
    "residual": {"levels": 2, "codes": 8},
    "hierarchical": {"branches": 3, "leaf": 5},
    "url": {},
}
SHARED = {"ngram": {"n": 3}, "views": {"n": 3, "ngrams": 4}}
"""Schemes with shared identifiers, and several per document."""
GATHERED = {"ngram": "seal", "views": "minder"}
"""Strategies that sum the scores of several identifiers, by scheme."""
SCRATCH = {
    "kind": "seq2seq",
    "source": "scratch",
    "vocabulary_size": 400,
    "width": 16,
    "heads": 2,
    "layers": 1,
    "feedforward": 32,
    "dropout": 0.0,
}
QUERIES = ["clone a text", "how do i monitor a drive?", "erase"]


def tiny_retriever(encoder, corpus, path, scheme, model=(), **decoding):
    """Assemble a scheme's model; `path` is the path of the document store.

    model: options of the encoder-head model, or, with a `kind`, of another model.
    """
    documents = DocumentStore.create(path, read_corpus(corpus))
    queries = read_train_queries(
        corpus / "queries.jsonl", corpus / "qrels" / "train.tsv", set(documents.keys())
    )
    model = dict(model)
    if "kind" not in model:
        words = 8 if scheme == "atomic" else 0
        model = {"kind": "encoder-head", "encoder": str(encoder), "word_set_size": words} | model
    recipe = {
        "name": "tiny",
        "identifiers": {"scheme": scheme} | (SCHEMES | SHARED)[scheme],
        "tasks": [{"task": "queries"}],
        "model": SCRATCH if scheme in ("url", *SHARED) else model,
        "training": {"precision": "fp32"},
        "decoding": {"beams": 4} | decoding,
    }
    torch.manual_seed(0)
    retriever = build_retriever(Recipe.model_validate(recipe), documents, queries, None)
    retriever.model.eval()
    return retriever


TINY_SCHEMES = {
    "hierarchical": ("identifiers.branches=3", "identifiers.leaf=5"),
    "residual": ("identifiers.levels=2", "identifiers.codes=8"),
    "product": ("identifiers.levels=4", "identifiers.codes=8"),
}


def small(name, encoder, folder):
    """Return the settings that replace a recipe's models by tiny ones, and its parent by a file."""
    recipe = load_recipe(name)
    settings = [f"model.encoder={json.dumps(str(encoder))}", "training.max_steps=2"]
    settings += ["training.precision=fp32", "training.num_dev_evals=1"]
    if recipe.model.kind == "seq2seq":
        settings += [f"model.{key}={json.dumps(value)}" for key, value in SCRATCH.items()]
    settings += TINY_SCHEMES.get(recipe.identifiers.scheme, ())
    if "term_set_size" in recipe.model.options:
        settings.append("model.term_set_size=4")
    for where, stage in (("", recipe), ("passage_stage.", recipe.passage_stage)):
        for number, loss in enumerate(stage.losses if stage else ()):
            options = LOSSES.find(loss.loss).Options.model_validate(loss.options)
            if getattr(options, "teacher", "") in ("dense", "rrf"):
                settings.append(f"{where}losses.{number}.encoder={json.dumps(str(encoder))}")
    if recipe.pseudo_queries.source:
        (folder / "made.jsonl").write_text('{"document": "copy-file", "text": "made up"}\n')
        settings.append(f"pseudo_queries.source={folder / 'made.jsonl'}")
    if recipe.model.init_from:
        # The parent starts anew: a test of its own trains it after its parent.
        own = [*small(recipe.model.init_from, encoder, folder), "model.init_from="]
        parent = load_recipe(recipe.model.init_from, own)
        path = folder / f"{recipe.model.init_from}.toml"
        path.write_text(dump_recipe(parent))
        settings.append(f"model.init_from={path}")
    return settings


def under(retriever, **decoding):
    """Return the same retriever under other keys of `[decoding]`."""
    section = DecodingSection.model_validate(retriever.recipe.decoding.model_dump() | decoding)
    return retriever.with_recipe(retriever.recipe.model_copy(update={"decoding": section}))


def set_index(retriever, **changes):
    """Switch a retriever to an index with other fields, for example another table."""
    loaded = retriever.updates.loaded
    retriever.updates.loaded = loaded.with_index(replace(loaded.index, **changes))
