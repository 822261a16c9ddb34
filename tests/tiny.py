"""Untrained models of the tiny corpus, as whole retrievers."""

import torch

from genir.config import Recipe
from genir.corpus.folder import read_corpus, read_train_queries
from genir.corpus.store import DocumentStore
from genir.training.assembly import assemble

SCHEMES = {
    "atomic": {},
    "residual": {"levels": 2, "codes": 8},
    "hierarchical": {"branches": 3, "leaf": 5},
    "url": {},
}
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


def tiny_retriever(encoder, corpus, path, scheme, **decoding):
    """Assemble a scheme's model; `path` is where the document store goes."""
    documents = DocumentStore.create(path, read_corpus(corpus))
    queries = read_train_queries(
        corpus / "queries.jsonl", corpus / "qrels" / "train.tsv", set(documents.keys())
    )
    bridge = {"kind": "bridge", "encoder": str(encoder), "lexical": 8}
    recipe = {
        "name": "tiny",
        "identifiers": {"scheme": scheme} | SCHEMES[scheme],
        "tasks": [{"task": "queries"}],
        "model": SCRATCH if scheme == "url" else bridge,
        "training": {"precision": "fp32"},
        "decoding": {"beams": 4} | decoding,
    }
    torch.manual_seed(0)
    retriever = assemble(Recipe.model_validate(recipe), documents, queries, None)
    retriever.model.eval()
    return retriever
