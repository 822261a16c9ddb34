"""Request and response schemas of the search API.

Every list, text and mapping of a request has a maximum here: the highest value that `Settings`
allows. Validation stops at the first error; Pydantic would otherwise create one for each item.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from genir.arguments import is_blank
from genir.corpus.json_lines import shorten
from genir.corpus.metadata_values import MAX_NUMBER
from genir.corpus.serialization import MAX_KEY
from genir.corpus.vectors import as_queries
from genir.errors import InputError, did_you_mean
from genir.types import Selection

MAX_DEPTH = 6
"""Maximum nesting depth of a filter's conditions."""
MAX_VALUES = 1_000
"""Maximum number of values in one filter."""
MAX_VALUE_CHARACTERS = 1_024
"""Maximum length of a name or value in a filter, in characters."""
MAX_QUERY_CHARACTERS = 100_000
"""Highest `--max-query`, in characters."""
MAX_QUERIES = 4_096
"""Highest `--max-queries` and `--max-documents`."""
MAX_DIMENSION = 8_192
"""Maximum number of columns of a query's vector."""
MAX_KEYS = 100_000
"""Highest `--max-keys`."""


def max_items(most: int, items: str) -> BeforeValidator:
    """Return a validator that checks the length of a list or mapping before its items."""

    def check(given: Any) -> Any:
        if isinstance(given, list | dict) and len(given) > most:
            raise ValueError(f"got {len(given)} {items}; at most {most} {items} a request")
        return given

    return BeforeValidator(check)


Key = Annotated[str, Field(min_length=1, max_length=MAX_KEY)]
Condition = dict[str, Any]
System = Literal["genir", "bm25"]


def _readable(query: str) -> str:
    if "\0" in query:
        raise ValueError("the query contains a NUL character; remove it")
    if not _whole(query):
        raise ValueError(
            f"the query {query[:60]!a} contains an unpaired surrogate; send valid Unicode"
        )
    if is_blank(query):
        raise ValueError("the query is empty; enter one")
    return query


def _comparable(where: Condition) -> Condition:
    """Raise ValueError for a filter with invalid text, too deep nesting or too many values."""
    values = 0
    for field, condition in where.items():
        _check_length(field, field)
        if not _whole(field):
            raise ValueError(f"{field[:60]!a} contains an unpaired surrogate; send valid Unicode")
        for value in _leaves(field, condition, MAX_DEPTH):
            values += 1
            if not _scalar(value):
                raise ValueError(
                    f"{shorten(field)} must be compared with a text, number or boolean, a list of "
                    f"these, or operators; got {shorten(value)}"
                )
            _check_length(field, value)
    if values > MAX_VALUES:
        raise ValueError(f"{values:,} values; a filter may have at most {MAX_VALUES:,}")
    return where


def _leaves(field: str, condition: Any, depth: int) -> Iterator[Any]:
    """Yield the values of a condition; an empty condition counts as one."""
    if not depth:
        raise ValueError(
            f"{shorten(field)}: conditions nested deeper than {MAX_DEPTH}; flatten the filter"
        )
    if isinstance(condition, dict):
        for one in condition.values():
            yield from _leaves(field, one, depth - 1)
    elif isinstance(condition, list):
        yield from condition
    else:
        yield condition


def _check_length(field: str, value: Any) -> None:
    if isinstance(value, str) and len(value) > MAX_VALUE_CHARACTERS:
        raise ValueError(
            f"{shorten(field)}: got {len(value):,} characters; a name or value in a filter may "
            f"have {MAX_VALUE_CHARACTERS:,}"
        )


