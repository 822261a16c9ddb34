"""Document vectors of the dense baseline, for models whose recipe names a file of vectors."""

import json
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from genir.baselines.base import passage
from genir.corpus.vectors import read_vectors
from genir.errors import InputError
from genir.models.digests import file_digest
from genir.models.encoder import TextEncoder
from genir.models.encoder_head.given_vectors import GivenVectors
from genir.retriever import Retriever
from genir.types import Document

NO_KEYS = ".npy"
"""Extension of files without keys, whose rows are in the order of the corpus of the training."""


def vectors_file(retriever: Retriever) -> Path | None:
    """Return the file of document vectors that the recipe names, if any."""
    file = str(retriever.recipe.model.options.get("vectors", ""))
    return Path(file) if file else None


def has_changed(retriever: Retriever, file: Path) -> bool:
    """Return whether a file of vectors is another than in the training, if its digest is known."""
    metrics = json.loads(retriever.attachments.get("metrics.json", b"{}"))
    known = metrics.get("inputs", {}).get(f"file {file}")
    return known is not None and file_digest(file) != known


def document_vectors(
    retriever: Retriever,
    corpus: Sequence[Document],
    file: Path,
    encoder: TextEncoder | GivenVectors,
) -> NDArray[np.float32]:
    """Return the unit vectors of live documents, float32 [documents, H].

    The file of the training has those of its documents. Documents that were added or replaced since
    are embedded by the model's encoder. Without one they need a changed file, which has them all.

    Raises:
        InputError: The file is missing, does not fit the encoder, or lacks a document.
    """
    if not file.is_file():
        raise InputError(f"{file}: no such file; restore the file of the training")
    keys = [document.key for document in corpus]
    if has_changed(retriever, file):
        if file.suffix.lower() == NO_KEYS:
            raise InputError(f"{file}: has changed since the training; restore it")
        return _fitting(read_vectors(file, keys), file, encoder)
    born = zip(retriever.table.keys, retriever.index.added_in_version, strict=True)
    trained = [key for key, version in born if version == 0]  # also deleted ones: .npy has no keys
    known = set(trained)
    others = [document for document in corpus if document.key not in known]
    wanted = [key for key in keys if key in known]
    if others and isinstance(encoder, GivenVectors):
        raise InputError(
            f"document {others[0].key!r} was added or replaced after the training; give {file} the "
            "vectors of all documents by key"
        )
    vectors = np.empty((len(corpus), encoder.dimension), dtype=np.float32)
    is_known = np.array([key in known for key in keys], dtype=bool)
    vectors[is_known] = _fitting(read_vectors(file, trained, wanted), file, encoder)
    if others:
        assert isinstance(encoder, TextEncoder)
        vectors[~is_known] = encoder.embed(
            [passage(document) for document in others], "document", progress="embedding documents"
        )
    return vectors


def change_notes(retriever: Retriever, baselines: Collection[str]) -> list[str]:
    """Return a note if the file of vectors is another than in the training, and is compared."""
    file = vectors_file(retriever)
    if file is None or not set(baselines) - {"bm25"} or not has_changed(retriever, file):
        return []
    return [f"dense: {file} has changed since the training; its present vectors are compared."]


def _fitting(
    vectors: NDArray[np.float32], file: Path, encoder: TextEncoder | GivenVectors
) -> NDArray[np.float32]:
    if vectors.shape[1] != encoder.dimension:
        raise InputError(
            f"{file}: the vectors have {vectors.shape[1]} numbers, those of the model "
            f"{encoder.dimension}; restore the file of the training"
        )
    return vectors
