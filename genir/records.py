"""The words of genir as immutable records. Knows no tensors."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

from genir.arguments import as_condition, as_keys, as_text, is_listable
from genir.byte_cache import digest_of
from genir.errors import InputError

Identifier = tuple[int, ...]
"""A sequence of symbols that the model emits for a document (codes or vocabulary tokens)."""


def _no_metadata() -> Mapping[str, Any]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Link:
    """A hyperlink: characters [start, end) of the document's text point to document `target`."""

    start: int
    end: int
    target: str


@dataclass(frozen=True, slots=True)
class Document:
    """A unit of retrieval. `key` is the user's own unique string for it (BEIR `_id`)."""

    key: str
    text: str
    title: str = ""
    url: str = ""
    links: tuple[Link, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=_no_metadata, hash=False)


@dataclass(frozen=True, slots=True)
class Query:
    """A question, with the user's own unique string for it."""

    key: str
    text: str


MAX_GRADE = 1_000
"""The largest relevance grade, and minus the smallest. The measures fail without a message for
grades beyond 32 bits, and need memory in proportion to the largest grade."""


@dataclass(frozen=True, slots=True)
class Qrel:
    """A judgement: `document` answers `query` with relevance `grade` (0 = judged irrelevant)."""

    query: str
    document: str
    grade: int = 1


@dataclass(frozen=True, slots=True)
class Example:
    """A training pair: `source` text, and the identifier (or plain text) to emit for it.

    also: identifiers to emit after the target, one after the other (CorpusBrain's joined targets).
    meant: what the source says without its typing error, "" where it has none.
    """

    source: str
    target: Identifier | str
    weight: float = 1.0
    also: tuple[Identifier, ...] = ()
    meant: str = ""

    @property
    def asked(self) -> str:
        """Return the source as it was meant."""
        return self.meant or self.source


@dataclass(frozen=True, slots=True)
class Hit:
    """One result: the document's key, its score and rank (from 1), the identifier emitted."""

    key: str
    score: float
    rank: int
    identifier: str = ""
    title: str = ""
    url: str = ""
    snippet: str = ""

    def __repr__(self) -> str:
        """Show rank, key and score first, and no field that is empty; long texts are cut."""
        shown = {"rank": self.rank, "key": self.key, "score": round(self.score, 4)}
        shown |= {"title": self.title, "identifier": self.identifier}
        shown |= {"url": self.url, "snippet": self.snippet}
        parts = (f"{name}={_shown(value)}" for name, value in shown.items() if value != "")
        return f"Hit({', '.join(parts)})"


MAX_SHOWN = 60
"""Characters of a text in the repr of a `Hit`."""


def _shown(value: Any) -> str:
    if isinstance(value, str) and len(value) > MAX_SHOWN:
        value = value[: MAX_SHOWN - 1] + "…"
    return repr(value)


T = TypeVar("T")


class Answer(list[T]):
    """What was found for a query, best first.

    proven: whether exact search has shown that nothing better exists; None if it was not asked.
    """

    def __init__(self, found: Iterable[T] = (), proven: bool | None = None) -> None:
        super().__init__(found)
        self.proven = proven

    def __repr__(self) -> str:
        """Show one result a line."""
        results = "[" + ",\n ".join(map(repr, self)) + "]"
        return results if self.proven is None else f"Answer({results}, proven={self.proven})"


Filter = Mapping[str, Any]
"""Conditions on metadata fields; every one must hold (`corpus.conditions` says what there is)."""


def as_filter(given: Any) -> Filter:
    """Return a filter with plain conditions (`as_condition`).

    Raises:
        InputError: Anything but a mapping from names, and a condition that cannot be one.
    """
    if not isinstance(given, Mapping):
        raise InputError(
            f"where: got {given!r:.60} ({type(given).__name__}); give a mapping such as "
            '{"lang": "en"}'
        )
    return {
        as_text(name, "where: name of a field"): as_condition(one, name)
        for name, one in given.items()
    }


def _filters(given: Any) -> tuple[Filter, ...]:
    """Return filters; a mapping is one, and None is none."""
    if given is None:
        return ()
    alone = isinstance(given, Mapping | str | bytes) or not is_listable(given)
    return tuple(as_filter(one) for one in ([given] if alone else given))


def _key_sets(given: Any) -> tuple[frozenset[str], ...]:
    """Return sets of keys; a string, or a collection of strings, is one set, and None is none."""
    if given is None:
        return ()
    if isinstance(given, str | bytes | Mapping) or not is_listable(given):
        return (frozenset(as_keys(given, "allow")),)
    parts = list(given)
    # An empty list is one set that holds nothing, so that nothing may be found.
    if all(isinstance(part, str) for part in parts) and (parts or not isinstance(given, tuple)):
        return (frozenset(as_keys(parts, "allow")),)
    return tuple(frozenset(as_keys(part, "allow")) for part in parts)


@dataclass(frozen=True)
class Selection:
    """Which documents may be found: several filters at once, and keys. Nothing asked: all of them.

    where: filters, all of which must hold; a field that no document has is one that no document
    passes. allow: sets of keys, all of which must hold the document's. deny: keys that may not be
    found. Keys that no document has count for nothing.

    None asks for nothing; `allow=[]` finds nothing. A single filter is taken as a tuple of one.
    `allow="key"` and `allow=["a", "b"]` are one set of keys, and `deny="key"` is one key.

    closed: whether scores are computed from the selected documents alone: softmax over their
    rows, corpus frequencies within them. A server sets it for tokens that see a part of the
    documents, so that no score depends on the other part.

    Raises:
        InputError: A filter that is no mapping, and keys that are no strings.
    """

    where: tuple[Filter, ...] = ()
    allow: tuple[frozenset[str], ...] = ()
    deny: frozenset[str] = frozenset()
    closed: bool = False

    def __post_init__(self) -> None:
        """Bring filters and keys into their types."""
        object.__setattr__(self, "where", _filters(self.where))
        object.__setattr__(self, "allow", _key_sets(self.allow))
        deny = () if self.deny is None else self.deny
        object.__setattr__(self, "deny", frozenset(as_keys(deny, "deny")))

    @cached_property
    def name(self) -> bytes:
        """Return a digest that equal selections share: what caches keep in the place of keys."""
        filters = [repr(dict(one)) for one in self.where]
        keys = [sorted(own) for own in (*self.allow, self.deny)]
        return digest_of(json.dumps([filters, keys, self.closed]))

    def __and__(self, other: "Selection") -> "Selection":
        """Return what passes both; closed if one of them is."""
        return Selection(
            self.where + other.where,
            self.allow + other.allow,
            self.deny | other.deny,
            self.closed or other.closed,
        )


class Searcher(Protocol):
    """Anything that answers queries: the model, a baseline, a fusion of both."""

    def search(
        self, queries: list[str], k: int, where: Filter | None = None
    ) -> Sequence[list[Hit]]:
        """Return at most `k` hits a query, best first, without duplicates."""
        ...
