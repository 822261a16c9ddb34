"""One stage of a search: a model with the table and the trie of its identifiers."""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from copy import copy
from pathlib import Path
from typing import Any, Self

import torch

from genir import hub
from genir.arguments import as_texts
from genir.config import StageConfig
from genir.corpus.spelling import SpellingCorrector
from genir.decoding.cuda.graphs import make_graph_cache
from genir.decoding.trie import Trie
from genir.errors import InputError
from genir.identifiers.base import Scheme
from genir.identifiers.table import IdentifierTable, check_row_depths, check_symbol_ranges
from genir.models.base import DocidModel, Inputs
from genir.models.checkpoint_io import read_scheme
from genir.models.position_limits import require_within
from genir.models.precision import autocast
from genir.models.registry import load_model
from genir.models.tokenization import encode_texts, pad_batch
from genir.vector_query import VectorQuery

NAN_SCORES = "some scores are NaN: the model is damaged; train it again"


class Stage:
    """A model and its identifiers, on one device.

    Attributes:
        config: Recipe of the stage.
        scheme: Identifier scheme.
        table: Identifiers of the documents.
        model: The network.
        spelling: Corrects queries; None if the recipe does not ask for it.
        trie: Trie of the table, on the model's device.
        graph_cache: Captured searches on a GPU; None where searches cannot be captured.
    """

    def __init__(
        self,
        config: StageConfig,
        scheme: Scheme,
        table: IdentifierTable,
        model: DocidModel,
        spelling: SpellingCorrector | None = None,
    ) -> None:
        self.config = config
        self.scheme = scheme
        self.table = table
        self.model = model
        self.spelling = spelling
        self._set_trie(Trie.build(table, model.device))

    @classmethod
    def load(cls, folder: Path, config: StageConfig) -> Self:
        """Load scheme, table and model from a folder, on the CPU.

        Raises:
            InputError: A file is missing, damaged or does not fit the others.
        """
        try:
            scheme = read_scheme(folder)
            table = IdentifierTable.load(folder / "identifiers")
            check_symbol_ranges(table, scheme.level_sizes(), folder, scheme.needs_tokenizer)
            if scheme.full_depth:
                check_row_depths(table, len(scheme.level_sizes()), folder)
            model = load_model(folder, config.model.kind, scheme, table)
            start = model.source_prompt.tokens
            length = start + config.training.source_length
            most = min(model.source_positions(), default=length)
            key = f"{folder / 'recipe.toml'}: [training] source_length"
            require_within(key, length, most, "the encoder", start)
            spelling = SpellingCorrector.load(folder) if config.decoding.spelling else None
            return cls(config, scheme, table, model.eval(), spelling)
        except InputError:
            raise
        except Exception as error:  # libraries may raise anything for damaged files
            raise InputError(
                f"{folder}: cannot be loaded ({type(error).__name__}: {hub.first_line(error)}); "
                "restore the folder or train it again"
            ) from error

    def with_table(self, table: IdentifierTable, model: DocidModel) -> Self:
        """Return the stage with another table, and the model for it."""
        if table.symbols is not self.table.symbols or model is not self.model:
            return type(self)(self.config, self.scheme, table, model, self.spelling)
        changed = copy(self)  # only the live mask differs
        changed.table = table
        return changed

    def with_config(self, config: StageConfig) -> Self:
        """Return the stage under another recipe, with the same network and identifiers."""
        changed = copy(self)
        changed.config = config
        return changed

    def to(self, device: torch.device | str) -> None:
        """Move the model and the trie to a device, in place."""
        self.model.to(device)
        self._set_trie(self.trie.to(device))

    def _set_trie(self, trie: Trie) -> None:
        self.trie = trie
        self.graph_cache = make_graph_cache(self.model, trie)

    @property
    def has_unique_identifiers(self) -> bool:
        """Whether every document has exactly one identifier."""
        return len(self.table) == len(self.table.keys)

    def encode(self, texts: str | Iterable[str]) -> Inputs:
        """Tokenize source texts, after spelling correction.

        Args:
            texts: B texts, which may have vectors (`VectorQuery`); a string is one text.

        Returns:
            Token ids and attention mask, int64 [B, S] each, or `vector_inputs`, and word ids if the
            model has word sets, on the model's device.

        Raises:
            InputError: A value is not text, or there are no texts.
        """
        texts = as_texts(texts)
        if not texts:
            raise InputError("queries: the list is empty; give at least one query")
        texts = list(map(self.corrected, texts))
        if self.model.tokenizer is None or any(isinstance(one, VectorQuery) for one in texts):
            inputs: Inputs = self.model.vector_inputs(texts)
        else:
            inputs = self._tokens(texts)
        words = self.model.word_inputs(texts)
        inputs = inputs if words is None else (*inputs, words)
        return tuple(part.to(self.model.device) for part in inputs)

    def _tokens(self, texts: Sequence[str]) -> Inputs:
        prompt = self.model.source_prompt
        length = prompt.tokens + self.config.training.source_length
        ids = encode_texts(self.model.tokenizer, texts, length, prompt.text)
        return pad_batch(ids, self.model.tokenizer.pad_token_id)

    def corrected(self, text: str) -> str:
        """Return a query after spelling correction, if the recipe asks for it."""
        if self.spelling is None:
            return text
        corrected = self.spelling.correct(text)
        return text.with_text(corrected) if isinstance(text, VectorQuery) else corrected

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the autocast context for inference."""
        return autocast(self.model.device, "answering", self.config.training.precision)
