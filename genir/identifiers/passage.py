"""Passages as identifiers: output of TOME's first stage (ACL 2023, arXiv:2305.11161)."""

from collections.abc import Iterable
from typing import ClassVar

from pydantic import Field

from genir.corpus.tokens import join_words
from genir.corpus.tokens import words as split_words
from genir.identifiers.text import SharedTextScheme, TextOptions, whole_text
from genir.types import Document, Identifier


class PassageOptions(TextOptions):
    """Number of `words` of a passage, and of leading passages of a document (`count`)."""

    words: int = Field(default=24, ge=1)
    count: int = Field(default=1, ge=1)


class Passage(SharedTextScheme):
    """Tokens of each passage. Documents with the same passage share it."""

    name: ClassVar[str] = "passage"
    Options: ClassVar[type[PassageOptions]] = PassageOptions
    options: PassageOptions

    def text(self, document: Document) -> str:
        """Return the first passage."""
        return document_passages(document, self.options.words, 1)[0]

    def identifiers_of(self, document: Document) -> Iterable[Identifier]:
        """Return the passages."""
        texts = document_passages(document, self.options.words, self.options.count)
        limit = self.options.max_tokens - 1
        return [(*self._encode_text(text)[:limit], self.end) for text in texts]


def document_passages(document: Document, words: int, count: int) -> list[str]:
    """Return the first `count` passages of `whole_text`, of at most `words` words each."""
    read = split_words(whole_text(document))
    starts = range(0, len(read), words)[:count]
    return [join_words(read[start : start + words]) for start in starts]
