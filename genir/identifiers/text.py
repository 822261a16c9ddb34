"""The shared half of the text schemes: the tokens of a text about the document, and an end symbol.

Documents of the same text are told apart by a number at its end, from 2 on ("Anna", "Anna 2").
The tokenizer's EOS (or SEP) ends every identifier and stands nowhere else in it, so none is a
prefix of another. Where several are written one after the other, a separator takes its place.
"""

from abc import abstractmethod
from collections.abc import Iterable, Sequence, Set
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import Field

from genir.config import Strict, validate
from genir.errors import InputError
from genir.identifiers.artefact import Artefact, read_artefact, write_artefact
from genir.identifiers.base import Scheme, Tokenizer, Vectors
from genir.identifiers.vectors import require_documents, track_chunks
from genir.records import Document, Identifier

CHUNK = 16_384
"""Texts tokenised between two ticks of the progress bar."""

SEPARATORS = ("<extra_id_0>", "<0xFF>")
"""What parts identifiers where there is no mask token: T5's first sentinel, or a byte that no UTF-8
text has, of vocabularies that spell in bytes."""


class TextOptions(Strict):
    """`max_tokens` is the longest identifier, its number and end symbol included."""

    max_tokens: int = Field(default=64, ge=4)


class TextScheme(Scheme):
    """Tokens of a text, a number where needed, and the end symbol.

    tied: documents that needed a number, since the last fresh `encode`.
    """

    Options: ClassVar[type[Strict]] = TextOptions
    needs_tokenizer: ClassVar[bool] = True
    options: Any
    tokenizer: Tokenizer
    tied: int = 0

    def __init__(self, options: Any, tokenizer: Tokenizer | None = None) -> None:
        if tokenizer is None:
            raise InputError(f"the scheme {self.name!r} needs the model's tokenizer, and got none")
        super().__init__(options, tokenizer)
        end = tokenizer.sep_token_id if tokenizer.eos_token_id is None else tokenizer.eos_token_id
        if end is None:
            raise InputError(
                f"the scheme {self.name!r} needs a tokenizer with an EOS or SEP token; add one"
            )
        self.end = end
        if self.joins:
            self.separator = find_separator(tokenizer, end)
        self._tie = cache(self._spell_number)

    @abstractmethod
    def text(self, document: Document) -> str:
        """Return what the document is called. Raises InputError when it has no such thing."""

    def fit(self, corpus: Sequence[Document], vectors: Vectors | None = None) -> Self:
        """Learn nothing, but refuse an empty corpus."""
        require_documents(self.name, corpus)
        return self

    @property
    def limit(self) -> int:
        """Return how many symbols an identifier has at most, where its text would be cut."""
        return int(self.options.max_tokens)

    def encode(
        self,
        documents: Sequence[Document],
        vectors: Vectors | None = None,
        taken: Set[Identifier] = frozenset(),
    ) -> list[list[Identifier]]:
        """Return the tokens of each document's text, with the lowest number that is free."""
        self.tied = self.tied if taken else 0
        given, numbers = set[Identifier](), dict[Identifier, int]()
        identifiers = []
        for rows in track_chunks(len(documents), CHUNK, f"{self.name} tokens"):
            for document in documents[rows]:
                identifier = self._free(self._tokens(document), (given, taken), numbers)
                given.add(identifier)
                identifiers.append([identifier])
        return identifiers

    def _free(
        self,
        tokens: list[int],
        used: tuple[Set[Identifier], ...],
        numbers: dict[Identifier, int],
    ) -> Identifier:
        """Return the tokens as they are or, where these are used, with the next number."""
        plain = (*tokens[: self.options.max_tokens - 1], self.end)
        if not any(plain in some for some in used):
            return plain
        self.tied += 1
        for number in count(numbers.get(plain, 2)):
            numbers[plain] = number + 1
            tie = self._tie(number)
            identifier = (*tokens[: self.options.max_tokens - 1 - len(tie)], *tie, self.end)
            if not any(identifier in some for some in used):
                break
        return identifier

    def _tokens(self, document: Document) -> list[int]:
        tokens = self._spell(self.text(document))
        if not tokens:
            raise InputError(
                f"document {document.key!r}: no token in {self.text(document)!r}, which the scheme "
                f"{self.name!r} makes its identifier of"
            )
        return tokens

    def _spell(self, text: str) -> list[int]:
        tokens = self.tokenizer.encode(text, add_special_tokens=False, verbose=False)
        return [token for token in tokens if token not in (self.end, self.separator)]

    def _spell_number(self, number: int) -> Identifier:
        tie = tuple(self.tokenizer.encode(f" {number}", add_special_tokens=False))
        after = tuple(self.tokenizer.encode(f" {number + 1}", add_special_tokens=False))
        if not tie or tie == after:
            raise InputError(
                f"the tokenizer cannot tell {number} from {number + 1}, so documents of the same "
                f"{self.name} cannot be numbered; add the digits to its vocabulary"
            )
        if len(tie) > self.options.max_tokens - 2:
            raise InputError(
                f"[identifiers] max_tokens = {self.options.max_tokens} leaves no room for the "
                f"number {number}, which documents of the same {self.name} need; raise it"
            )
        return tie

    def level_sizes(self) -> list[int]:
        """Return the size of the vocabulary."""
        return [len(self.tokenizer)]

    def describe(self, identifier: Identifier) -> str:
        """Return the text."""
        return self.tokenizer.decode([token for token in identifier if token != self.end]).strip()

    def _facts(self) -> dict[str, Any]:
        """Return what `scheme.json` tells of the fitted scheme."""
        return {"vocabulary": len(self.tokenizer), "end": self.end, "tied": self.tied}

    def save(self, folder: Path) -> None:
        """Write `scheme.json`; the tokenizer is the model's to save."""
        write_artefact(self, folder, self._facts())

    @classmethod
    def load(cls, folder: Path, tokenizer: Tokenizer | None = None) -> Self:
        """Read back what `save` wrote, to be used with the same tokenizer.

        Raises InputError naming a missing or foreign file, or when the tokenizer is another one.
        """
        saved = read_artefact(folder, cls.name)
        scheme = cls(validate(cls.Options, saved.options, str(folder)), tokenizer)
        scheme._restore(saved)
        return scheme

    def _restore(self, saved: Artefact) -> None:
        """Take over the facts of `scheme.json`. Raises InputError for another tokenizer's."""
        for name, own in (("vocabulary", len(self.tokenizer)), ("end", self.end)):
            if saved.fact(name) != own:
                raise InputError(
                    f"{saved.folder}: identifiers made with another tokenizer ({name} "
                    f"{saved.fact(name)}, not {own}); use the one in the model folder"
                )
        self.tied = int(saved.fact("tied"))


