"""Bases of the schemes whose symbols are tokens of the model's vocabulary, and of the text schemes.

The tokenizer's EOS (or SEP) ends every identifier and occurs nowhere else in it, so identifiers are
prefix-free. In a sequence of several identifiers, a separator replaces it. Documents with the same
text are separated by a number at its end, from 2 on ("Anna", "Anna 2").
"""

from abc import abstractmethod
from collections.abc import Iterable, Sequence, Set
from functools import cache
from itertools import count
from typing import Any, ClassVar, Self

from pydantic import Field

from genir.config import StrictModel
from genir.errors import InputError
from genir.identifiers.base import Scheme, Tokenizer, Vectors
from genir.identifiers.serialization import SchemeFiles
from genir.identifiers.vectors import require_documents, track_chunks
from genir.types import Document, Identifier

DOCUMENTS_PER_BATCH = 16_384
"""Texts tokenized per update of the progress bar."""

SEPARATORS = ("<extra_id_0>", "<0xFF>")
"""Separators for tokenizers without a mask token: T5's first sentinel, or a byte that does not
occur in UTF-8, for byte-level vocabularies."""


class TextOptions(StrictModel):
    """`max_tokens`: maximum length of an identifier, including its number and end symbol."""

    max_tokens: int = Field(default=64, ge=4)


class TokenScheme(Scheme):
    """Tokens of the model's vocabulary, and the end symbol."""

    needs_tokenizer: ClassVar[bool] = True
    options: Any
    tokenizer: Tokenizer

    def __init__(self, options: Any, tokenizer: Tokenizer | None = None) -> None:
        if tokenizer is None:
            raise InputError(f"scheme {self.name!r}: needs the model's tokenizer; pass one")
        super().__init__(options, tokenizer)
        end = tokenizer.sep_token_id if tokenizer.eos_token_id is None else tokenizer.eos_token_id
        if end is None:
            raise InputError(
                f"scheme {self.name!r}: the tokenizer has no EOS or SEP token; add one"
            )
        self.end = end
        if self.concatenable:
            self.separator = find_separator(tokenizer, end)

    def _encode_text(self, text: str) -> list[int]:
        tokens = self.tokenizer.encode(text, add_special_tokens=False, verbose=False)
        return [token for token in tokens if token not in (self.end, self.separator)]

    def level_sizes(self) -> list[int]:
        """Return the size of the vocabulary."""
        return [len(self.tokenizer)]

    def to_text(self, identifier: Identifier) -> str:
        """Return the text."""
        return self.tokenizer.decode([token for token in identifier if token != self.end]).strip()

    def fitted(self) -> dict[str, Any]:
        """Return facts about the tokenizer, which the model saves."""
        return {"vocabulary": len(self.tokenizer), "end": self.end}

    def restore(self, saved: SchemeFiles) -> None:
        """Raise InputError for another tokenizer."""
        for name, own in (("vocabulary", len(self.tokenizer)), ("end", self.end)):
            if saved.fact(name) != own:
                raise InputError(
                    f"{saved.folder}: identifiers made with another tokenizer ({name} "
                    f"{saved.fact(name)}, not {own}); use the tokenizer in the model folder"
                )


