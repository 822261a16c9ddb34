"""`Retriever`: a trained model that ranks documents, and its model folder.

Documents are ranked by parameters alone; the document store is read only for the contents of hits.
Insertions and deletions are in `genir.updates`.
"""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from genir import hub
from genir.arguments import as_count, as_counts, as_keys, as_path, as_text, as_texts
from genir.cancellation import raise_if_cancelled
from genir.config import Recipe, StageConfig, load_recipe
from genir.corpus.lazy_hits import LazyHits
from genir.corpus.store import DocumentStore
from genir.decoding.aggregate import Ranked
from genir.decoding.filters import FilterSpec, RowMaskCache, passing_rows
from genir.decoding.identifier_shares import document_shares, supports_shares
from genir.decoding.ranker import DecoderInput, Ranker
from genir.decoding.row_mask import Mask, RowMask
from genir.decoding.strategies.tome import PassageStage, add_queries
from genir.errors import InputError
from genir.identifiers.base import Scheme
from genir.identifiers.registry import load_scheme
from genir.identifiers.table import IdentifierTable, check_row_depths, check_symbol_ranges
from genir.manifest import check_manifest
from genir.models.base import DocidModel
from genir.models.checkpoint_checks import may_be_of_hub
from genir.models.checkpoint_io import read_tokenizer
from genir.models.devices import as_device
from genir.models.encoder_head.protected_queries import ProtectedQueries
from genir.models.position_limits import require_within
from genir.models.registry import load_model
from genir.types import Filter, Hit, HitList
from genir.updates.index import folder_fingerprint
from genir.updates.journal import FolderReplaced
from genir.updates.storage import IndexStorage, read_attachments, read_facts

QUERIES_PER_BATCH = 32
"""Maximum number of queries decoded in one batch."""

TRAIN_QUERIES = "train-queries.digests"
"""Digests of the train queries, to detect train queries in an evaluation."""
ATTACHMENTS = ("metrics.json", "training.png", "MODEL_CARD.md", TRAIN_QUERIES)
"""Files of a training run that are kept when the model is saved again."""


