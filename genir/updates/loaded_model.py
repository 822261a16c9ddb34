"""`LoadedModel`: a model in memory, and the application of changes to it.

A change makes a new table and trie, a layer over the document store and, for atomic identifiers,
parameter rows. A deletion only makes a new live mask.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from genir.config import Recipe, RerankSection
from genir.corpus.overlay import OverlayStore
from genir.decoding.decoder import Decoder
from genir.errors import InputError
from genir.identifiers.base import Scheme
from genir.identifiers.table import IdentifierTable
from genir.models.base import DocidModel
from genir.models.insertion import (
    Insertable,
    ProtectedQueries,
    require_insertable,
    row_width,
)
from genir.models.reranker import Reranker, load_reranker
from genir.updates.changes import Change, NetChanges, Shape, Upsert, as_row
from genir.updates.index import Index
from genir.updates.journal import FolderReplaced


@dataclass(frozen=True)
class LoadedModel:
    """A model and its documents at one version. Versions share the encoder, and storage of rows.

    Attributes:
        recipe: Recipe that it was trained by.
        decoder: Network, trie and search strategy.
        index: The documents.
        attachments: Files that training left in the folder, by name.
    """

    recipe: Recipe
    decoder: Decoder
    index: Index
    attachments: dict[str, bytes] = field(default_factory=dict)

    @property
    def model(self) -> DocidModel:
        """The network that emits identifiers of documents."""
        return self.decoder.stage.model

    @property
    def scheme(self) -> Scheme:
        """The identifier scheme."""
        return self.decoder.stage.scheme

    @property
    def table(self) -> IdentifierTable:
        """The table of identifiers."""
        return self.index.table

    @property
    def row_width(self) -> int | None:
        """Columns of a document's parameter row; None if the model has no rows."""
        return row_width(self.model)

    @property
    def shape(self) -> Shape:
        """Bounds that entries of a change must respect."""
        return Shape(self.scheme.level_sizes(), self.row_width, self.table.spans is not None)

    @property
    def insert_unsupported_reason(self) -> str:
        """Reason why documents cannot be added or replaced, or ""."""
        strategy = self.decoder.strategy
        if not strategy.capabilities.insertion:
            return (
                f"[decoding] strategy = {strategy.name!r} does not support insertions; train the "
                "model again on the new corpus"
            )
        try:
            require_insertable(self.model, self.scheme)
        except InputError as error:
            return str(error)
        return ""

    @property
    def reranker(self) -> Reranker | None:
        """The re-ranker of the recipe, loaded at its first use; None if it names none.

        Raises:
            InputError: It cannot be loaded.
        """
        section = self.recipe.rerank
        if not section.model:
            return None
        return load_reranker(section.model, section.length, str(self.model.device))

    def with_rerank(self, section: RerankSection) -> "LoadedModel":
        """Return this model with another section `[rerank]`."""
        return replace(self, recipe=self.recipe.model_copy(update={"rerank": section}))

    def with_recipe(self, recipe: Recipe) -> "LoadedModel":
        """Return this model under another recipe. Raises like `Decoder.with_recipe`."""
        return replace(self, recipe=recipe, decoder=self.decoder.with_recipe(recipe))

    def with_index(self, index: Index, model: DocidModel | None = None) -> "LoadedModel":
        """Return this model with another index, and with the network for it if it differs."""
        decoder = self.decoder.with_table(index.table, model or self.model)
        return replace(self, index=index, decoder=decoder)

    def with_protected_queries(self, protected: ProtectedQueries | None) -> "LoadedModel":
        """Return this model with other protected queries."""
        return replace(self, index=replace(self.index, protected_queries=protected))

    def with_base_url(self, base_url: str) -> "LoadedModel":
        """Return this model with another prefix of page URLs."""
        manifest = {**self.index.manifest, "base_url": base_url}
        return replace(self, index=replace(self.index, manifest=manifest))

    def apply(self, changes: Sequence[Change]) -> "LoadedModel":
        """Return the model after changes, oldest first.

        Raises:
            FolderReplaced: The document store was replaced.
        """
        net, loaded = NetChanges.fold(changes), self
        if net.upserts:
            loaded = loaded.upsert(net.upserts, net.added_in_version)
        table = loaded.table
        for live in (True, False):
            keys = [key for key, alive in net.live.items() if alive is live]
            table = table.with_live(map(table.number, keys), live)
        changed = loaded.with_index(replace(loaded.index, table=table))
        return changed.at_version(changes[-1].version) if changes else changed

    def at_version(self, version: int) -> "LoadedModel":
        """Return this model with another version number."""
        return replace(self, index=replace(self.index, version=version))

    def upsert(
        self, puts: Mapping[str, Upsert], added_in_version: Mapping[str, int]
    ) -> "LoadedModel":
        """Return the model with inserted or replaced documents, by key.

        added_in_version: version that added each document.
        """
        index, old = self.index, self.table
        new = [key for key in puts if key not in old]
        places = {key: number for number, key in enumerate(new, len(old.keys))}
        numbers = {key: places.get(key, -1) for key in puts}
        numbers |= {key: old.number(key) for key in puts if key not in places}
        identifiers = {numbers[key]: put.identifiers for key, put in puts.items()}
        spans = [put.spans for put in puts.values() if put.spans is not None]
        table = old.with_documents(identifiers, new, spans or None)
        rows: dict[int, NDArray[np.float32]] = {}
        protected = index.protected_queries
        if self.model.has_document_rows:
            new_rows = {key: as_row(put.row) for key, put in puts.items()}
            replaced = [numbers[key] for key in puts if key not in places]
            left = old.symbols[np.isin(old.documents, replaced), 0].tolist()
            blank = np.zeros_like(next(iter(new_rows.values())).rows[0])
            rows |= dict.fromkeys(left, blank)  # equal to a later load from disk
            for key, own in new_rows.items():
                symbols = (identifier[0] for identifier in puts[key].identifiers)
                rows |= dict(zip(symbols, own.rows, strict=True))
            vectors = {numbers[key]: own.query_rows for key, own in new_rows.items()}
            protected = _protected(protected, vectors)
        documents = index.documents
        if not isinstance(documents, OverlayStore):
            documents = OverlayStore(index.documents.path)
            if documents.identity != index.documents.identity:
                raise FolderReplaced
        changed_documents = {numbers[key]: put.document for key, put in puts.items()}
        documents.upsert(changed_documents)
        self.scheme.mark_used([one for put in puts.values() for one in put.identifiers])
        model = self.model
        if isinstance(model, Insertable):
            model = model.with_table(self.scheme, table, rows, changed_documents)
        counts = {numbers[key]: put.queries for key, put in puts.items()}
        added = {numbers[key]: added_in_version[key] for key in puts}
        changed = replace(
            index,
            table=table,
            documents=documents,
            query_counts=_extended(index.query_counts, counts, len(table.keys)),
            added_in_version=_extended(index.added_in_version, added, len(table.keys)),
            protected_queries=protected,
        )
        return self.with_index(changed, model)


def _protected(
    known: ProtectedQueries | None, vectors: Mapping[int, NDArray[np.float32]]
) -> ProtectedQueries | None:
    """Return the protected queries with the vectors given for documents, by number."""
    if known is None and any(map(len, vectors.values())):
        width = next(iter(vectors.values())).shape[1]
        known = ProtectedQueries(np.zeros((0, width), np.float32), np.zeros(0, np.int32))
    return known and known.with_queries(vectors)


def _extended(
    known: NDArray[np.int32], values: Mapping[int, int], length: int
) -> NDArray[np.int32]:
    """Return `known` extended to `length` with zeros, with `values` assigned by index."""
    longer = np.zeros(length, dtype=np.int32)
    longer[: len(known)] = known
    longer[list(values)] = list(values.values())
    return longer
