"""The facade: a trained model that answers, and its folder. Ranks by parameters alone; the
document store is read only for what a hit shows. How documents come and go: `living`.
"""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from genir.arguments import as_count, as_counts, as_keys, as_path, as_text, as_texts
from genir.config import Recipe, Stage, load_recipe
from genir.corpus.matches import Matches
from genir.corpus.store import DocumentStore
from genir.decoding.aggregate import Ranked
from genir.decoding.filters import RowMasks, Wanted, passing_rows
from genir.decoding.masks import LiveRows, Mask
from genir.decoding.ranker import Ranker, Reading
from genir.decoding.shares import document_shares, has_shares
from genir.decoding.two_stage import FirstStage, add_queries
from genir.errors import InputError
from genir.identifiers.base import Scheme
from genir.identifiers.registry import load_scheme
from genir.identifiers.table import IdentifierTable, refuse_foreign_symbols, refuse_short_rows
from genir.living.collection import stamp
from genir.living.journal import Moved
from genir.living.storage import Stored, read_attachments
from genir.manifest import check_manifest
from genir.models.base import DocidModel
from genir.models.devices import as_device
from genir.models.files import read_tokenizer
from genir.models.foreign import may_be_of_hub
from genir.models.guards import Guards
from genir.models.limits import refuse_longer
from genir.models.registry import load_model
from genir.records import Answer, Filter, Hit
from genir.stopping import checkpoint

BATCH = 32
"""Queries decoded together."""

TRAIN_QUERIES = "train-queries.digests"
"""Digests of the train queries, by which an evaluation notices that it asks them again."""
ATTACHMENTS = ("metrics.json", "training.png", "MODEL_CARD.md", TRAIN_QUERIES)
"""What training leaves beside the model, kept when it is saved again."""


