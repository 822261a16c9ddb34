"""Pre-trained text encoder, which maps texts to unit vectors."""

from collections.abc import Callable, Iterable
from functools import cache, partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from genir.arguments import as_texts
from genir.errors import InputError
from genir.models import encoder_files
from genir.models.checkpoint_checks import first_line, unsupported_error
from genir.models.encoder_design import ROLES, EncoderDesign, EncoderPart, Role, is_mean_pooling
from genir.models.encoder_layers import LayerMismatch
from genir.models.encoder_tower import ENCODER_HINT, EncoderTower
from genir.models.eval_mode import evaluating
from genir.models.length_bucketing import batches_of_tokens
from genir.models.network_loading import MINILM
from genir.models.position_limits import position_table_sizes, require_within
from genir.models.precision import Workload, autocast
from genir.models.size_limits import Weights
from genir.models.tokenization import encode_texts, pad_batch
from genir.progress import tracked


class TextEncoder(EncoderTower):
    """Encoder of queries, which is trained, and of documents.

    Attributes:
        document_encoder: Tower of documents, if it differs. It is not trained.
    """

    def __init__(self, *tower: Any) -> None:
        super().__init__(*tower)
        self.document_encoder: EncoderTower | None = None

    @classmethod
    def pretrained(
        cls,
        name: str = MINILM,
        length: int | None = None,
        query_prompt: str | None = None,
        document_prompt: str | None = None,
    ) -> Self:
        """Load an encoder in evaluation mode; one other than MiniLM is tested first (`smoke_test`).

        Args:
            name: `minilm`, a local folder or a hub name, of sentence-transformers, model2vec or
                transformers. An encoder-decoder's decoder is not used.
            length: Maximum number of tokens of a text; by default the encoder's own maximum, or 256
                if it states none.
            query_prompt: Text before each query; by default the encoder's own.
            document_prompt: Text before each document; by default the encoder's own.

        Raises:
            InputError: The model cannot be loaded, has a layer or a setting that genir does not
                support, fails the smoke test, or takes fewer tokens than `length`.
        """
        root, design = encoder_files.find_design(name)
        given = {"query_prompt": query_prompt, "document_prompt": document_prompt}
        changes = {key: text for key, text in given.items() if text is not None}
        design = design.model_copy(update=changes)
        try:
            encoder = cls._assemble(
                design,
                partial(encoder_files.load_network_part, root),
                partial(encoder_files.load_layer, root),
            )
        except LayerMismatch as error:
            raise unsupported_error(name, f"its {error}", ENCODER_HINT) from None
        for role, tower in zip(ROLES, encoder.towers(), strict=False):
            if name != MINILM:
                tower.try_out(role, name)
            tower.set_length(length, name)
        for role in ROLES:
            tower = encoder.tower(role)
            tower.require_room(role, f"the encoder {name!r}", tower.length)
        return encoder.eval()

    @classmethod
    def _assemble(
        cls,
        design: EncoderDesign,
        load_network: Callable[[EncoderPart], tuple[Any, Any]],
        load_layer: Callable[[EncoderPart], nn.Module],
    ) -> Self:
        """Build the towers of a design from its parts, each of which is loaded once."""
        network = cache(lambda part: load_network(design.parts[part]))
        layer = cache(lambda part: load_layer(design.parts[part]))

        def tower(role: Role) -> tuple[Any, ...]:
            first, *others = design.route(role)
            layers = None if is_mean_pooling(design.layers(role)) else [*map(layer, others)]
            return *network(first), design.parts[first].length or 0, design, layers

        encoder = cls(*tower("query"))
        if design.document != design.query:
            trained = {id(parameter) for parameter in encoder.parameters()}
            documents = EncoderTower(*tower("document"))
            if documents.backbone is encoder.backbone:
                documents.cast_cache = encoder.cast_cache
            for parameter in documents.parameters():
                parameter.requires_grad_(id(parameter) in trained)
            encoder.document_encoder = documents
            encoder.prompts["document"] = documents.prompts["document"]
            if documents.dimension != encoder.dimension:
                found = f"{encoder.dimension} and {documents.dimension}"
                raise LayerMismatch(f"vectors of queries and documents have {found} dimensions")
        return encoder

    def tower(self, role: Role) -> EncoderTower:
        """Return the encoder of a role."""
        return self if role == "query" else self.document_encoder or self

    def towers(self) -> list[EncoderTower]:
        """Return the encoder of queries and, if it differs, that of documents."""
        return [self] if self.document_encoder is None else [self, self.document_encoder]

    def copy_weights(self, parent: "TextEncoder") -> None:
        """Copy the weights of a trained encoder.

        Raises:
            InputError: It has another length, prompt, layer or dimension.
        """
        its = parent._settings()
        for key, value in self._settings().items():
            if value != its[key]:
                raise InputError(
                    f"[model] {key} = {value!r}, but the model to start from has {its[key]!r}; use "
                    "the same"
                )
        try:
            self.load_state_dict(parent.state_dict())
        except RuntimeError as error:
            raise InputError(
                f"[model] encoder: its weights are not those of the model to start from "
                f"({first_line(error)}); use the same"
            ) from None

    def _settings(self) -> dict[str, object]:
        """Return the settings that trained weights depend on."""
        layers: dict[str, object] = {}
        for role in ROLES:
            parts = [self.design.parts[one] for one in self.design.route(role)]
            found = [(part.type, part.options, part.lower_case) for part in parts]
            layers[f"encoder: layers for {role} texts"] = found
        return layers | {
            "length": self.tower("document").length,
            "query_prompt": self.prompts["query"].text,
            "document_prompt": self.prompts["document"].text,
            "encoder: truncate_dim": self.design.truncate_dim,
        }

    def save(self, folder: Path) -> None:
        """Write the design, the configuration of each network, and the documents' tokenizer."""
        encoder_files.save(self.design, self.towers(), folder)

    @classmethod
    def restore(cls, folder: Path, weights: Weights) -> Self:
        """Build a saved encoder without loading its weights.

        weights: tensors that are loaded afterwards. InputError if the configuration asks for a much
        larger network, which protects against a wrong configuration.
        """
        design = encoder_files.read_saved_design(folder)
        where = f"{folder / encoder_files.DESIGN_FILE}"
        try:
            encoder = cls._assemble(
                design,
                partial(encoder_files.restore_network, folder, weights),
                partial(encoder_files.restore_layer, folder, weights),
            )
        except LayerMismatch as error:
            raise InputError(f"{where}: its {error}; restore the folder") from None
        for tower in encoder.towers():
            most = min(position_table_sizes(tower.backbone), default=tower.length)
            require_within(f"{where}: length", tower.length, most, "the encoder")
        for role in ROLES:
            tower = encoder.tower(role)
            tower.require_room(role, where, tower.length)
        return encoder

    @torch.inference_mode()
    def embed(
        self,
        texts: str | Iterable[str],
        role: Role,
        batch_size: int = 64,
        progress: str = "",
        work: Workload = "embedding",
    ) -> NDArray[np.float32]:
        """Return unit vectors of texts, float32 [texts, dimension].

        Args:
            texts: Texts; a string is one text.
            role: "query" or "document"; selects the prompt and the encoder.
            batch_size: Maximum number of texts in a batch.
            progress: Label of the progress bar; "" for none.
            work: "embedding" (many texts) or "answering" (few queries); selects the precision.

        Raises:
            InputError: `texts` is not a string or an iterable of strings.
        """
        texts = as_texts(texts, "texts")
        tower = self.tower(role)
        pad, prompt = tower.tokenizer.pad_token_id, tower.prompts[role].text
        device = next(self.parameters()).device
        ids = encode_texts(tower.tokenizer, texts, tower.length, prompt)
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        vectors = np.empty((len(ids), self.dimension), dtype=np.float32)
        batches = batches_of_tokens(order, [len(row) for row in ids], batch_size, device)
        with evaluating(tower):
            for rows in tracked(batches, progress):
                inputs, mask = (one.to(device) for one in pad_batch([ids[n] for n in rows], pad))
                with autocast(device, work):
                    vectors[rows] = tower(inputs, mask, role).cpu().numpy()
        return vectors
