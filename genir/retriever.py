"""The facade: a trained model that answers, and its folder. Ranks by parameters alone; the
document store is read only for what a hit shows.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from genir.config import Recipe, dump_recipe, load_recipe
from genir.corpus.snippet import snippet
from genir.corpus.store import DocumentStore
from genir.decoding.aggregate import Ranked, rank_documents
from genir.decoding.beam import beam_search
from genir.decoding.trie import Trie, running_alive
from genir.errors import InputError
from genir.folders import new_folder
from genir.identifiers.base import Scheme
from genir.identifiers.registry import load_scheme
from genir.identifiers.table import IdentifierTable
from genir.manifest import check_manifest, write_manifest
from genir.models.base import DocidModel
from genir.models.encoder import autocast, encode_texts, pad_batch
from genir.models.registry import load_model
from genir.records import Filter, Hit

BATCH = 32
"""Queries decoded together."""

ATTACHMENTS = ("metrics.json", "training.png", "MODEL_CARD.md")
"""What training leaves beside the model, kept when it is saved again."""


class Retriever:
    """A Searcher whose index is a model."""

    def __init__(
        self,
        recipe: Recipe,
        scheme: Scheme,
        table: IdentifierTable,
        model: DocidModel,
        documents: DocumentStore,
    ) -> None:
        self.recipe = recipe
        self.scheme = scheme
        self.table = table
        self.model = model
        self.documents = documents
        # How many train queries each document had: what evaluation calls seen and unseen.
        self.query_counts = np.zeros(len(documents), dtype=np.int32)
        self.attachments: dict[str, bytes] = {}
        self.folder: Path | None = None
        self.manifest: dict[str, Any] = {}
        self.trie = Trie.build(table, model.device)

    @property
    def bytes_per_document(self) -> float:
        """Return the size of the trie and of the parameters that belong to identifiers."""
        return (self.trie.bytes + self.model.identifier_bytes()) / max(1, len(self.documents))

    def to(self, device: torch.device | str) -> Self:
        """Move the model and the trie to a device."""
        self.model.to(device)
        self.trie = Trie.build(self.table, device)
        return self

    # --- answering -----------------------------------------------------------------------------

    def search(
        self,
        queries: list[str],
        k: int = 10,
        where: Filter | None = None,
        beams: int | None = None,
    ) -> list[list[Hit]]:
        """Return the best min(k, matching documents) hits of each query, best first.

        where: conditions on metadata that every hit fulfils. beams: at least k are used.
        Raises InputError for k < 1 and for a field no document has.
        """
        if k < 1:
            raise InputError(f"k = {k}: ask for at least one hit")
        width = max(k, beams or self.recipe.decoding.beams)
        ranked: list[list[Ranked]] = []
        live = self._live(where)
        for start in range(0, len(queries), BATCH):
            ranked += self.rank(queries[start : start + BATCH], k, live, width)
        return [self._hits(q, found) for q, found in zip(queries, ranked, strict=True)]

    def _live(self, where: Filter | None) -> NDArray[np.bool_]:
        if not where:
            return self.table.live
        matching: NDArray[np.bool_] = self.documents.matching(where)[self.table.documents]
        return self.table.live & matching

    @torch.inference_mode()
    def rank(
        self, queries: Sequence[str], k: int, live: NDArray[np.bool_], width: int
    ) -> list[list[Ranked]]:
        """Return at most k documents a query, under a live mask, bool [rows].

        The beam is doubled for the queries that fall short while more documents match: several
        identifiers of one document may have taken the places of others.
        """
        training, device = self.model.training, self.model.device
        self.model.eval()
        ids = encode_texts(self.model.tokenizer, queries, self.recipe.training.source_length)
        alive = running_alive(torch.from_numpy(live).unsqueeze(0)).to(device)
        answers: list[list[Ranked]] = [[] for _ in queries]
        short = list(range(len(queries)))
        wanted = k
        while short:
            found = self._decode([ids[q] for q in short], alive, live, width)
            for place, ranked in zip(short, found, strict=True):
                answers[place] = ranked[:k]
            short = [q for q in short if len(answers[q]) < wanted]
            if short and wanted == k:
                wanted = min(k, len(np.unique(self.table.documents[live])))
                short = [q for q in short if len(answers[q]) < wanted]
            if short and width >= self.trie.rows:
                raise InputError("some scores are no numbers: the model is damaged; train it again")
            width *= 2
        self.model.train(training)
        return answers

    def _decode(
        self,
        ids: Sequence[Sequence[int]],
        alive: torch.Tensor,
        live: NDArray[np.bool_],
        width: int,
    ) -> list[list[Ranked]]:
        device, decoding = self.model.device, self.recipe.decoding
        inputs, mask = pad_batch(ids, self.model.tokenizer.pad_token_id)
        with autocast(device, self.recipe.training.precision):
            found = beam_search(
                self.model,
                self.trie,
                (inputs.to(device), mask.to(device)),
                alive,
                min(width, self.trie.rows),
                decoding.normalise,
            )
        low, high, score = (t.cpu().numpy() for t in (found.low, found.high, found.score))
        return [
            rank_documents(self.table, *row, live, decoding.aggregate)
            for row in zip(low, high, score, strict=True)
        ]

    def _hits(self, query: str, ranked: Sequence[Ranked]) -> list[Hit]:
        """Look up what a hit shows; the order is already made."""
        keys = [self.table.keys[item.document] for item in ranked]
        shown = self.documents.fetch(keys)
        return [
            Hit(
                key=key,
                score=item.score,
                rank=rank,
                identifier=self.scheme.describe(self.table.identifier(item.row)),
                title=shown[key].title,
                url=shown[key].url,
                snippet=snippet(shown[key].text, query),
            )
            for rank, (key, item) in enumerate(zip(keys, ranked, strict=True), start=1)
        ]

    # --- the model folder ----------------------------------------------------------------------

    @classmethod
    def load(cls, folder: Path | str, device: torch.device | str | None = None) -> Self:
        """Read a model folder, checking each file against the manifest.

        device: where to run; by default CUDA when there is one. Raises InputError naming the file
        that is missing, truncated or foreign.
        """
        folder = Path(folder)
        manifest = check_manifest(folder)
        recipe = load_recipe(folder / "recipe.toml")
        scheme = load_scheme(folder / "identifiers", _tokenizer(folder))
        table = IdentifierTable.load(folder / "identifiers")
        model = load_model(folder, recipe.model.kind, scheme, table)
        documents = DocumentStore(folder / "documents.sqlite")
        model.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        loaded = cls(recipe, scheme, table, model.eval(), documents)
        loaded.folder, loaded.manifest = folder, manifest
        for name in ATTACHMENTS:
            if (folder / name).is_file():
                loaded.attachments[name] = (folder / name).read_bytes()
        loaded.query_counts = _query_counts(folder / "queries.safetensors")
        return loaded

    @classmethod
    def from_pretrained(cls, name: str, device: torch.device | str | None = None) -> Self:
        """Load a local model folder, or one from the Hugging Face hub by name."""
        if Path(name).is_dir():
            return cls.load(name, device)
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError

        try:
            return cls.load(snapshot_download(name), device)
        except (HFValidationError, OSError) as error:
            raise InputError(
                f"{name!r} is neither a local model folder nor to be had from the hub: "
                f"{_reason(error)}"
            ) from None

    def save(self, folder: Path | str, overwrite: bool = False) -> None:
        """Write the model folder in one step: a crash leaves the old one or the new one."""
        target = Path(folder)
        with new_folder(target, overwrite) as partial:
            self.write(partial)
            facts = {
                "recipe": self.recipe.name,
                "scheme": self.recipe.identifiers.scheme,
                "documents": len(self.documents),
                "identifiers": len(self.table),
                "vocabulary": len(self.model.tokenizer),
            }
            write_manifest(partial, facts)
        self.folder, self.manifest = target, check_manifest(target)
        self.documents = DocumentStore(target / "documents.sqlite")

    def write(self, folder: Path) -> None:
        """Write recipe, weights, tokenizer, identifiers and documents into an existing folder."""
        (folder / "recipe.toml").write_text(dump_recipe(self.recipe), encoding="utf-8")
        self.model.save(folder)
        (folder / "identifiers").mkdir()
        self.scheme.save(folder / "identifiers")
        self.table.save(folder / "identifiers")
        save_file({"counts": self.query_counts}, folder / "queries.safetensors")
        for name, content in self.attachments.items():
            (folder / name).write_bytes(content)
        shutil.copyfile(self.documents.path, folder / "documents.sqlite")

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


def _reason(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _query_counts(path: Path) -> NDArray[np.int32]:
    try:
        return load_file(path)["counts"]
    except (OSError, KeyError, SafetensorError) as error:
        raise InputError(f"{path}: damaged ({error}); restore it or train it again") from None


def _tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise InputError(f"{folder}: the tokenizer cannot be read ({error})") from None