class Retriever(Stored):
    """A Searcher whose index is a model, or two: `first` finds the passages that `model` reads."""

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
        self.first: FirstStage | None = None
        self._masks = RowMasks()
        # How many train queries each document had: what evaluation calls seen and unseen.
        self.query_counts = np.zeros(len(documents), dtype=np.int32)
        self.born = np.zeros(len(documents), dtype=np.int32)
        self.attachments: dict[str, bytes] = {}
        self.manifest: dict[str, Any] = {}

    @property
    def bytes_per_document(self) -> float:
        """Return the size of the trie and of the parameters that belong to identifiers."""
        stages: list[Ranker] = [self] if self.first is None else [self, self.first]
        size = sum(stage.trie.bytes + stage.model.identifier_bytes() for stage in stages)
        return size / max(1, len(self.documents))

    @property
    def parameters(self) -> int:
        """Return the number of parameters, of both stages where there are two."""
        models = [self.model] if self.first is None else [self.model, self.first.model]
        return sum(parameter.numel() for model in models for parameter in model.parameters())

    @property
    def closed(self) -> str:
        """Return why no document can be added or replaced: passages cannot, as yet."""
        if self.first is None:
            return ""
        return "a model of two stages takes no further documents; train it again on the new corpus"

    def to(self, device: torch.device | str) -> Self:
        """Move the model and the trie to a device."""
        if self.first is not None:
            self.first.to(device)
        return super().to(device)

    # --- answering -----------------------------------------------------------------------------

    def search(
        self,
        queries: str | Iterable[str],
        k: int | Sequence[int] = 10,
        where: Wanted | Sequence[Wanted] = None,
        beams: int | None = None,
        exact: bool | None = None,
    ) -> list[Answer[Hit]]:
        """Return the best min(k, matching documents) hits of each query, best first.

        queries: a string is one query, whose hits are the only list. k, where: of all queries, or
        lists with one for each; where: conditions on metadata that every hit fulfils, None for no
        condition. beams: at least the largest k are used. exact: prove that there are no better
        hits, or say that the budget did not suffice and beam search answered; default: the
        recipe's mode.

        Raises:
            InputError: Queries that are no texts, k or beams below 1, a list of another length, and
                a field that no document has.
        """
        return [found.hits() for found in self.match(queries, k, where, beams, exact)]

    def match(
        self,
        queries: str | Iterable[str],
        k: int | Sequence[int] = 10,
        where: Wanted | Sequence[Wanted] = None,
        beams: int | None = None,
        exact: bool | None = None,
    ) -> list[Matches]:
        """Return the answers of `search` before their snippets are made. Raises as `search` does.

        A server makes the snippets in other threads than the one that runs the model.
        """
        queries = as_texts(queries)
        ks = as_counts(k, "k", len(queries))
        beams = None if beams is None else as_count(beams, "beams")
        if not isinstance(exact, bool | None):
            raise InputError(f"exact = {exact!r:.60}: give True, False or None")
        width, matches = self.width(max(ks, default=1), beams), list[Matches]()
        live = self._masks.live_rows(self.table, self.documents, where, len(queries))
        for start in range(0, len(queries), BATCH):
            batch = range(len(queries))[start : start + BATCH]
            own = [queries[q] for q in batch]
            ranked = self.rank(own, [ks[q] for q in batch], live.select(batch), width, exact)
            matches += self._matches(own, ranked, live.closed)
        return matches

    def shares(
        self, query: str, keys: str | Iterable[str], where: Wanted = None
    ) -> list[float] | None:
        """Return how probable documents are among all that the query may find: 0 to 1 each.

        The model is held to live documents that pass the filter, symbol by symbol; over all of them
        the shares add up to 1 (`decoding.shares`). None where scores are no probabilities of
        identifiers: for two stages, look-ahead, several identifiers an answer, and n-gram sums.

        Args:
            query: The query.
            keys: Keys of documents; those that may not be found have a share of 0.
            where: The filter, as for `search`.

        Raises:
            InputError: An unknown key or field.
        """
        numbers, query = [self.table.number(key) for key in as_keys(keys)], as_text(query, "query")
        if not has_shares(self.recipe):
            return None
        live = self.wanted_rows(where).to(self.model.device)
        with self.autocast():
            inputs = self.encode(query)
            return document_shares(self.model, self.table, self.trie, inputs, live, numbers)

    def width(self, k: int, beams: int | None = None) -> int:
        """Return how many beams are used for k hits: queries of one width may share a batch."""
        return max(k, beams or self.recipe.decoding.beams)

    def read(self, queries: Sequence[str], live: LiveRows) -> list[list[Reading]]:
        """Return what the model reads for each query: the query, or passages of a first stage, or
        both.
        """
        if self.first is None:
            return super().read(queries, live)
        passages = self.first.passages(queries, live, self.table)
        return add_queries(passages, queries, self.recipe.decoding.query_share)

    def require_one_stage(self, what: str) -> None:
        """Raise InputError where `what`, which follows one identifier, cannot be had."""
        if self.first is not None:
            raise InputError(
                f"{what} follows one beam search, but this model answers in two stages; "
                "use it on a model of one"
            )
        aggregate, several = self.recipe.decoding.aggregate, self.recipe.decoding.several
        if several > 1:
            raise InputError(
                f"{what} follows one identifier, but this model's answers hold several "
                f"([decoding] several = {several}); use it on a model with several = 1"
            )
        if self.recipe.decoding.gathers:
            raise InputError(
                f"{what} follows a document's best identifier, but this model adds up all that its "
                f"beams come upon ([decoding] aggregate = {aggregate!r}); use it with 'max'"
            )

    def _prove(self, queries: Sequence[str], k: int, live: LiveRows) -> list[Answer[Ranked]]:
        self.require_one_stage("exact search")
        return super()._prove(queries, k, live)

    def live_rows(
        self,
        where: Filter | None = None,
        allow: Collection[str] | None = None,
        deny: Collection[str] = (),
    ) -> Mask:
        """Return the rows that may be found, bool [rows], as `passing_rows` does.

        allow, deny: keys; a string is one key.
        """
        return passing_rows(self.table, self.documents, where, allow, deny)

    def wanted_rows(self, where: Wanted = None) -> LiveRows:
        """Return the rows that may be found, ready for the decoder. Raises as `search` does."""
        return self._masks.live_rows(self.table, self.documents, where, 1)

    def prepare(self, where: Wanted) -> LiveRows:
        """Compute a filter's mask, from any thread; a search finds it for as long as it is held."""
        return self._masks.mask(self.table, self.documents, where)

    def prepared(self, where: Wanted) -> LiveRows | None:
        """Return the mask of a filter if it was computed already; from any thread, at once."""
        return self._masks.known(self.table, where)

    def hits_of(self, query: str, ranked: Sequence[Ranked], closed: bool = False) -> list[Hit]:
        """Return ranked documents as hits. Looks up what they show; the order is already made."""
        (found,) = self._matches([query], [ranked], closed)
        return found.hits()

    def _matches(
        self, queries: Sequence[str], ranked: Sequence[Sequence[Ranked]], closed: bool = False
    ) -> list[Matches]:
        """Look up what the hits of a batch show, in one statement; closed: without identifiers."""
        keys, symbols = self.table.keys, self.table.identifier
        numbers = dict.fromkeys(item.document for own in ranked for item in own)
        shown = self.documents.previews([keys[number] for number in numbers], strict=True)
        matches = []
        for query, own in zip(queries, ranked, strict=True):
            checkpoint()
            previews = [shown[keys[item.document]] for item in own]
            hits = [
                Hit(
                    key=keys[item.document],
                    score=item.score,
                    rank=rank,
                    identifier="" if closed else self.scheme.describe(symbols(item.row)),
                    title=preview.title,
                    url=preview.url,
                )
                for rank, (item, preview) in enumerate(zip(own, previews, strict=True), start=1)
            ]
            answer = Answer(hits, getattr(own, "proven", None))
            matches.append(Matches(query, answer, [preview.text for preview in previews]))
        return matches

    def close(self) -> None:
        """Close the files; nothing can be looked up or changed any more."""
        self.documents.close()
        if self._journal is not None:
            self._journal.close()

    # --- the model folder ----------------------------------------------------------------------

    @classmethod
    def load(cls, folder: Path | str, device: torch.device | str | None = None) -> Self:
        """Read a model folder, checking each file against the manifest.

        device: where to run; by default CUDA when there is one. Raises InputError naming the file
        that is missing, truncated or foreign, and for a device that torch does not know.
        """
        folder = as_path(folder, "folder")
        device = as_device(device)
        while True:
            before = stamp(folder)
            try:
                return cls._load(folder, device)
            except Moved:
                continue
            except InputError:
                # A compaction may have taken the folder's place between two files.
                if stamp(folder) == before:
                    raise

    @classmethod
    def _load(cls, folder: Path, device: torch.device) -> Self:
        before = stamp(folder)
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
        if recipe.first is not None:
            loaded.first = FirstStage(recipe.first, *_parts(folder / "first", recipe.first))
        loaded.to(device)
        loaded.folder, loaded.manifest = folder, manifest
        loaded.attachments = read_attachments(folder, ATTACHMENTS)
        loaded.query_counts, loaded.born = _facts(folder / "queries.safetensors", len(documents))
        loaded.guards = Guards.load(folder, len(documents), loaded.row_width)
        loaded._settle(folder)
        if stamp(folder) != before:
            raise Moved
        return loaded

    @classmethod
    def from_pretrained(cls, name: str, device: torch.device | str | None = None) -> Self:
        """Load a local model folder, or one from the Hugging Face hub by name."""
        if as_path(name, "name").exists() or not may_be_of_hub(str(name)):
            return cls.load(name, device)  # which says what is wrong with a path
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError

        try:
            return cls.load(snapshot_download(name), device)
        except (HFValidationError, OSError) as error:
            raise InputError(
                f"{name!r} is neither a local model folder nor to be had from the hub: "
                f"{_reason(error)}"
            ) from None

    def push_to_hub(self, name: str, private: bool = True) -> str:
        """Upload the saved model folder to the Hugging Face hub; return its address there.

        Raises InputError when it is not saved, or the hub refuses it or cannot be reached.
        """
        if self.folder is None:
            raise InputError("save the model to a folder before pushing it to the hub")
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HFValidationError, HTTPError  # type: ignore[attr-defined]

        api = HfApi()
        try:
            api.create_repo(name, private=private, exist_ok=True)
            return str(api.upload_folder(repo_id=name, folder_path=self.folder))
        except (HFValidationError, HTTPError, OSError) as error:
            raise InputError(f"{name!r} cannot be pushed to the hub: {_reason(error)}") from None


