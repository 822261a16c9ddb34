"""Passages as identifiers: what the first stage of TOME writes (ACL 2023, arXiv:2305.11161)."""

from collections.abc import Sequence, Set
from typing import ClassVar

from pydantic import Field

from genir.identifiers.base import Vectors
from genir.identifiers.text import CHUNK, TextOptions, TextScheme
from genir.identifiers.vectors import track_chunks
from genir.records import Document, Identifier


class PassageOptions(TextOptions):
    """`words` a passage, at most `count` passages a document, from its beginning."""

    words: int = Field(default=24, ge=1)
    count: int = Field(default=1, ge=1)


class Passage(TextScheme):
    """The tokens of each passage. Documents with the same passage share it."""

    name: ClassVar[str] = "passage"
    Options: ClassVar[type[PassageOptions]] = PassageOptions
    unique: ClassVar[bool] = False
    several: ClassVar[bool] = True
    options: PassageOptions

    def text(self, document: Document) -> str:
        """Return the first passage."""
        return document_passages(document, self.options.words, 1)[0]

    def encode(
        self,
        documents: Sequence[Document],
        vectors: Vectors | None = None,
        taken: Set[Identifier] = frozenset(),
    ) -> list[list[Identifier]]:
        """Return the passages of each document, each once; those in `taken` may be among them."""
        options, identifiers = self.options, list[list[Identifier]]()
        for rows in track_chunks(len(documents), CHUNK, f"{self.name} tokens"):
            for document in documents[rows]:
                texts = document_passages(document, options.words, options.count)
                identifiers.append(list(dict.fromkeys(map(self._close, texts))))
        return identifiers

    def _close(self, text: str) -> Identifier:
        return (*self._spell(text)[: self.options.max_tokens - 1], self.end)


def document_passages(document: Document, words: int, count: int) -> list[str]:
    """Return the first `count` passages of `title. text`, of `words` words each; the last may be
    shorter. One without a word is called by its key.
    """
    parts = (" ".join(part.split()) for part in (document.title, document.text))
    read = ". ".join(filter(None, parts)).split() or [document.key]
    starts = range(0, len(read), words)[:count]
    return [" ".join(read[start : start + words]) for start in starts]
