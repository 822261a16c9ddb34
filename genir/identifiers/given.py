"""Given identifiers, for models whose identifiers were made elsewhere (GENRE, DDRO).

Texts are tokenised without a begin token and end with the end token, as GENRE writes titles (arXiv:
2010.00904). Token ids are taken as they are, without padding at their end: they may lie beyond the
tokenizer, as DDRO's product codes, which are extra rows of the embeddings (arXiv:2504.05181).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from genir.config import StrictModel
from genir.errors import InputError
from genir.identifiers.base import Vectors
from genir.identifiers.identifier_file import Given as GivenIdentifier
from genir.identifiers.identifier_file import read_identifiers
from genir.identifiers.serialization import SchemeFiles
from genir.identifiers.text import SharedTextScheme
from genir.progress import tracked
from genir.types import Document, Identifier

ARRAYS: dict[str, tuple[type[np.generic], int]] = {
    "keys": (np.uint8, 1),
    "owners": (np.int32, 1),
    "lengths": (np.int32, 1),
    "tokens": (np.int32, 1),
}
"""Arrays of a saved scheme: keys as UTF-8 separated by NUL; key and length of each identifier."""


class GivenOptions(StrictModel):
    """Identifiers from a file.

    file: JSON lines {"document": key, "identifier": text or list of token ids}, or TSV lines of key
    and identifier, where token ids are separated by commas. It may have identifiers of documents
    that are added later; all are copied to the model folder.
    """

    file: str = Field(min_length=1)

    def files(self) -> list[Path]:
        """Return the file of identifiers."""
        return [Path(self.file)]


class Given(SharedTextScheme):
    """Identifiers from a file, in tokens of the model. Documents may share them."""

    name: ClassVar[str] = "given"
    Options: ClassVar[type[StrictModel]] = GivenOptions
    options: GivenOptions
    arrays: dict[str, NDArray[Any]]

    @property
    def max_length(self) -> int:
        """Return 0: identifiers are not truncated."""
        return 0

    def text(self, document: Document) -> str:
        """Return the text of a document's first identifier."""
        return self.to_text(next(iter(self.identifiers_of(document))))

    def fit(self, corpus: Sequence[Document], vectors: Vectors | None = None) -> Self:
        """Read and tokenise the file. Raises InputError for a line of another format."""
        super().fit(corpus, vectors)
        given = read_identifiers(Path(self.options.file))
        owned = tracked(list(given.values()), f"{self.name} tokens")
        rows = [(owner, self._tokens_of(one)) for owner, own in enumerate(owned) for one in own]
        self.arrays = {
            "keys": np.frombuffer("\0".join(given).encode(), dtype=np.uint8),
            "owners": np.array([owner for owner, _ in rows], dtype=np.int32),
            "lengths": np.array([len(tokens) for _, tokens in rows], dtype=np.int32),
            "tokens": np.array([one for _, tokens in rows for one in tokens], dtype=np.int32),
        }
        self.__dict__.pop("_by_key", None)
        return self

    def _tokens_of(self, given: GivenIdentifier) -> list[int]:
        tokens = self._encode_text(given) if isinstance(given, str) else list(given)
        while isinstance(given, list) and tokens and tokens[-1] == self.tokenizer.pad_token_id:
            tokens.pop()
        if not tokens:
            raise InputError(
                f"{self.options.file}: no token in {given!r:.60}; give another identifier"
            )
        return tokens if isinstance(given, list) else [*tokens, self.end]

    @cached_property
    def _by_key(self) -> Mapping[str, list[Identifier]]:
        """Identifiers by the keys of the file."""
        keys = self.arrays["keys"].tobytes().decode().split("\0")
        found: dict[str, list[Identifier]] = {key: [] for key in keys}
        ends = self.arrays["lengths"].cumsum().tolist()
        tokens = self.arrays["tokens"].tolist()
        for owner, start, end in zip(
            self.arrays["owners"].tolist(), [0, *ends[:-1]], ends, strict=True
        ):
            found[keys[owner]].append(tuple(tokens[start:end]))
        return found

    def identifiers_of(self, document: Document) -> Iterable[Identifier]:
        """Return the document's identifiers. Raises InputError if the file has none."""
        found = next(filter(None, map(self._by_key.get, _spellings(document.key))), None)
        if not found:
            raise InputError(
                f"document {document.key!r} has no identifier in {self.options.file}; add a line "
                "with its key"
            )
        return found

    def level_sizes(self) -> list[int]:
        """Return the number of tokens: the tokenizer's, or more if an identifier is beyond."""
        return [max(len(self.tokenizer), int(self.arrays["tokens"].max(initial=0)) + 1)]

    def to_text(self, identifier: Identifier) -> str:
        """Return the text, or token ids such as `32128-32390` if some are not the tokenizer's."""
        if max(identifier) < len(self.tokenizer):
            return super().to_text(identifier)
        return "-".join(map(str, identifier))

    def fitted_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the identifiers of the file."""
        return self.arrays

    def restore(self, saved: SchemeFiles) -> None:
        """Set the identifiers. Raises InputError for damaged arrays or another tokenizer."""
        super().restore(saved)
        self.arrays = saved.arrays(ARRAYS)
        owners, lengths, tokens = (self.arrays[name] for name in ("owners", "lengths", "tokens"))
        try:
            count = self.arrays["keys"].tobytes().decode().count("\0") + 1
        except UnicodeDecodeError:
            count = 0
        sound = (
            len(owners) == len(lengths)
            and (lengths > 0).all()
            and lengths.sum(dtype=np.int64) == len(tokens)
            and (tokens >= 0).all()
            and ((owners >= 0) & (owners < count)).all()
        )
        if not sound:
            raise InputError(
                f"{saved.folder}: damaged identifiers of the scheme 'given'; restore the folder or "
                "import it again"
            )


def _spellings(key: str) -> Iterator[str]:
    """Yield the forms of a key in files: the key itself, and DDRO's `[d12]` for D12."""
    yield key
    yield f"[{key.lower()}]"