def _whole(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _scalar(value: Any) -> bool:
    if isinstance(value, str):
        return _whole(value)
    if isinstance(value, int):
        return abs(value) <= MAX_NUMBER
    return value is None or isinstance(value, float)


QueryText = Annotated[str, Field(max_length=MAX_QUERY_CHARACTERS), AfterValidator(_readable)]
Queries = Annotated[
    list[QueryText],
    Field(max_length=MAX_QUERIES, fail_fast=True),
    max_items(MAX_QUERIES, "queries"),
]
Keys = Annotated[list[Key], Field(max_length=MAX_KEYS, fail_fast=True), max_items(MAX_KEYS, "keys")]


def _direction(vector: list[float]) -> list[float]:
    try:
        as_queries("", vector)
    except InputError as error:
        raise ValueError(str(error)) from None
    return vector


Vector = Annotated[
    list[Annotated[float, Field(strict=True, allow_inf_nan=False)]],
    Field(min_length=1, max_length=MAX_DIMENSION, fail_fast=True),
    max_items(MAX_DIMENSION, "numbers"),
    AfterValidator(_direction),
]
Where = Annotated[
    Condition, Field(max_length=MAX_VALUES), AfterValidator(_comparable),
    max_items(MAX_VALUES, "fields"),
]  # fmt: skip


class Message(BaseModel):
    """Base class of request bodies; unknown fields are errors."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _known(cls, given: Any) -> Any:
        """Raise ValueError for the first unknown field; Pydantic would create an error for each."""
        fields = cls.model_fields
        unknown = next((name for name in given if name not in fields), None) if isinstance(
            given, dict) else None  # fmt: skip
        if unknown is not None:
            raise ValueError(f"unknown field {shorten(unknown)}{did_you_mean(unknown, fields)}")
        return given


class SearchRequest(Message):
    """Body of `POST /v1/search`: either `query`, `vector` or both, or `queries`."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"query": "copy a directory tree", "k": 10}]}
    )

    query: QueryText | None = None
    queries: Annotated[Queries, Field(min_length=1)] | None = None
    vector: Vector | None = Field(
        default=None,
        description="vector of the query by the model's encoder; a query beside it adds its words",
    )
    k: int = Field(default=10, ge=1, strict=True, description="maximum number of hits per query")
    where: Where | None = Field(
        default=None,
        description="metadata field -> the value it must have, a list of allowed values, or "
        "operators: gt, gte, lt, lte, prefix, not",
    )
    allow: Keys | None = Field(
        default=None, description="keys of the documents to search; default: all"
    )
    deny: Keys = Field(default=[], description="keys of documents to exclude")
    beams: int | None = Field(
        default=None, ge=1, strict=True, description="beam width; default: the recipe's"
    )
    exact: bool | None = Field(
        default=None,
        strict=True,
        description="exact search, which proves the hits optimal; default: as the strategy",
    )
    deadline_ms: int | None = Field(
        default=None, ge=1, strict=True, description="milliseconds until the request times out"
    )
    system: System = Field(default="genir", description="genir: the model; bm25: a lexical index")
    shares: bool = Field(
        default=False,
        strict=True,
        description="return the probability of each hit among all documents, and the confidence "
        "that the first hit answers the query",
    )
    fresh: bool = Field(default=False, strict=True, description="bypass the answer cache")

    @model_validator(mode="after")
    def _one_or_several(self) -> Self:
        if (self.query is None and self.vector is None) == (self.queries is None):
            raise ValueError(
                'give either "query" (a text), "vector" (numbers) or both, or "queries" (a list of '
                "texts)"
            )
        if self.system == "bm25" and self.vector is not None:
            raise ValueError("bm25 reads words only; leave the vector out")
        if self.system == "bm25" and (self.beams is not None or self.exact is not None):
            raise ValueError("bm25 has neither beams nor exact; leave them out")
        return self

    def texts(self) -> list[str]:
        """Return the queries as a list; one with a vector is a `VectorQuery`."""
        if self.queries is not None:
            return self.queries
        return as_queries(self.query or "", self.vector)

    @property
    def selection(self) -> Selection:
        """The requested documents: filter, allowed keys and denied keys."""
        where = (self.where,) if self.where else ()
        allow = () if self.allow is None else (frozenset(self.allow),)
        return Selection(where, allow, frozenset(self.deny))


class UnitMessage(BaseModel):
    """A part of a long document, with the fields of `genir.types.Unit`."""

    model_config = ConfigDict(from_attributes=True)

    start: int = Field(description="first character in the document's text")
    end: int = Field(description="end in the document's text, exclusive")
    heading: str = Field(description="heading of the part; empty if there is none")


class HitMessage(BaseModel):
    """A hit, with the fields of `genir.types.Hit`."""

    model_config = ConfigDict(from_attributes=True)

    key: str
    rank: int
    score: float
    title: str
    url: str
    snippet: str
    identifier: str = Field(
        description="generated identifier; empty for a token limited to some documents, since "
        "identifiers are numbered over all documents"
    )
    unit: UnitMessage | None = Field(
        default=None,
        description="part of the document that matches best; absent if the model has no units",
    )
    anchor: str = Field(description="fragment of `url` that leads to the section; may be empty")
    breadcrumb: list[str] = Field(
        description="titles of the navigation above the page, of the page, and of the headings "
        "down to the section"
    )


class Hits(BaseModel):
    """The hits of one query, best first."""

    hits: list[HitMessage]
    proven: bool | None = Field(
        default=None,
        description="whether the hits are proven to be the best; absent without exact search",
    )
    shares: list[float] | None = Field(
        default=None,
        description="probability of each hit among all documents that the query may find; absent "
        "if not requested, and if scores are not log-probabilities",
    )

    confidence: float | None = Field(
        default=None,
        description="probability that the first hit answers the query, comparable between queries; "
        "absent if shares are not requested, for a token limited to some documents, and if the "
        "model cannot tell",
    )


