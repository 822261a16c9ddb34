"""Interface of an identifier scheme. Text schemes receive a tokenizer, code schemes vectors.

To add a scheme, write one file with a subclass, and register it in `registry.py`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from genir.config import StrictModel, validate
from genir.identifiers.serialization import SchemeFiles, read_scheme, write_scheme
from genir.types import Document, Identifier

Tokenizer = Any
"""A tokenizer of transformers."""
Vectors = NDArray[np.float32]
"""Document vectors in corpus order, float32 [documents, dimension]."""


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
    tie_levels: ClassVar[int] = 0
    """Number of last levels that only separate documents with the same codes."""
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

    def fitted(self) -> dict[str, Any]:
        """Return the fitted values for `scheme.json`. By default there are none."""
        return {}

    def fitted_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the fitted arrays for `scheme.safetensors`. By default there are none."""
        return {}

    def restore(self, saved: SchemeFiles) -> None:
        """Set the fitted values and arrays. Raises InputError if some are missing or damaged."""
        return

    def save(self, folder: Path) -> None:
        """Write `scheme.json` (name, options, fitted values) and fitted arrays."""
        facts = self.options.model_dump(), self.fitted()
        write_scheme(folder, self.name, *facts, self.fitted_arrays())

    @classmethod
    def load(cls, folder: Path, tokenizer: Tokenizer | None = None) -> Self:
        """Load a saved scheme. Raises InputError if a file is missing or does not match."""
        saved = read_scheme(folder, cls.name)
        scheme = cls(validate(cls.Options, saved.options, str(folder)), tokenizer)
        scheme.restore(saved)
        return scheme
