"""`Retriever`: a trained model that ranks documents, and its model folder.

It is composed of a `Decoder` (network, trie, search strategy), an `Index` (identifiers and contents
of the documents) and `Updates` (the journal). Documents are ranked by parameters alone; the
document store is read only for the contents of hits.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch

from genir import hub
from genir.arguments import as_count, as_counts, as_keys, as_path, as_text
from genir.config import Recipe
from genir.corpus.lazy_hits import LazyHits
from genir.corpus.page_urls import move_url
from genir.corpus.store import DocumentStore
from genir.corpus.vectors import as_queries, with_document_vectors
from genir.decoding.decoder import Decoder
from genir.decoding.identifier_shares import document_shares
from genir.decoding.row_mask import RowMask
from genir.errors import InputError
from genir.identifiers.table import IdentifierTable
from genir.models.base import DocidModel
from genir.models.devices import as_device
from genir.models.eval_mode import evaluating
from genir.models.insertion import protect_queries
from genir.models.reranker import Reranker
from genir.tasks.base import TrainQueries
from genir.types import Capabilities, FilterSpec, Hit, HitList
from genir.updates import saving
from genir.updates.answers import make_answers, rerank_answers
from genir.updates.difference import MAX_DELETED_SHARE, Difference
from genir.updates.index import Index
from genir.updates.mirror import mirror
from genir.updates.updates import Check, Given, QueriesByKey, Updates
from genir.updates.versions import Version

QUERIES_PER_BATCH = 32
"""Maximum number of queries decoded in one batch."""


class Retriever:
    """A trained generative retrieval model with its documents: load, search, update, save.

    Attributes:
        updates: The model at its current version, and the journal of its folder.
        shown_base_url: Base URL of the hits instead of the model's; None for the model's.

    Examples:
        >>> from genir import Retriever
        >>> retriever = Retriever.load("model")
        >>> [answer] = retriever.search("how do I rename a file?", k=1)
        >>> answer[0].key
        'move'
    """

    def __init__(self, updates: Updates) -> None:
        self.updates = updates
        self.shown_base_url: str | None = None

    @classmethod
    def load(cls, folder: Path | str, device: torch.device | str | None = None) -> Self:
        """Load a model folder; each file is checked against the manifest's digests.

        Args:
            folder: The folder that `train` or `save` wrote.
            device: For example "cpu" or "cuda:1". Default: CUDA where there is a GPU, else the CPU.

        Raises:
            InputError: A file that is missing, truncated or foreign, or a device that is unknown
                or not available.

        Examples:
            >>> Retriever.load("model", device="cpu").recipe.name
            'default'
        """
        return cls(Updates.open(as_path(folder, "folder"), as_device(device)))

    @classmethod
    def from_pretrained(cls, name: str, device: torch.device | str | None = None) -> Self:
        """Load a local model folder, or one from the Hugging Face hub by name."""
        as_path(name, "name")  # refuse other types
        return cls.load(hub.local_folder(name), device)

    def __repr__(self) -> str:
        return (
            f"Retriever(recipe={self.recipe.name!r}, documents={self.index.live_count:,}, "
            f"parameters={self.parameters:,}, device={str(self.model.device)!r})"
        )

    # --- parts ---------------------------------------------------------------------------------

    @property
    def recipe(self) -> Recipe:
        """The recipe that the model was trained by."""
        return self.updates.loaded.recipe

    @property
    def decoder(self) -> Decoder:
        """Network, trie and search strategy."""
        return self.updates.loaded.decoder

    @property
    def index(self) -> Index:
        """The documents at the current version."""
        return self.updates.loaded.index

    @property
    def attachments(self) -> dict[str, bytes]:
        """Files that training left in the folder, by name."""
        return self.updates.loaded.attachments

    @property
    def model(self) -> DocidModel:
        """The network that emits identifiers of documents."""
        return self.decoder.stage.model

    @property
    def table(self) -> IdentifierTable:
        """Identifiers of the documents, and which documents are live."""
        return self.index.table

    @property
    def documents(self) -> DocumentStore:
        """The document store; deleted documents included."""
        return self.index.documents

    @property
    def folder(self) -> Path | None:
        """The model folder; None before the first save."""
        return self.updates.folder

    @property
    def capabilities(self) -> Capabilities:
        """Features of the search strategy."""
        return self.decoder.strategy.capabilities

    @property
    def reranker(self) -> Reranker | None:
        """The re-ranker of the hits, loaded at its first use; None if the recipe names none."""
        return self.updates.loaded.reranker

    @property
    def version(self) -> int:
        """Number of acknowledged changes; it never decreases."""
        return self.index.version

    @property
    def base_url(self) -> str:
        """Prefix of the URLs of pages; "" if they are relative."""
        return self.index.base_url

    def shown_url(self, url: str) -> str:
        """Return the URL of a document under `shown_base_url`."""
        return url if (new := self.shown_base_url) is None else move_url(url, self.base_url, new)

    @property
    def bytes_per_document(self) -> float:
        """Size of the trie and of identifier parameters, in bytes per document."""
        size = sum(one.trie.bytes + one.model.identifier_bytes() for one in self.decoder.stages)
        return size / max(1, len(self.documents))

    @property
    def parameters(self) -> int:
        """Number of parameters, of both stages if there are two."""
        return sum(p.numel() for one in self.decoder.stages for p in one.model.parameters())

    def to(self, device: torch.device | str) -> Self:
        """Move the model and the trie to a device, in place.

        Raises:
            InputError: Not a device name, or the device is not available.
        """
        self.decoder.to(as_device(device))
        return self

    def with_recipe(self, recipe: Recipe) -> Self:
        """Return a retriever under another recipe, with this network and these documents.

        It has no folder, so it cannot be changed; do not use it after changes of this one.

        Raises:
            InputError: The search strategy does not fit the recipe.
        """
        return type(self)(Updates(self.updates.loaded.with_recipe(recipe)))

    def at_this_version(self) -> Self:
        """Return a retriever that stays at this version, without a folder.

        For several steps on the same documents while another thread may apply changes.
        """
        return type(self)(Updates(self.updates.loaded))

    def close(self) -> None:
        """Close the files; no search or change is possible afterwards."""
        self.updates.close()

    # --- answering -----------------------------------------------------------------------------

    def search(
        self,
        queries: str | Iterable[str] | None,
        k: int | Sequence[int] = 10,
        where: FilterSpec | Sequence[FilterSpec] = None,
        beams: int | None = None,
        exact: bool | None = None,
        vectors: Any = None,
    ) -> list[HitList[Hit]]:
        """Return the hits of each query: min(k, matching documents), best first.

        Args:
            queries: Q queries; a string is one query, Q = 1. With vectors they may be "", or None.
            k: Hits per query: one number, or a list of Q.
            where: Metadata filter, e.g. `{"lang": "en"}`: one, or a list of Q. None: no filter.
            beams: Beam width, raised to the largest k. Default: the recipe's.
            exact: Prove that no document scores higher; where the recipe's budget is too small,
                `proven` is False and beam search answers. Default: as the recipe's strategy.
            vectors: Vectors of the queries by the model's encoder, [Q, H], or [H] for one. Texts
                then add their words only. A model trained with `--vectors` needs them, or answers
                by words alone.

        Returns:
            A list of Q answers, each a list of `Hit`s with an attribute `proven`.

        Raises:
            InputError: A query that is not text, k or beams below 1, a list of another length, or
                a field that no document has.

        Examples:
            >>> answers = retriever.search(["copy a file", "rename a file"], k=2)
            >>> [hit.key for hit in answers[0]]
            ['copy', 'move']
        """
        found = self.match(queries, k, where, beams, exact, vectors)
        return [one.hits() for one in found]

    def beam_width(self, k: int, beams: int | None = None) -> int:
        """Return the beam width for k hits; queries of one width may share a batch."""
        return self.decoder.beam_width(self.recipe.rerank.candidates(k), beams)

    def match(
        self,
        queries: str | Iterable[str] | None,
        k: int | Sequence[int] = 10,
        where: FilterSpec | Sequence[FilterSpec] = None,
        beams: int | None = None,
        exact: bool | None = None,
        vectors: Any = None,
    ) -> list[LazyHits]:
        """Return the answers of `search` before snippets are made. Raises like `search`.

        A server makes the snippets in other threads than the model's.
        """
        queries = as_queries(queries, vectors)
        ks = as_counts(k, "k", len(queries))
        beams = None if beams is None else as_count(beams, "beams")
        if not isinstance(exact, bool | None):
            raise InputError(f"exact = {exact!r:.60}: give True, False or None")
        loaded = (
            self.updates.loaded
        )  # one version for all steps, even if another thread applies a change
        decoder, matches = loaded.decoder, list[LazyHits]()
        section, reranker = loaded.recipe.rerank, loaded.reranker
        found_ks = [section.candidates(k) for k in ks]
        width = decoder.beam_width(max(found_ks, default=1), beams)
        masks = loaded.index.masks.masks(where, len(queries))
        if any(mask is not loaded.table.live for mask in masks.masks):
            decoder.require("filters", "where")
        for start in range(0, len(queries), QUERIES_PER_BATCH):
            batch = range(len(queries))[start : start + QUERIES_PER_BATCH]
            own = [queries[q] for q in batch]
            own_ks = [found_ks[q] for q in batch]
            ranked = decoder.rank(own, own_ks, masks.select(batch), width, exact)
            found = make_answers(loaded, own, ranked, masks.restrict_scores)
            if reranker is not None:
                found = rerank_answers(reranker, section, found, [ks[q] for q in batch])
            matches += [one.with_urls(self.shown_url) for one in found]
        return matches

    def shares(
        self, query: str, keys: str | Iterable[str], where: FilterSpec = None
    ) -> list[float] | None:
        """Return the probability of documents among all that the query may find, 0 to 1 each.

        Decoding is constrained to live documents that pass the filter; the shares of all of them
        sum to 1 (`decoding.identifier_shares`). None if scores are not identifier
        probabilities: for two stages, look-ahead, several identifiers per answer, and n-gram sums.

        Args:
            query: The query.
            keys: Keys of documents; documents that may not be found have share 0.
            where: The filter, as in `search`.

        Raises:
            InputError: A key or a field of the filter is unknown.
        """
        loaded, query = self.updates.loaded, as_text(query, "query")
        numbers = [loaded.table.number(key) for key in as_keys(keys)]
        if not loaded.decoder.strategy.capabilities.shares:
            return None
        stage = loaded.decoder.stage
        row_mask = loaded.index.masks.masks(where, 1).to(stage.model.device)
        with stage.autocast():
            inputs = stage.encode(query)
            return document_shares(stage.model, stage.table, stage.trie, inputs, row_mask, numbers)

    def confidence(self, query: str, key: str) -> float | None:
        """Return the probability that a document answers a query, 0 to 1.

        Scores and shares compare the documents of one query. This number can be compared between
        queries: a low value for the first hit means that the collection has no answer. A logistic
        model computes it, with coefficients from three collections (docs/design/0023). None for
        models of kind "seq2seq".

        Args:
            query: The query.
            key: Key of the document.

        Raises:
            InputError: The key is unknown, or its document is deleted.
        """
        loaded, query = self.updates.loaded, as_text(query, "query")
        stage, key = loaded.decoder.stage, as_text(key, "key")
        rows = torch.from_numpy(loaded.table.rows_of(loaded.table.number(key)))
        found = loaded.index.documents.fetch([key])
        if not (loaded.table.is_live(key) and key in found):
            raise InputError(f"document {key!r} is deleted; give the key of a hit")
        with evaluating(stage.model):
            rows = rows.to(stage.model.device)
            return stage.model.confidence(stage.corrected(query), rows, found[key])

    def row_mask(self, where: FilterSpec = None) -> RowMask:
        """Return the mask of a filter for the decoder. Raises like `search`."""
        return self.index.masks.masks(where, 1)

    def prepare(self, where: FilterSpec) -> RowMask:
        """Compute and cache a filter's mask, from any thread, for later searches."""
        return self.index.masks.mask(where)

    def prepared(self, where: FilterSpec) -> RowMask | None:
        """Return the cached mask of a filter, or None; does not block, from any thread."""
        return self.index.masks.cached(where)

    # --- changes -------------------------------------------------------------------------------

    def add(
        self,
        documents: Given,
        queries: QueriesByKey | None = None,
        check: Check | None = None,
        vectors: Mapping[str, Any] | None = None,
    ) -> list[str]:
        """Add documents as one change; they are searchable on return.

        Adding a deleted document again restores it unchanged, unless queries are given for it.

        Args:
            documents: `Document`s, or dicts with the fields of a line of corpus.jsonl (`_id`,
                `text`, ...); a single one counts as a list of one.
            queries: Known queries of each document by key, a list or a single string.
            check: Called with the keys inside the write transaction; its exception aborts it.
            vectors: Vectors of the documents by key, by the model's encoder; a model trained with
                given vectors needs them.

        Returns:
            The keys of the documents.

        Raises:
            InputError: a record is invalid, a key is already live, a document cannot be assigned
                an identifier, or the folder cannot be written; nothing has changed.
        """
        return self.updates.add(with_document_vectors(documents, vectors), queries, check)

    def replace(
        self,
        documents: Given,
        queries: QueriesByKey | None = None,
        check: Check | None = None,
        vectors: Mapping[str, Any] | None = None,
    ) -> list[str]:
        """Replace live documents by key, as one change; return the keys. See `add`.

        Raises:
            InputError: a key is not live, or as for `add`.
        """
        return self.updates.replace(with_document_vectors(documents, vectors), queries, check)

    def put(
        self,
        documents: Given,
        queries: QueriesByKey | None = None,
        vectors: Mapping[str, Any] | None = None,
    ) -> list[str]:
        """Add or replace documents as one change; return the keys. See `add`."""
        return self.updates.put(with_document_vectors(documents, vectors), queries)

    def delete(self, keys: str | Iterable[str], check: Check | None = None) -> list[str]:
        """Delete documents; later searches do not return them. Return their keys.

        Args:
            keys: Keys of live documents; a string is one key.
            check: As for `add`.

        Raises:
            InputError: a key is not live; nothing was deleted.
        """
        return self.updates.delete(keys, check)

    def mirror(
        self,
        documents: str | Path | Given,
        max_deleted: float = MAX_DELETED_SHARE,
        dry_run: bool = False,
    ) -> Difference:
        """Make the documents of the model equal to the given ones, as one change.

        Unchanged documents are not touched. A document with another key, URL or metadata but the
        same title and text keeps its identifiers or parameters.

        Args:
            documents: All documents of the model: a path that `genir train --corpus` takes, whose
                URLs get the model's base URL, or documents as for `add`.
            max_deleted: Maximum share of the live documents that may be deleted, 0 to 1.
            dry_run: Only return the difference.

        Returns:
            The difference between the model and the documents before the change.

        Raises:
            InputError: More documents would be deleted, or as for `add`; nothing has changed.
        """
        return mirror(self.updates, documents, max_deleted, dry_run)

    def rollback(self, version: int) -> None:
        """Restore the documents of an earlier version, as a new change.

        Raises:
            InputError: the version precedes the last compaction or does not exist yet.
        """
        self.updates.rollback(version)

    def versions(self) -> list[Version]:
        """Return the version history, oldest first."""
        return self.updates.versions()

    def sync(self, reload: bool = True) -> bool:
        """Apply changes of other processes; return whether there were any.

        Args:
            reload: Load the folder again if it was replaced; otherwise raise `FolderReplaced`.
        """
        return self.updates.sync(reload)

    @property
    def insert_unsupported_reason(self) -> str:
        """Reason why documents cannot be added or replaced, or ""."""
        return self.updates.loaded.insert_unsupported_reason

    def protect_queries(self, queries: TrainQueries) -> None:
        """Set the train queries, by document, whose rankings insertions must keep."""
        protected = protect_queries(self.model, queries, self.table)
        self.updates.loaded = self.updates.loaded.with_protected_queries(protected)

    def set_base_url(self, base_url: str) -> None:
        """Set the prefix of page URLs. A saved model's folder is rewritten, as a new version.

        URLs of documents with the former prefix get the new one. Versions before this one can no
        longer be restored.

        Args:
            base_url: For example https://example.org/docs; "" for relative URLs.

        Raises:
            InputError: Not a URL, the identifiers are made of the URLs, or the folder cannot be
                written.
        """
        saving.set_base_url(self.updates, base_url)

    def set_rerank(self, model: str, top_n: int | None = None) -> None:
        """Re-rank hits from the next search on, also after the next save.

        Args:
            model: A cross-encoder or monoT5, as in `[rerank] model`; "" disables.
            top_n: Hits that are re-ranked. Default: as before, 50 at first.

        Raises:
            InputError: The model cannot be loaded; nothing has changed.
        """
        changes: dict[str, object] = {"model": as_text(model, "model")}
        if top_n is not None:
            changes["top_n"] = as_count(top_n, "top_n")
        section = self.recipe.rerank.model_copy(update=changes)
        loaded = self.updates.loaded.with_rerank(section)
        _ = loaded.reranker  # an error leaves the model as it was
        self.updates.loaded = loaded

    # --- the model folder ----------------------------------------------------------------------

    def save(self, folder: Path | str, overwrite: bool = False) -> None:
        """Write the model folder atomically, and continue with it; see `saving.save`.

        Raises:
            InputError: The folder exists and not `overwrite`, holds files that are not a model's,
                or cannot be written.
        """
        saving.save(self.updates, folder, overwrite)

    def compact(self) -> None:
        """Rewrite the folder without deleted documents, with an empty journal.

        Versions before this one can no longer be restored.
        """
        saving.compact(self.updates)

    def push_to_hub(self, name: str, private: bool = True) -> str:
        """Upload the saved model folder to the Hugging Face hub, and return its address.

        Raises:
            InputError: The name is not a str, the model is not saved, or the hub refuses it or
                cannot be reached.
        """
        if self.folder is None:
            raise InputError("save the model to a folder before pushing it to the hub")
        return hub.upload(self.folder, as_text(name, "name"), private)
