"""A scheme: codes that are a hash of the document's key, as in a hash table of several levels."""

import hashlib
from collections.abc import Sequence, Set
from pathlib import Path
from typing import Self

from pydantic import Field

from genir.config import Strict, validate
from genir.identifiers.artefact import read_artefact, write_artefact
from genir.identifiers.base import Scheme, Tokenizer, Vectors
from genir.records import Document, Identifier


class HashedCodesOptions(Strict):
    levels: int = Field(default=3, ge=1, description="codes of an identifier")
    codes: int = Field(default=16, ge=2, le=256, description="different codes at a level")


class HashedCodes(Scheme):
    """Give each document one identifier of fixed length; a taken one is hashed again."""

    name = "hashed-codes"
    Options = HashedCodesOptions
    full_depth = True

    def fit(self, corpus: Sequence[Document], vectors: Vectors | None = None) -> Self:
        return self  # nothing to learn

    def encode(
        self,
        documents: Sequence[Document],
        vectors: Vectors | None = None,
        taken: Set[Identifier] = frozenset(),
    ) -> list[list[Identifier]]:
        used = set(taken)
        identifiers = []
        for document in documents:
            identifier = self._hash(document.key)
            while identifier in used:
                identifier = self._hash(f"{document.key} {identifier}")
            used.add(identifier)
            identifiers.append([identifier])
        return identifiers

    def _hash(self, text: str) -> Identifier:
        digest = hashlib.sha256(text.encode()).digest()
        return tuple(byte % self.options.codes for byte in digest[: self.options.levels])

    def level_sizes(self) -> list[int]:
        return [self.options.codes] * self.options.levels

    def describe(self, identifier: Identifier) -> str:
        return "-".join(map(str, identifier))

    def save(self, folder: Path) -> None:
        write_artefact(self, folder)

    @classmethod
    def load(cls, folder: Path, tokenizer: Tokenizer | None = None) -> Self:
        saved = read_artefact(folder, cls.name)
        return cls(validate(cls.Options, saved.options, str(folder)), tokenizer)