def _parts(folder: Path, recipe: Stage) -> tuple[Scheme, IdentifierTable, DocidModel]:
    """Read what one stage's model is made of."""
    try:
        scheme = load_scheme(folder / "identifiers", read_tokenizer(folder))
        table = IdentifierTable.load(folder / "identifiers")
        refuse_foreign_symbols(table, scheme.level_sizes(), folder, scheme.needs_tokenizer)
        if scheme.full_depth:
            refuse_short_rows(table, len(scheme.level_sizes()), folder)
        model = load_model(folder, recipe.model.kind, scheme, table)
        length = recipe.training.source_length
        most = min(model.source_positions(), default=length)
        key = f"{folder / 'recipe.toml'}: [training] source_length"
        refuse_longer(key, length, most, "the encoder")
        return scheme, table, model
    except InputError:
        raise
    except Exception as error:  # of libraries that read what a stranger may have written
        raise InputError(
            f"{folder}: cannot be loaded ({type(error).__name__}: {_reason(error)}); restore the "
            "folder or train it again"
        ) from error


def _reason(error: Exception) -> str:
    """Return the first line of an error, without the hub's advice on a parameter of its own."""
    return str(error).strip().partition("\n")[0].partition(" Use `repo_type`")[0]


def _facts(path: Path, documents: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return how many train queries each document had, and the version that brought it."""
    try:
        arrays = load_file(path)
        counts = arrays["counts"]
        born = arrays.get("born", np.zeros_like(counts))
    except (OSError, KeyError, SafetensorError) as error:
        raise InputError(f"{path}: damaged ({error}); restore it or train it again") from None
    for array in (counts, born):
        wrong = ""
        if array.shape != (documents,) or array.dtype != np.int32:
            wrong = f"{array.dtype} {list(array.shape)} instead of int32 [{documents}]"
        elif array.min(initial=0) < 0:
            wrong = f"a count or version of {array.min()}"
        if wrong:
            raise InputError(f"{path}: damaged ({wrong}); restore it or train it again")
    return counts, born
