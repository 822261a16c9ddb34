"""Several views of a document as identifiers of different kinds (MINDER, arXiv:2305.16675).

The first symbol marks the kind, so each kind is one subtree of the trie; the last one is an end
symbol. Documents share views: a title, an n-gram, or a pseudo-query.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, ClassVar, Self
from urllib.parse import unquote

from pydantic import Field

from genir.config import StrictModel
from genir.corpus.pseudo_queries import read_pseudo_queries
from genir.errors import InputError
from genir.identifiers.base import Tokenizer, Vectors
from genir.identifiers.ngram import windows
from genir.identifiers.serialization import SchemeFiles
from genir.identifiers.text import SharedTextScheme, TextOptions, whole_text
from genir.identifiers.url import SEPARATORS, domain, split_url
from genir.types import Document, Identifier

KINDS = ("title", "url", "text", "query")
"""Kinds of views, in the order of `VIEW_PREFIXES`."""
VIEW_PREFIXES = "1234"
"""Prefixes of the kinds: digits, which every vocabulary distinguishes."""
QUERIES = "pseudo-queries.jsonl"


class ViewsOptions(TextOptions):
    """Selection of views.

    ngrams: number of random n-grams of `n` tokens of title and text; 0 = none. queries: a file of
    pseudo-queries, {"document", "text"} a line, copied to the model folder; relative to the working
    directory of the training. "" = the queries of the recipe's `[pseudo_queries]`, if any. seed: of
    the n-gram sample.
    """

    title: bool = True
    url: bool = True
    ngrams: int = Field(default=10, ge=0)
    n: int = Field(default=10, ge=1)
    queries: str = ""
    seed: int = Field(default=0, ge=0)

    def files(self) -> list[Path]:
        """Return the pseudo-query file, if there is one."""
        return [Path(self.queries)] if self.queries else []


class Views(SharedTextScheme):
    """Prefix of a kind, tokens of a view, and the end symbol.

    A document without any view is identified by its text or, if that is empty, its key.
    """

    name: ClassVar[str] = "views"
    Options: ClassVar[type[StrictModel]] = ViewsOptions
    options: ViewsOptions

    def __init__(self, options: ViewsOptions, tokenizer: Tokenizer | None = None) -> None:
        super().__init__(options, tokenizer)
        spelled = [
            self.tokenizer.encode(mark, add_special_tokens=False)[-1:] for mark in VIEW_PREFIXES
        ]
        self.prefixes = {
            kind: tokens[0] for kind, tokens in zip(KINDS, spelled, strict=True) if tokens
        }
        if len(set(self.prefixes.values()) - {self.end}) < len(KINDS):
            raise InputError(
                f"scheme {self.name!r}: the tokenizer does not distinguish the digits "
                f"{', '.join(VIEW_PREFIXES)}, which mark kinds; add them to its vocabulary"
            )
        self.pseudo_queries: Mapping[str, Sequence[str]] = {}

    def set_pseudo_queries(self, queries: Mapping[str, Sequence[str]]) -> None:
        """Use these queries as views, unless the options name a file."""
        self.pseudo_queries = queries

    def fit(self, corpus: Sequence[Document], vectors: Vectors | None = None) -> Self:
        """Read the pseudo-queries. Raises InputError for a bad line or an unknown document."""
        super().fit(corpus, vectors)
        if self.options.queries:
            known = {document.key for document in corpus}
            self.pseudo_queries = read_pseudo_queries(Path(self.options.queries), known)
        return self

    def text(self, document: Document) -> str:
        """Return the text from which n-grams are sampled."""
        return whole_text(document)

    def identifiers_of(self, document: Document) -> Iterable[Identifier]:
        """Return the views."""
        return list(self._views(document)) or [self._with_prefix("text", self._tokens(document))]

    def _views(self, document: Document) -> Iterator[Identifier]:
        texts = [("query", text) for text in self.pseudo_queries.get(document.key, ())]
        if self.options.title:
            texts.append(("title", document.title))
        if self.options.url and document.url.strip():
            texts.append(("url", url_words(document)))
        for kind, text in texts:
            tokens = self._encode_text(" ".join(text.split()))
            if tokens:
                yield self._with_prefix(kind, tokens)
        if self.options.ngrams:
            yield from (self._with_prefix("text", run) for run in self._ngrams(document))

    def _ngrams(self, document: Document) -> list[Identifier]:
        """Sample n-grams; the sample depends on the document only."""
        tokens = self._tokens(document)
        found = [row for row in windows(tokens, self.options.n, self.end) if row[-1] != self.end]
        rng = Random(f"{self.options.seed} {document.key}")
        drawn = rng.sample(found, min(self.options.ngrams, len(found)))
        return drawn or [tuple(tokens)]

    def _with_prefix(self, kind: str, tokens: Sequence[int]) -> Identifier:
        return (self.prefixes[kind], *tokens[: self.options.max_tokens - 2], self.end)

    def to_text(self, identifier: Identifier) -> str:
        """Return `kind: text`."""
        kind = next(kind for kind, mark in self.prefixes.items() if mark == identifier[0])
        return f"{kind}: {super().to_text(identifier[1:])}"

    def save(self, folder: Path) -> None:
        """Write `scheme.json`, and the pseudo-queries if there are any."""
        super().save(folder)
        if self.pseudo_queries:
            lines = (
                json.dumps({"document": key, "text": text}, ensure_ascii=False) + "\n"
                for key, texts in self.pseudo_queries.items()
                for text in texts
            )
            (folder / QUERIES).write_text("".join(lines), encoding="utf-8")

    def restore(self, saved: SchemeFiles) -> None:
        """Read the pseudo-queries, too. Raises InputError if some are missing."""
        super().restore(saved)
        path = saved.folder / QUERIES
        if not saved.fact("asked"):
            return
        if not path.is_file():
            raise InputError(f"{path}: missing from the model folder; train it again")
        self.pseudo_queries = read_pseudo_queries(path)
        if self.fitted()["asked"] != saved.fact("asked"):
            raise InputError(f"{path}: some queries are missing; train it again")

    def fitted(self) -> dict[str, Any]:
        """Return the number of pseudo-queries, too."""
        return super().fitted() | {"asked": sum(map(len, self.pseudo_queries.values()))}


def url_words(document: Document) -> str:
    """Return the words of a URL's path; the host if the path is empty."""
    url = split_url(document)
    path = url._replace(scheme="", netloc="").geturl()
    return SEPARATORS.sub(" ", unquote(path)).strip() or domain(url)