class Retriever(IndexStorage):
    """A trained generative retrieval model with its documents: load, search, update, save.

    Attributes:
        recipe: The recipe that it was trained by.
        documents: The document store; deleted documents included.
        table: Identifiers of the documents, and which documents are live.
        model: The network; `passage_stage` is that of a first stage, which finds the passages it
        reads.

    Examples:
        >>> from genir import Retriever
        >>> retriever = Retriever.load("model")
        >>> [answer] = retriever.search("how do I rename a file?", k=1)
        >>> answer[0].key
        'move'
    """

    recipe: Recipe

    def __init__(
        self,
        recipe: Recipe,
        scheme: Scheme,
        table: IdentifierTable,
        model: DocidModel,
        documents: DocumentStore,
    ) -> None:
        super().__init__(recipe, table, model)
        self.scheme = scheme
        self.documents = documents
        self.passage_stage: PassageStage | None = None
        self._masks = RowMaskCache()
        # Number of train queries of each document, for seen and unseen documents in evaluation.
        self.query_counts = np.zeros(len(documents), dtype=np.int32)
        self.added_in_version = np.zeros(len(documents), dtype=np.int32)
        self.attachments: dict[str, bytes] = {}
        self.manifest: dict[str, Any] = {}

    def __repr__(self) -> str:
        live = len(np.unique(self.table.documents[self.table.live]))
        return (
            f"Retriever(recipe={self.recipe.name!r}, documents={live:,}, "
            f"parameters={self.parameters:,}, device={str(self.model.device)!r})"
        )

    @property
    def bytes_per_document(self) -> float:
        """Size of the trie and of identifier parameters, in bytes per document."""
        stages: list[Ranker] = [self] if self.passage_stage is None else [self, self.passage_stage]
        size = sum(stage.trie.bytes + stage.model.identifier_bytes() for stage in stages)
        return size / max(1, len(self.documents))

    @property
    def parameters(self) -> int:
        """Number of parameters, of both stages if there are two."""
        models = (
            [self.model] if self.passage_stage is None else [self.model, self.passage_stage.model]
        )
        return sum(parameter.numel() for model in models for parameter in model.parameters())

    @property
    def insert_unsupported_reason(self) -> str:
        """Reason why documents cannot be inserted or replaced, or ""."""
        if self.passage_stage is None:
            return ""
        return "a two-stage model does not support insertions; train it again on the new corpus"

    def to(self, device: torch.device | str) -> Self:
        """Move the model and the trie to a device, in place."""
        if self.passage_stage is not None:
            self.passage_stage.to(device)
        return super().to(device)

    # --- answering -----------------------------------------------------------------------------

    def search(
        self,
        queries: str | Iterable[str],
        k: int | Sequence[int] = 10,
        where: FilterSpec | Sequence[FilterSpec] = None,
        beams: int | None = None,
        exact: bool | None = None,
    ) -> list[HitList[Hit]]:
        """Return the hits of each query: min(k, matching documents), best first.

        Args:
            queries: Q queries; a string is one query, Q = 1.
            k: Hits per query: one number, or a list of Q.
            where: Metadata filter, such as `{"lang": "en"}`: one, or a list of Q. None: no filter.
            beams: Beam width, raised to the largest k. Default: the recipe's.
            exact: Prove that no document scores higher; where the recipe's budget is too small,
                `proven` is False and beam search answers. Default: the recipe's mode.

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
        return [found.hits() for found in self.match(queries, k, where, beams, exact)]

    def match(
        self,
        queries: str | Iterable[str],
        k: int | Sequence[int] = 10,
        where: FilterSpec | Sequence[FilterSpec] = None,
        beams: int | None = None,
        exact: bool | None = None,
    ) -> list[LazyHits]:
        """Return the answers of `search` before snippets are made. Raises like `search`.

        A server makes the snippets in other threads than the model's.
        """
        queries = as_texts(queries)
        ks = as_counts(k, "k", len(queries))
        beams = None if beams is None else as_count(beams, "beams")
        if not isinstance(exact, bool | None):
            raise InputError(f"exact = {exact!r:.60}: give True, False or None")
        width, matches = self.beam_width(max(ks, default=1), beams), list[LazyHits]()
        live = self._masks.row_masks(self.table, self.documents, where, len(queries))
        for start in range(0, len(queries), QUERIES_PER_BATCH):
            batch = range(len(queries))[start : start + QUERIES_PER_BATCH]
            own = [queries[q] for q in batch]
            ranked = self.rank(own, [ks[q] for q in batch], live.select(batch), width, exact)
            matches += self._matches(own, ranked, live.restrict_scores)
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
            InputError: Unknown key or field.
        """
        numbers, query = [self.table.number(key) for key in as_keys(keys)], as_text(query, "query")
        if not supports_shares(self.recipe):
            return None
        live = self.row_mask(where).to(self.model.device)
        with self.autocast():
            inputs = self.encode(query)
            return document_shares(self.model, self.table, self.trie, inputs, live, numbers)

    def beam_width(self, k: int, beams: int | None = None) -> int:
        """Return the beam width for k hits; queries of one width may share a batch."""
        return max(k, beams or self.recipe.decoding.beams)

    def encode_inputs(self, queries: Sequence[str], live: RowMask) -> list[list[DecoderInput]]:
        """Return the input texts of each query: the query, first-stage passages, or both."""
        if self.passage_stage is None:
            return super().encode_inputs(queries, live)
        passages = self.passage_stage.passages(queries, live, self.table)
        return add_queries(passages, queries, self.recipe.decoding.query_weight)

    def require_traceable_search(self, feature: str) -> None:
        """Raise InputError if `feature` needs one beam search with one best identifier."""
        if self.passage_stage is not None:
            raise InputError(
                f"{feature}: needs a single beam search, but this model has two stages; use a "
                "one-stage model"
            )
        aggregate, several = self.recipe.decoding.aggregate, self.recipe.decoding.max_identifiers
        if several > 1:
            raise InputError(
                f"{feature}: needs one identifier per answer, but this model emits several "
                f"([decoding] max_identifiers = {several}); use a model with max_identifiers = 1"
            )
        if self.recipe.decoding.combines_partial_matches:
            raise InputError(
                f"{feature}: needs a document's best identifier, but this model sums all that its "
                f"beams find ([decoding] aggregate = {aggregate!r}); use 'max'"
            )

    def _prove(self, queries: Sequence[str], k: int, live: RowMask) -> list[HitList[Ranked]]:
        self.require_traceable_search("exact search")
        return super()._prove(queries, k, live)

    def row_masks(
        self,
        where: Filter | None = None,
        allow: Collection[str] | None = None,
        deny: Collection[str] = (),
    ) -> Mask:
        """Return the rows that may be found, bool [rows]; see `passing_rows`."""
        return passing_rows(self.table, self.documents, where, allow, deny)

    def row_mask(self, where: FilterSpec = None) -> RowMask:
        """Return the mask of a filter for the decoder. Raises like `search`."""
        return self._masks.row_masks(self.table, self.documents, where, 1)

    def prepare(self, where: FilterSpec) -> RowMask:
        """Compute and cache a filter's mask, from any thread, for later searches."""
        return self._masks.mask(self.table, self.documents, where)

    def prepared(self, where: FilterSpec) -> RowMask | None:
        """Return the cached mask of a filter, or None; does not block, from any thread."""
        return self._masks.cached(self.table, where)

    def make_hits(self, query: str, ranked: Sequence[Ranked], excluded: bool = False) -> list[Hit]:
        """Return ranked documents as hits, with titles, URLs and snippets."""
        (found,) = self._matches([query], [ranked], excluded)
        return found.hits()

    def _matches(
        self, queries: Sequence[str], ranked: Sequence[Sequence[Ranked]], closed: bool = False
    ) -> list[LazyHits]:
        """Read the contents of a batch of hits in one statement; closed: without identifiers."""
        keys, symbols = self.table.keys, self.table.identifier
        numbers = dict.fromkeys(item.document for own in ranked for item in own)
        shown = self.documents.previews([keys[number] for number in numbers], strict=True)
        matches = []
        for query, own in zip(queries, ranked, strict=True):
            raise_if_cancelled()
            previews = [shown[keys[item.document]] for item in own]
            hits = [
                Hit(
                    key=keys[item.document],
                    score=item.score,
                    rank=rank,
                    identifier="" if closed else self.scheme.to_text(symbols(item.row)),
                    title=preview.title,
                    url=preview.url,
                )
                for rank, (item, preview) in enumerate(zip(own, previews, strict=True), start=1)
            ]
            answer = HitList(hits, getattr(own, "proven", None))
            matches.append(LazyHits(query, answer, [preview.text for preview in previews]))
        return matches

    def close(self) -> None:
        """Close the files; no search or change is possible afterwards."""
        self.documents.close()
        if self._journal is not None:
            self._journal.close()

    # --- the model folder ----------------------------------------------------------------------

    @classmethod
    def load(cls, folder: Path | str, device: torch.device | str | None = None) -> Self:
        """Load a model folder; each file is checked against the manifest's digests.

        Args:
            folder: The folder that `train` or `save` wrote.
            device: Such as "cpu" or "cuda:1". Default: CUDA where there is a GPU, else the CPU.

        Raises:
            InputError: A file that is missing, truncated or foreign, or an unknown device.

        Examples:
            >>> Retriever.load("model", device="cpu").recipe.name
            'default'
        """
        folder = as_path(folder, "folder")
        device = as_device(device)
        while True:
            before = folder_fingerprint(folder)
            try:
                return cls._load(folder, device)
            except FolderReplaced:
                continue
            except InputError:
                # A compaction may have replaced the folder between two reads.
                if folder_fingerprint(folder) == before:
                    raise

    @classmethod
    def _load(cls, folder: Path, device: torch.device) -> Self:
        before = folder_fingerprint(folder)
        manifest = check_manifest(folder)
        recipe = load_recipe(folder / "recipe.toml")
        scheme, table, model = _parts(folder, recipe)
        documents = DocumentStore(folder / "documents.sqlite")
        if documents.keys() != table.keys:
            raise InputError(
                f"{documents.path}: holds other documents than the identifiers beside it; restore "
                "the folder or train it again"
            )
        loaded = cls(recipe, scheme, table, model.eval(), documents)
        if recipe.passage_stage is not None:
            loaded.passage_stage = PassageStage(
                recipe.passage_stage, *_parts(folder / "passage_stage", recipe.passage_stage)
            )
        loaded.to(device)
        loaded.folder, loaded.manifest = folder, manifest
        loaded.attachments = read_attachments(folder, ATTACHMENTS)
        loaded.query_counts, loaded.added_in_version = read_facts(
            folder / "queries.safetensors", len(documents)
        )
        loaded.protected_queries = ProtectedQueries.load(folder, len(documents), loaded.row_width)
        loaded._resolve_folder(folder)
        if folder_fingerprint(folder) != before:
            raise FolderReplaced
        return loaded

    @classmethod
    def from_pretrained(cls, name: str, device: torch.device | str | None = None) -> Self:
        """Load a local model folder, or one from the Hugging Face hub by name."""
        if as_path(name, "name").exists() or not may_be_of_hub(str(name)):
            return cls.load(name, device)  # reports the error of a path
        return cls.load(hub.download(name), device)

    def push_to_hub(self, name: str, private: bool = True) -> str:
        """Upload the saved model folder to the Hugging Face hub, and return its address.

        Raises:
            InputError: The model is not saved, or the hub refuses it or cannot be reached.
        """
        if self.folder is None:
            raise InputError("save the model to a folder before pushing it to the hub")
        return hub.upload(self.folder, name, private)


def _parts(folder: Path, recipe: StageConfig) -> tuple[Scheme, IdentifierTable, DocidModel]:
    """Load scheme, table and model of one stage."""
    try:
        scheme = load_scheme(folder / "identifiers", read_tokenizer(folder))
        table = IdentifierTable.load(folder / "identifiers")
        check_symbol_ranges(table, scheme.level_sizes(), folder, scheme.needs_tokenizer)
        if scheme.full_depth:
            check_row_depths(table, len(scheme.level_sizes()), folder)
        model = load_model(folder, recipe.model.kind, scheme, table)
        length = recipe.training.source_length
        most = min(model.source_positions(), default=length)
        key = f"{folder / 'recipe.toml'}: [training] source_length"
        require_within(key, length, most, "the encoder")
        return scheme, table, model
    except InputError:
        raise
    except Exception as error:  # libraries may raise anything for damaged files
        raise InputError(
            f"{folder}: cannot be loaded ({type(error).__name__}: {hub.first_line(error)}); "
            "restore the folder or train it again"
        ) from error
