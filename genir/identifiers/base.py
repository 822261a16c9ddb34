"""The contract of an identifier scheme. Knows no model: text schemes are handed a tokenizer,
code schemes are handed vectors.

To add a scheme: write one file with a subclass, and name it in `registry.py`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from genir.config import Strict
from genir.records import Document, Identifier

Vectors = NDArray[np.float32]
"""Document vectors, shape [documents, dimension], float32, one row a document in corpus order."""


class Tokenizer(Protocol):
    """What a text scheme asks of a transformers tokenizer."""

    eos_token_id: int | None
    sep_token_id: int | None
    unk_token_id: int | None
    mask_token: str | None

    def convert_tokens_to_ids(self, tokens: str) -> int | None:
        """Return the id of a token; that of the unknown one, or None, where there is none."""
        ...

    def encode(self, text: str, add_special_tokens: bool = ..., verbose: bool = ...) -> list[int]:
        """Return the token ids of a text."""
        ...

    def decode(self, token_ids: Sequence[int], skip_special_tokens: bool = ...) -> str:
        """Return the text of token ids."""
        ...

    def __len__(self) -> int:
        """Return the size of the vocabulary, added tokens included."""
        ...


class Scheme(ABC):
    """A way to assign identifiers.

    Promises, held by the shared test suite (`tests/identifiers/test_schemes.py`):
    every document gets at least one identifier; no identifier is a proper prefix of another
    (variable-length ones end in an end symbol); schemes with `unique = True` never give one
    identifier to two documents, in one call of `encode` or over many, others share what documents
    have in common; schemes with `several = False` give one identifier a document, others more,
    none twice; the same corpus, vectors and options give the same identifiers; `load(save)` encodes
    alike.
    """

    name: ClassVar[str]
    Options: ClassVar[type[Strict]]
    needs_vectors: ClassVar[bool] = False
    needs_tokenizer: ClassVar[bool] = False
    unique: ClassVar[bool] = True
    several: ClassVar[bool] = False
    full_depth: ClassVar[bool] = False
    """Whether every identifier has a symbol at each level."""
    joins: ClassVar[bool] = False
    """Whether identifiers can be written one after the other, parted by `separator`."""
    separator: int | None = None
    """A symbol that stands in none of them; None where the vocabulary has none to spare."""

    def __init__(self, options: Any, tokenizer: Tokenizer | None = None) -> None:
        self.options = options
        self.tokenizer = tokenizer

    def ask(self, queries: Mapping[str, Sequence[str]]) -> None:
        """Take note, before `fit`, of queries made up for documents, by key. By default nothing."""
        return

    @abstractmethod
    def fit(self, corpus: Sequence[Document], vectors: Vectors | None = None) -> Self:
        """Learn what the scheme needs (codebooks, a tree), from a corpus and its vectors."""

    @abstractmethod
    def encode(
        self,
        documents: Sequence[Document],
        vectors: Vectors | None = None,
        taken: Set[Identifier] = frozenset(),
    ) -> list[list[Identifier]]:
        """Return each document's identifiers; where `unique`, none of them is in `taken`.

        `vectors` [documents, dimension] where `needs_vectors`. Raises InputError when a document
        cannot be given one (no URL under `url`, say), naming its key.
        """

    def admit(self, identifiers: Sequence[Identifier]) -> None:
        """Take note of identifiers that `encode` gave in another process. By default nothing."""
        return

    @abstractmethod
    def level_sizes(self) -> list[int]:
        """Return how many symbols each level has; one entry, the vocabulary, for text schemes."""

    @abstractmethod
    def describe(self, identifier: Identifier) -> str:
        """Return an identifier as a person reads it: the URL, the title, or `12-7-200`."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write `scheme.json` (name and options) and what was fitted (`scheme.safetensors`)."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path, tokenizer: Tokenizer | None = None) -> Self:
        """Read back what `save` wrote. Raises InputError naming a missing or foreign file."""
