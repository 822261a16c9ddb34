"""Immutable records that all packages share."""

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
"""Symbols that the model emits for a document: codes or vocabulary tokens."""


@dataclass(frozen=True, slots=True)
class Link:
    """A hyperlink from characters [start, end) of a document's text to document `target`."""

    start: int
    end: int
    target: str


@dataclass(frozen=True, slots=True)
class Document:
    """A document. `key` is the user's unique string for it (BEIR `_id`).

    `vector` is its unit vector by a model of the user's, float32 [H], while it is added to a model
    with given vectors; it is not stored.
    """

    key: str
    text: str
    title: str = ""
    url: str = ""
    links: tuple[Link, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    vector: Any = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Query:
    """A query. `key` is the user's unique string for it."""

    key: str
    text: str


MAX_GRADE = 1_000
"""Largest absolute relevance grade. Measures fail without a message for grades beyond 32 bits, and
need memory in proportion to the largest grade."""


@dataclass(frozen=True, slots=True)
class Qrel:
    """A relevance judgement: `document` has `grade` for `query` (0 = judged irrelevant)."""

    query: str
    document: str
    grade: int = 1


@dataclass(frozen=True, slots=True)
class Example:
    """A training pair of a source text and its target.

    Attributes:
        extra_targets: Further identifiers to emit after the target (CorpusBrain).
        clean_source: Source without its synthetic typing error; "" if there is none.
    """

    source: str
    target: Identifier | str
    weight: float = 1.0
    extra_targets: tuple[Identifier, ...] = ()
    clean_source: str = ""

    @property
    def typed_source(self) -> str:
        """Source without synthetic typing errors."""
        return self.clean_source or self.source


@dataclass(frozen=True, slots=True)
class Unit:
    """A part of a long document: characters [start, end) of its text, and their Markdown heading.

    heading: "" if there is none.
    """

    start: int
    end: int
    heading: str = ""


@dataclass(frozen=True, slots=True)
class Hit:
    """One result: document key, score, rank (from 1), and the emitted identifier.

    unit: the part of the document that matches best; None if the model has no units.
    """

    key: str
    score: float
    rank: int
    identifier: str = ""
    title: str = ""
    url: str = ""
    snippet: str = ""
    unit: Unit | None = None

    def __repr__(self) -> str:
        """Show rank, key and score first, and no field that is empty; long texts are cut."""
        shown = {"rank": self.rank, "key": self.key, "score": round(self.score, 4)}
        shown |= {"title": self.title, "identifier": self.identifier}
        shown |= {"url": self.url, "snippet": self.snippet}
        shown |= {} if self.unit is None else {"unit": self.unit}
        parts = (f"{name}={_shown(value)}" for name, value in shown.items() if value != "")
        return f"Hit({', '.join(parts)})"


MAX_SHOWN = 60
"""Characters of a text in the repr of a `Hit`."""


def _shown(value: Any) -> str:
    if isinstance(value, str) and len(value) > MAX_SHOWN:
        value = value[: MAX_SHOWN - 1] + "…"
    return repr(value)


T = TypeVar("T")


class HitList(list[T]):
    """Results of one query, best first.

    proven: whether exact search has proven the ranking; None if it was not requested.
    """

    def __init__(self, found: Iterable[T] = (), proven: bool | None = None) -> None:
        super().__init__(found)
        self.proven = proven

    def __repr__(self) -> str:
        """Show one result a line."""
        results = "[" + ",\n ".join(map(repr, self)) + "]"
        return results if self.proven is None else f"Answer({results}, proven={self.proven})"


Filter = Mapping[str, Any]
"""Conditions on metadata fields, all of which must hold; see `corpus.metadata_filters`."""


def as_filter(value: Any) -> Filter:
    """Return a filter with normalised conditions (`as_condition`).

    Raises:
        InputError: The value is not a mapping from field names to conditions.
    """
    if not isinstance(value, Mapping):
        raise InputError(
            f"where: got {value!r:.60} ({type(value).__name__}); give a mapping such as "
            '{"lang": "en"}'
        )
    return {
        as_text(name, "where: name of a field"): as_condition(one, name)
        for name, one in value.items()
    }


def _filters(given: Any) -> tuple[Filter, ...]:
    """Return a tuple of filters; a mapping is one filter, None is none."""
    if given is None:
        return ()
    alone = isinstance(given, Mapping | str | bytes) or not is_listable(given)
    return tuple(as_filter(one) for one in ([given] if alone else given))


def _key_sets(given: Any) -> tuple[frozenset[str], ...]:
    """Return a tuple of key sets; a string or collection of strings is one set, None is none."""
    if given is None:
        return ()
    if isinstance(given, str | bytes | Mapping) or not is_listable(given):
        return (frozenset(as_keys(given, "allow")),)
    parts = list(given)
    # An empty list is one empty set, so no document may be found.
    if all(isinstance(part, str) for part in parts) and (parts or not isinstance(given, tuple)):
        return (frozenset(as_keys(parts, "allow")),)
    return tuple(frozenset(as_keys(part, "allow")) for part in parts)


@dataclass(frozen=True)
class Selection:
    """Set of documents that may be found, by filters and keys. By default all documents.

    None is no condition, and `allow=[]` finds nothing. A single filter is a tuple of one.
    `allow="key"` and `allow=["a", "b"]` are one set of keys, and `deny="key"` is one key. Unknown
    keys are ignored.

    Attributes:
        where: Filters, all of which must hold; no document passes a filter on an unknown field.
        allow: Sets of keys, all of which must contain the document's key.
        deny: Keys to exclude.
        excluded: Whether scores depend on the selected documents only: softmax over their rows,
            corpus frequencies within them. A server sets it for access tokens with restricted
            documents, so that scores reveal nothing about the others.

    Raises:
        InputError: A filter is not a mapping, or a key is not a string.
    """

    where: tuple[Filter, ...] = ()
    allow: tuple[frozenset[str], ...] = ()
    deny: frozenset[str] = frozenset()
    excluded: bool = False

    def __post_init__(self) -> None:
        """Convert filters and keys to their types."""
        object.__setattr__(self, "where", _filters(self.where))
        object.__setattr__(self, "allow", _key_sets(self.allow))
        deny = () if self.deny is None else self.deny
        object.__setattr__(self, "deny", frozenset(as_keys(deny, "deny")))

    @cached_property
    def name(self) -> bytes:
        """Digest that is equal for equal selections; caches store it instead of keys."""
        filters = [repr(dict(one)) for one in self.where]
        keys = [sorted(own) for own in (*self.allow, self.deny)]
        return digest_of(json.dumps([filters, keys, self.excluded]))

    def __and__(self, other: "Selection") -> "Selection":
        """Return the intersection; closed if either is."""
        return Selection(
            self.where + other.where,
            self.allow + other.allow,
            self.deny | other.deny,
            self.excluded or other.excluded,
        )


FilterSpec = Filter | Selection | None
"""Filter of one query; None for all documents."""


class Searcher(Protocol):
    """A system that ranks documents for queries: a model, a baseline, or a fusion of both."""

    def search(
        self, queries: list[str], k: int, where: Filter | None = None
    ) -> Sequence[list[Hit]]:
        """Return at most `k` hits for each query, best first, without duplicates."""
        ...


@dataclass(frozen=True)
class Capabilities:
    """Features of a search strategy.

    Attributes:
        filters: Hits can be restricted to documents that pass a metadata filter.
        proof: Exact search can prove the top k documents.
        proves_by_default: A search that does not say `exact` is an exact search.
        trace: The search is one beam search in which a document's best identifier decides, so that
            explanations, the beam tree and the diagnosis can follow it.
        shares: Scores are probabilities of identifiers, so that documents have shares.
        insertion: Documents can be added and replaced.
    """

    filters: bool = True
    proof: bool = False
    proves_by_default: bool = False
    trace: bool = False
    shares: bool = False
    insertion: bool = True