INDEX_MS = (
    "milliseconds spent building the bm25 index or waiting for it, 0 if there is one; not part of "
    "took_ms; absent for genir"
)


VERSION = "the version of the documents"
HIDDEN_WHEN_SCOPED = (
    "null for a token limited to some documents, since it counts the changes of all"
)


class Answer(Hits):
    """Response to one query."""

    took_ms: float = Field(description="milliseconds from the request's arrival to the hits")
    index_ms: float | None = Field(default=None, description=INDEX_MS)
    version: int | None = Field(
        default=None, description=f"{VERSION} that answered; {HIDDEN_WHEN_SCOPED}"
    )


class Answers(BaseModel):
    """Responses to several queries, in request order."""

    results: list[Hits]
    took_ms: float = Field(description="milliseconds from the request's arrival to the last hits")
    index_ms: float | None = Field(default=None, description=INDEX_MS)
    version: int | None = Field(
        default=None, description=f"the oldest {VERSION[4:]} that answered; {HIDDEN_WHEN_SCOPED}"
    )


class FieldValue(BaseModel):
    """A value of a metadata field and the number of documents with it."""

    value: str | int | float | bool
    documents: int


class FieldCard(BaseModel):
    """A metadata field for filters, with its most frequent values."""

    name: str
    values: list[FieldValue]
    types: list[Literal["text", "number", "boolean"]] = Field(
        default=[], description="types of its values"
    )
    distinct: int = Field(
        description="number of distinct values in the documents that were sampled"
    )


class Access(BaseModel):
    """Rights of the caller."""

    tokens: bool = Field(description="whether the server uses tokens")
    reads: bool = Field(description="whether the caller may search")
    writes: bool = Field(description="whether the caller may add and delete documents")
    writes_with_token: bool = Field(description="whether a token with the role write may do so")
    scoped: bool = Field(
        default=False, description="whether the caller is limited to some documents"
    )
    token: str | None = Field(default=None, description="name of the caller's token")


class ModelCard(BaseModel):
    """Description of the served model; without search rights, no document facts."""

    name: str
    recipe: str
    description: str
    scheme: str
    kind: str
    version: int | None = Field(
        default=None,
        description=f"version of the documents, increased by every change; {HIDDEN_WHEN_SCOPED}",
    )
    documents: int | None = Field(default=None, description="number of live documents")
    identifiers: int | None = Field(
        default=None, description="number of live rows in the identifier table"
    )
    beams: int = Field(description="default beam width")
    explains: bool = Field(description="whether /v1/explain can show the beams of this model")
    additions: bool = Field(description="whether documents can be added to this model")
    systems: list[System] = Field(description="systems that can answer a search")
    fields: list[FieldCard] = Field(default=[], description="metadata fields for filters")
    examples: list[str] = Field(default=[], description="example queries")
    access: Access


class State(BaseModel):
    """Liveness or readiness of the server."""

    status: str


class NodeMessage(BaseModel):
    """A prefix that the beam search expanded or pruned."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    parent: int | None = Field(description="the prefix before its last symbol; null at level 1")
    level: int = Field(description="from 1")
    symbol: str = Field(
        description="last symbol of the prefix; empty for a token limited to some documents"
    )
    log_p: float = Field(description="log-probability of the symbol, given the prefix before it")
    share: float = Field(
        description="probability of the symbol among the symbols that lead to a matching document; "
        "the product over a path is the identifier's share"
    )
    score: float = Field(description="score of the prefix, by which beams are selected")
    kept: bool
    ended: bool = Field(description="whether the prefix is a complete identifier")
    documents: int = Field(description="number of matching documents below the prefix")
    key: str | None = Field(description="key of the document if only one is left")
    hits: list[int] = Field(description="ranks of the hits below the prefix")


class LevelMessage(BaseModel):
    """A level of the beam search."""

    model_config = ConfigDict(from_attributes=True)

    level: int
    candidates: int = Field(description="number of candidate prefixes")
    kept: int
    threshold: float | None = Field(description="lowest score kept; null if all were kept")


class TreeMessage(BaseModel):
    """The beam tree of one query: the prefixes kept, and the best pruned ones."""

    query: str
    beams: int
    levels: list[LevelMessage]
    nodes: list[NodeMessage]
    hits: list[HitMessage]
    took_ms: float
    version: int | None = Field(
        default=None, description=f"{VERSION} that answered; {HIDDEN_WHEN_SCOPED}"
    )