class SharedTextScheme(TextScheme):
    """A text scheme whose documents share what they have in common, and have several of."""

    unique: ClassVar[bool] = False
    several: ClassVar[bool] = True

    def encode(
        self,
        documents: Sequence[Document],
        vectors: Vectors | None = None,
        taken: Set[Identifier] = frozenset(),
    ) -> list[list[Identifier]]:
        """Return the identifiers of each document, each once; some may be among those `taken`."""
        identifiers = list[list[Identifier]]()
        for rows in track_chunks(len(documents), CHUNK, f"{self.name} tokens"):
            identifiers += [list(dict.fromkeys(self.own(one))) for one in documents[rows]]
        return identifiers

    @abstractmethod
    def own(self, document: Document) -> Iterable[Identifier]:
        """Return a document's identifiers, whatever others there are; at least one."""


def whole_text(document: Document) -> str:
    """Return `title. text` with single spaces, or the key of a document without a word."""
    parts = (" ".join(part.split()) for part in (document.title, document.text))
    return ". ".join(filter(None, parts)) or document.key


def find_separator(tokenizer: Tokenizer, end: int) -> int | None:
    """Return a token that parts identifiers: one that is kept for other things than text.

    None where the vocabulary has no mask token and none of `SEPARATORS`.
    """
    for name in filter(None, (tokenizer.mask_token, *SEPARATORS)):
        token = tokenizer.convert_tokens_to_ids(name)
        if token not in (None, tokenizer.unk_token_id, end):
            return token
    return None
