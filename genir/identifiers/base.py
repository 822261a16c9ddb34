"""Interface of an identifier scheme. Text schemes receive a tokenizer, code schemes vectors.

To add a scheme, write one file with a subclass, and register it in `registry.py`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from genir.config import StrictModel
from genir.types import Document, Identifier

Vectors = NDArray[np.float32]
"""Document vectors in corpus order, float32 [documents, dimension]."""


class Tokenizer(Protocol):
    """The part of a transformers tokenizer that text schemes use."""

    eos_token_id: int | None
    sep_token_id: int | None
    unk_token_id: int | None
    mask_token: str | None

    def convert_tokens_to_ids(self, tokens: str) -> int | None:
        """Return the id of a token; the unknown id or None if it does not exist."""
        ...

    def encode(self, text: str, add_special_tokens: bool = ..., verbose: bool = ...) -> list[int]:
        """Return the token ids of a text."""
        ...

    def decode(self, token_ids: Sequence[int], skip_special_tokens: bool = ...) -> str:
        """Return the text of token ids."""
        ...

    def __len__(self) -> int:
        """Return the size of the vocabulary, including added tokens."""
        ...


class Scheme(ABC):
    """Assigns identifiers to documents.

    Guarantees, checked by `tests/identifiers/test_schemes.py`:

    - Every document has at least one identifier; one if `multiple_per_document` is False, else
    distinct ones. - No identifier is a proper prefix of another; those of variable length have an
    end symbol. - With `unique`, no identifier belongs to two documents, over any number of calls of
    `encode`. - The same corpus, vectors and options give the same identifiers, also after save and
    load.
    """

    name: ClassVar[str]
    Options: ClassVar[type[StrictModel]]
    needs_vectors: ClassVar[bool] = False
    needs_tokenizer: ClassVar[bool] = False
    unique: ClassVar[bool] = True
    multiple_per_document: ClassVar[bool] = False
    full_depth: ClassVar[bool] = False
    """Whether every identifier has a symbol at each level."""
    concatenable: ClassVar[bool] = False
    """Whether several identifiers can be emitted as one sequence with `separator`."""
    separator: int | None = None
    """A symbol that occurs in no identifier; None if the vocabulary has no spare one."""

    def __init__(self, options: Any, tokenizer: Tokenizer | None = None) -> None:
        self.options = options
        self.tokenizer = tokenizer

    def set_pseudo_queries(self, queries: Mapping[str, Sequence[str]]) -> None:
        """Set the pseudo-queries of documents, by key, before `fit`. By default does nothing."""
        return

    @abstractmethod
    def fit(self, corpus: Sequence[Document], vectors: Vectors | None = None) -> Self:
        """Fit the scheme (codebooks, a tree) to a corpus and its vectors."""

    @abstractmethod
    def encode(
        self,
        documents: Sequence[Document],
        vectors: Vectors | None = None,
        reserved: Set[Identifier] = frozenset(),
    ) -> list[list[Identifier]]:
        """Return the identifiers of each document.

        Args:
            documents: Documents.
            vectors: Document vectors, [documents, dimension], if `needs_vectors`.
            reserved: Identifiers in use, which are not assigned again if `unique`.

        Raises:
            InputError: A document cannot be identified, for example without a URL under `url`.
        """

    def mark_used(self, identifiers: Sequence[Identifier]) -> None:
        """Register identifiers assigned by another process. By default does nothing."""
        return

    @abstractmethod
    def level_sizes(self) -> list[int]:
        """Return the number of symbols of each level; one entry, the vocabulary, for text."""

    @abstractmethod
    def to_text(self, identifier: Identifier) -> str:
        """Return a readable form of an identifier: the URL, the title, or `12-7-200`."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write `scheme.json` (name and options) and fitted arrays (`scheme.safetensors`)."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path, tokenizer: Tokenizer | None = None) -> Self:
        """Load a saved scheme. Raises InputError if a file is missing or does not match."""
