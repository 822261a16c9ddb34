"""Dense retrieval: exact inner products of a text encoder's vectors, without an index."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from threadpoolctl import ThreadpoolController

from genir.baselines.base import ExhaustiveSearcher, Scores, corpus_of, passage
from genir.errors import InputError
from genir.models.encoder import TextEncoder
from genir.models.encoder_head.given_vectors import GivenVectors, embed_queries
from genir.models.precision import choose
from genir.types import Document

MAX_SCORES_PER_BATCH = 2**24
"""Maximum number of scores in memory: queries of a chunk times documents (64 MB as float32)."""


class Dense(ExhaustiveSearcher):
    """Semantic baseline: compares the query's vector with every document's vector."""

    def __init__(
        self,
        corpus: Sequence[Document],
        keys: Sequence[str],
        vectors: NDArray[np.float32],
        encoder: TextEncoder | GivenVectors,
    ) -> None:
        super().__init__(corpus, keys)
        self.vectors = vectors
        self._encoder = encoder
        self._blas = ThreadpoolController().select(user_api="blas")

    @classmethod
    def fit(
        cls, corpus: Sequence[Document], encoder: TextEncoder, cache: Path | None = None
    ) -> Self:
        """Embed titles and texts, or read the vectors from `cache` if texts and encoder match.

        A cache of other texts or another encoder is overwritten.

        Raises:
            InputError: `cache` is a file of another kind.
        """
        corpus = corpus_of(corpus)
        documents = [(document.key, passage(document)) for document in corpus]
        texts = [text for _, text in documents]
        vectors = _embed(texts, encoder) if cache is None else _cached(texts, encoder, cache)
        return cls(corpus, [key for key, _ in documents], vectors, encoder)

    @property
    def bytes_per_document(self) -> float:
        """Return the size of a document's vector."""
        return float(self.vectors.itemsize * self.vectors.shape[1])

    def scores(self, queries: str | Iterable[str]) -> Iterator[Scores]:
        """Yield each query's inner products with all documents, float32 [documents]."""
        vectors = embed_queries(self._encoder, queries, work="answering")
        if len(vectors) == 1:
            # With more threads, NumPy's would keep spinning after the product and slow down torch's
            # threads in the next encoder pass, several times over.
            with self._blas.limit(limits=1):
                yield (vectors @ self.vectors.T)[0]
            return
        step = max(1, MAX_SCORES_PER_BATCH // len(self.vectors))
        for start in range(0, len(vectors), step):
            yield from vectors[start : start + step] @ self.vectors.T


def _embed(texts: Sequence[str], encoder: TextEncoder) -> NDArray[np.float32]:
    return encoder.embed(texts, "document", progress="embedding documents")


def _cached(texts: Sequence[str], encoder: TextEncoder, cache: Path) -> NDArray[np.float32]:
    digest = _digest(texts, encoder)
    if cache.exists():
        try:
            with safe_open(cache, "numpy") as file:
                if (file.metadata() or {}).get("digest") == digest:
                    return np.asarray(file.get_tensor("vectors"), dtype=np.float32)
        except (SafetensorError, OSError) as error:
            raise InputError(f"{cache}: not a cache of vectors ({error}); delete it") from None
    vectors = _embed(texts, encoder)
    with suppress(OSError, SafetensorError):  # the cache is optional
        cache.parent.mkdir(parents=True, exist_ok=True)
        unfinished = cache.with_name(f"{cache.name}.{os.getpid()}")
        save_file({"vectors": vectors}, unfinished, {"digest": digest})
        unfinished.replace(cache)
    return vectors


def _digest(texts: Sequence[str], encoder: TextEncoder) -> str:
    """Hash the inputs of the vectors: texts, precision, and the encoder's weights and design."""
    taken = choose("embedding", next(encoder.parameters()).device.type)
    digest = hashlib.sha256(f"{[tower.length for tower in encoder.towers()]} {taken}".encode())
    digest.update(encoder.design.model_dump_json().encode())
    for name, weights in encoder.state_dict().items():
        digest.update(name.encode())
        digest.update(weights.detach().cpu().float().numpy().tobytes())
    for text in texts:
        digest.update(f"\n{len(text)}:{text}".encode())
    return digest.hexdigest()
