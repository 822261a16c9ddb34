"""Identifier scheme: a hash of the document's key, split into codes."""

import hashlib
from collections.abc import Sequence, Set
from itertools import count
from typing import Self

from pydantic import Field

from genir.config import StrictModel
from genir.errors import InputError
from genir.identifiers.base import Scheme, Vectors
from genir.types import Document, Identifier


class HashedCodesOptions(StrictModel):
    """Keys of `[identifiers]` besides `scheme`."""

    levels: int = Field(default=3, ge=1, le=32, description="codes per identifier")
    codes: int = Field(default=16, ge=2, le=256, description="number of codes at each level")


class HashedCodes(Scheme):
    """Assign each document one unique identifier of fixed length.

    Unlike learned codes, hashed codes do not place similar documents under one prefix: a baseline
    for the benefit of learned identifiers.
    """

    name = "hashed-codes"
    Options = HashedCodesOptions
    full_depth = True  # every identifier has all levels, so none is a prefix of another

    def fit(self, corpus: Sequence[Document], vectors: Vectors | None = None) -> Self:
        """Return the scheme unchanged; it has nothing to learn."""
        return self

    def encode(
        self,
        documents: Sequence[Document],
        vectors: Vectors | None = None,
        reserved: Set[Identifier] = frozenset(),
    ) -> list[list[Identifier]]:
        """Return one identifier per document; after a collision, hash again.

        Raises:
            InputError: All identifiers are taken.
        """
        used = set(reserved)
        identifiers = []
        for document in documents:
            if len(used) == self.options.codes**self.options.levels:
                raise InputError(
                    f"document {document.key!r}: all {len(used)} identifiers are taken; increase "
                    "[identifiers] levels or codes"
                )
            identifier = self._free(document.key, used)
            used.add(identifier)
            identifiers.append([identifier])
        return identifiers

    def _free(self, key: str, used: Set[Identifier]) -> Identifier:
        attempts = (self._hash(f"{key} {attempt}") for attempt in count())
        return next(identifier for identifier in attempts if identifier not in used)

    def _hash(self, text: str) -> Identifier:
        digest = hashlib.sha256(text.encode()).digest()
        return tuple(byte % self.options.codes for byte in digest[: self.options.levels])

    def level_sizes(self) -> list[int]:
        """Return the number of codes of each level."""
        return [self.options.codes] * self.options.levels

    def to_text(self, identifier: Identifier) -> str:
        """Return the codes joined by hyphens, such as `3-15-0`."""
        return "-".join(map(str, identifier))