class TextScheme(TokenScheme):
    """Tokens of a text, a number if needed, and the end symbol.

    num_collisions: documents that needed a number, since the first `encode`.
    """

    Options: ClassVar[type[StrictModel]] = TextOptions
    num_collisions: int = 0

    def __init__(self, options: Any, tokenizer: Tokenizer | None = None) -> None:
        super().__init__(options, tokenizer)
        self._separator_tokens = cache(self._encode_number)

    @abstractmethod
    def text(self, document: Document) -> str:
        """Return the identifying text. Raises InputError if the document has none."""

    def fit(self, corpus: Sequence[Document], vectors: Vectors | None = None) -> Self:
        """Reject an empty corpus; nothing is fitted."""
        require_documents(self.name, corpus)
        return self

    @property
    def max_length(self) -> int:
        """Maximum length of an identifier, at which its text is truncated; 0 if it is not."""
        return int(self.options.max_tokens)

    def encode(
        self,
        documents: Sequence[Document],
        vectors: Vectors | None = None,
        reserved: Set[Identifier] = frozenset(),
    ) -> list[list[Identifier]]:
        """Return the tokens of each document's text, with the lowest free number if needed."""
        self.num_collisions = self.num_collisions if reserved else 0
        given, numbers = set[Identifier](), dict[Identifier, int]()
        identifiers = []
        for rows in track_chunks(len(documents), DOCUMENTS_PER_BATCH, f"{self.name} tokens"):
            for document in documents[rows]:
                identifier = self._make_unique(self._tokens(document), (given, reserved), numbers)
                given.add(identifier)
                identifiers.append([identifier])
        return identifiers

    def _make_unique(
        self, tokens: list[int], used: tuple[Set[Identifier], ...], numbers: dict[Identifier, int]
    ) -> Identifier:
        """Return the tokens unchanged or, if they are in use, with the next number."""
        plain = (*tokens[: self.options.max_tokens - 1], self.end)
        if not any(plain in some for some in used):
            return plain
        self.num_collisions += 1
        for number in count(numbers.get(plain, 2)):
            numbers[plain] = number + 1
            tie = self._separator_tokens(number)
            identifier = (*tokens[: self.options.max_tokens - 1 - len(tie)], *tie, self.end)
            if not any(identifier in some for some in used):
                break
        return identifier

    def _tokens(self, document: Document) -> list[int]:
        tokens = self._encode_text(self.text(document))
        if not tokens:
            raise InputError(
                f"document {document.key!r}: no token in {self.text(document)!r}, from which "
                f"scheme {self.name!r} makes the identifier; change the text"
            )
        return tokens

    def _encode_number(self, number: int) -> Identifier:
        tie = tuple(self.tokenizer.encode(f" {number}", add_special_tokens=False))
        after = tuple(self.tokenizer.encode(f" {number + 1}", add_special_tokens=False))
        if not tie or tie == after:
            raise InputError(
                f"scheme {self.name!r}: the tokenizer does not distinguish {number} and "
                f"{number + 1}, which separate equal documents; add the digits to its vocabulary"
            )
        if len(tie) > self.options.max_tokens - 2:
            raise InputError(
                f"[identifiers] max_tokens = {self.options.max_tokens} leaves no room for the "
                f"number {number} of documents with the same {self.name}; raise it"
            )
        return tie

    def fitted(self) -> dict[str, Any]:
        """Return facts about the tokenizer, and the number of collisions."""
        return super().fitted() | {"tied": self.num_collisions}

    def restore(self, saved: SchemeFiles) -> None:
        """Set the number of collisions. Raises InputError for another tokenizer."""
        super().restore(saved)
        self.num_collisions = int(saved.fact("tied"))


class SharedTextScheme(TextScheme):
    """A text scheme with several identifiers per document, which documents may share."""

    unique: ClassVar[bool] = False
    multiple_per_document: ClassVar[bool] = True

    def encode(
        self,
        documents: Sequence[Document],
        vectors: Vectors | None = None,
        reserved: Set[Identifier] = frozenset(),
    ) -> list[list[Identifier]]:
        """Return the distinct identifiers of each document; they may be in `reserved`."""
        identifiers = list[list[Identifier]]()
        for rows in track_chunks(len(documents), DOCUMENTS_PER_BATCH, f"{self.name} tokens"):
            identifiers += [
                list(dict.fromkeys(self.identifiers_of(one))) for one in documents[rows]
            ]
        return identifiers

    @abstractmethod
    def identifiers_of(self, document: Document) -> Iterable[Identifier]:
        """Return a document's identifiers, at least one, independent of other documents."""


def whole_text(document: Document) -> str:
    """Return `title. text` with single spaces; the key if both are empty."""
    parts = (" ".join(part.split()) for part in (document.title, document.text))
    return ". ".join(filter(None, parts)) or document.key


def find_separator(tokenizer: Tokenizer, end: int) -> int | None:
    """Return a special token to separate identifiers.

    None if the vocabulary has no mask token and none of `SEPARATORS`.
    """
    for name in filter(None, (tokenizer.mask_token, *SEPARATORS)):
        token = tokenizer.convert_tokens_to_ids(name)
        if token not in (None, tokenizer.unk_token_id, end):
            return token
    return None
