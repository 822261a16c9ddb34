"""`Index`: the documents of a model at one version."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genir.corpus.store import DocumentStore
from genir.decoding.filters import RowMaskCache
from genir.identifiers.table import IdentifierTable
from genir.models.insertion import ProtectedQueries


@dataclass(frozen=True)
class Index:
    """Identifiers and contents of documents at one version; a change makes a new one.

    Attributes:
        table: Identifiers of the documents, and which documents are live.
        documents: Document store. Newer versions share it, add documents to it and replace texts.
        query_counts: Number of train queries per document, int32 [documents].
        added_in_version: Version that added each document, int32 [documents]; 0: the training.
        protected_queries: Protected queries of the documents; None without them.
        version: Number of acknowledged changes.
        manifest: Manifest of the model folder; {} before the first save.
    """

    table: IdentifierTable
    documents: DocumentStore
    query_counts: NDArray[np.int32]
    added_in_version: NDArray[np.int32]
    protected_queries: ProtectedQueries | None = None
    version: int = 0
    manifest: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def masks(self) -> RowMaskCache:
        """Masks of metadata filters over the table."""
        return RowMaskCache(self.table, self.documents)

    @property
    def learned(self) -> int:
        """Version that the model was trained on."""
        return int(self.manifest.get("learned", 0))

    @property
    def base_url(self) -> str:
        """Prefix of page URLs; "" if training had none."""
        return str(self.manifest.get("base_url", ""))

    @property
    def alive(self) -> NDArray[np.bool_]:
        """Which documents are live, bool [documents]."""
        alive = np.zeros(len(self.table.keys), dtype=bool)
        alive[self.table.documents[self.table.live]] = True
        return alive

    @property
    def live_count(self) -> int:
        """Number of live documents."""
        return int(np.count_nonzero(self.alive))

    @property
    def untrained(self) -> NDArray[np.bool_]:
        """Which documents the model was not trained on, bool [documents]."""
        untrained: NDArray[np.bool_] = self.added_in_version > self.learned
        return untrained
