"""What goes over the wire to search and to be told what is served. Knows no server, no model.

Every list, text and mapping of a request has a maximum here, the highest that `Settings` can
allow, and is refused at the first fault: pydantic would otherwise make an error for each item.
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
from genir.corpus.documents import MAX_KEY
from genir.corpus.lines import shorten
from genir.corpus.values import MAX_NUMBER
from genir.errors import nearest
from genir.records import Hit, Selection

MAX_DEPTH = 6
"""How deep the conditions of a filter may be nested."""
MAX_VALUES = 1_000
"""Values in one filter."""
MAX_VALUE_CHARACTERS = 1_024
"""Characters of a name or value in a filter."""
MAX_QUERY_CHARACTERS = 100_000
"""Characters that `--max-query` can allow."""
MAX_QUERIES = 4_096
"""Queries, or documents, that `--max-queries` and `--max-documents` can allow."""
MAX_KEYS = 100_000
"""Keys that `--max-keys` can allow."""


def at_most(most: int, items: str) -> BeforeValidator:
    """Return a validator that refuses a longer list or mapping before it looks at any item."""

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
        raise ValueError("the query holds a NUL character; take it out")
    if not _whole(query):
        raise ValueError(f"the query {query[:60]!a} holds half a character; give a whole text")
    if is_blank(query):
        raise ValueError("the query is empty; ask something")
    return query


def _comparable(where: Condition) -> Condition:
    """Refuse what cannot be told from anything: half characters, deep nests, endless lists."""
    values = 0
    for field, condition in where.items():
        _check_length(field, field)
        if not _whole(field):
            raise ValueError(f"{field[:60]!a} holds half a character; give a whole name")
        for value in _leaves(field, condition, MAX_DEPTH):
            values += 1
            if not _scalar(value):
                raise ValueError(
                    f"{shorten(field)} must be compared with a text, number or boolean, a list of "
                    f"these, or operators; got {shorten(value)}"
                )
            _check_length(field, value)
    if values > MAX_VALUES:
        raise ValueError(f"{values:,} values; a filter may hold {MAX_VALUES:,}")
    return where


def _leaves(field: str, condition: Any, depth: int) -> Iterator[Any]:
    """Yield the values of a condition; an empty condition counts as one."""
    if not depth:
        raise ValueError(
            f"{shorten(field)}: conditions nested deeper than {MAX_DEPTH}; write it flatter"
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
    list[QueryText], Field(max_length=MAX_QUERIES, fail_fast=True), at_most(MAX_QUERIES, "queries")
]
Keys = Annotated[list[Key], Field(max_length=MAX_KEYS, fail_fast=True), at_most(MAX_KEYS, "keys")]
Where = Annotated[
    Condition, Field(max_length=MAX_VALUES), AfterValidator(_comparable),
    at_most(MAX_VALUES, "fields"),
]  # fmt: skip


class Message(BaseModel):
    """A body: what it does not know it refuses."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _known(cls, given: Any) -> Any:
        """Refuse the first unknown field: pydantic would make an error for each of them."""
        fields = cls.model_fields
        unknown = next((name for name in given if name not in fields), None) if isinstance(
            given, dict) else None  # fmt: skip
        if unknown is not None:
            raise ValueError(f"unknown field {shorten(unknown)}{nearest(unknown, fields)}")
        return given


class SearchRequest(Message):
    """The body of `POST /v1/search`: one `query`, or several `queries`."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"query": "copy a directory tree", "k": 10}]}
    )

    query: QueryText | None = None
    queries: Annotated[Queries, Field(min_length=1)] | None = None
    k: int = Field(default=10, ge=1, strict=True, description="hits a query, at most")
    where: Where | None = Field(
        default=None,
        description="metadata field -> the value it must have, a list of allowed values, or "
        "operators: gt, gte, lt, lte, prefix, not",
    )
    allow: Keys | None = Field(default=None, description="keys of the only documents to be found")
    deny: Keys = Field(default=[], description="keys of documents not to be found")
    beams: int | None = Field(
        default=None, ge=1, strict=True, description="beam width; default: the recipe's"
    )
    exact: bool | None = Field(
        default=None,
        strict=True,
        description="prove that there are no better hits; default: the recipe's mode",
    )
    deadline_ms: int | None = Field(
        default=None, ge=1, strict=True, description="how long the answer is of use"
    )
    system: System = Field(default="genir", description="bm25 answers from a lexical index instead")
    shares: bool = Field(
        default=False, strict=True, description="say how probable each hit is among all documents"
    )
    fresh: bool = Field(
        default=False, strict=True, description="answer anew, not from the answers that are kept"
    )

    @model_validator(mode="after")
    def _one_or_several(self) -> Self:
        if (self.query is None) == (self.queries is None):
            raise ValueError('give either "query" (a text) or "queries" (a list of texts)')
        if self.system == "bm25" and (self.beams is not None or self.exact is not None):
            raise ValueError("bm25 knows neither beams nor exact; leave them out")
        return self

    def texts(self) -> list[str]:
        """Return the queries, also when there is one."""
        return self.queries if self.query is None else [self.query]  # type: ignore[return-value]

    @property
    def selection(self) -> Selection:
        """Return which documents are asked for."""
        where = (self.where,) if self.where else ()
        allow = () if self.allow is None else (frozenset(self.allow),)
        return Selection(where, allow, frozenset(self.deny))


class HitMessage(BaseModel):
    """One result, as `genir.records.Hit` has it."""

    model_config = ConfigDict(from_attributes=True)

    key: str
    rank: int
    score: float
    title: str
    url: str
    snippet: str
    identifier: str = Field(
        description="what the model emitted; empty for a token bound to a part of the documents, "
        "since identifiers are numbered among all"
    )


class Hits(BaseModel):
    """The hits of one query, best first."""

    hits: list[HitMessage]
    proven: bool | None = Field(
        default=None,
        description="whether nothing better exists; absent where exact search was not asked",
    )
    shares: list[float] | None = Field(
        default=None,
        description="of each hit, its probability among all documents that the query may find; "
        "absent where it was not asked, and where scores are no probabilities",
    )

    @classmethod
    def of(cls, hits: list[Hit], shares: list[float] | None = None) -> Self:
        """Wrap what a searcher returned for one query."""
        found = [HitMessage.model_validate(hit) for hit in hits]
        return cls(hits=found, proven=getattr(hits, "proven", None), shares=shares)


INDEX_MS = (
    "milliseconds for which bm25's index was made first, or waited for; not a part of took_ms; "
    "absent for genir"
)


VERSION = "the version of the documents"
UNTOLD = "null for a token bound to a part of the documents, since it counts changes of all"


class Answer(Hits):
    """The answer to one query."""

    took_ms: float = Field(description="milliseconds from the request's arrival to the hits")
    index_ms: float | None = Field(default=None, description=INDEX_MS)
    version: int | None = Field(default=None, description=f"{VERSION} that answered; {UNTOLD}")


class Answers(BaseModel):
    """The answers to several queries, in their order."""

    results: list[Hits]
    took_ms: float = Field(description="milliseconds from the request's arrival to the last hits")
    index_ms: float | None = Field(default=None, description=INDEX_MS)
    version: int | None = Field(
        default=None, description=f"the oldest {VERSION[4:]} that answered; {UNTOLD}"
    )


class FieldValue(BaseModel):
    """A value of a metadata field, and how many documents have it."""

    value: str | int | float | bool
    documents: int


class FieldCard(BaseModel):
    """A metadata field that filters may name, with its commonest values."""

    name: str
    values: list[FieldValue]
    types: list[Literal["text", "number", "boolean"]] = Field(
        default=[], description="types of its values"
    )
    distinct: int = Field(description="how many values there are, of those that were looked at")


class Access(BaseModel):
    """What is open to whoever asked."""

    tokens: bool = Field(description="whether the server knows tokens")
    reads: bool = Field(description="whether the asker may search")
    writes: bool = Field(description="whether the asker may add and delete")
    writes_with_token: bool = Field(description="whether a token with the role write could")
    scoped: bool = Field(
        default=False, description="whether the asker sees a part of the documents"
    )
    token: str | None = Field(default=None, description="the name of the asker's token")


class ModelCard(BaseModel):
    """What is being served. Without the right to search, nothing about the documents."""

    name: str
    recipe: str
    description: str
    scheme: str
    kind: str
    version: int | None = Field(
        default=None, description=f"of the documents; rises with every change; {UNTOLD}"
    )
    documents: int | None = Field(default=None, description="that can be found")
    identifiers: int | None = Field(
        default=None, description="live rows of the table of identifiers"
    )
    beams: int = Field(description="beam width unless a request names another")
    explains: bool = Field(description="whether /v1/explain can show the beams of this model")
    additions: bool = Field(description="whether documents can be added to this model")
    systems: list[System] = Field(description="what can answer a search")
    fields: list[FieldCard] = Field(default=[], description="what filters may name")
    examples: list[str] = Field(default=[], description="queries to try")
    access: Access


class State(BaseModel):
    """Whether the server lives or is ready."""

    status: str


class NodeMessage(BaseModel):
    """A prefix that the beam search looked at."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    parent: int | None = Field(description="the prefix before its last symbol; null at level 1")
    level: int = Field(description="from 1")
    symbol: str = Field(description="empty for a token bound to a part of the documents")
    log_p: float = Field(description="of the symbol, given the prefix before it")
    share: float = Field(
        description="probability of the symbol among those that lead to a document that may be "
        "found; over a path these multiply to the identifier's share"
    )
    score: float = Field(description="of the prefix: what beams are chosen by")
    kept: bool
    ended: bool = Field(description="whether it is a whole identifier")
    documents: int = Field(description="that it still leads to")
    key: str | None = Field(description="the document, where one is left")
    hits: list[int] = Field(description="ranks of the hits whose path leads through it")


class LevelMessage(BaseModel):
    """A level of the search."""

    model_config = ConfigDict(from_attributes=True)

    level: int
    candidates: int = Field(description="prefixes that the beams could have gone on to")
    kept: int
    threshold: float | None = Field(description="score of the last one kept; null if all were")


class TreeMessage(BaseModel):
    """The tree of beams of one query: what was kept, and the best of what was not."""

    query: str
    beams: int
    levels: list[LevelMessage]
    nodes: list[NodeMessage]
    hits: list[HitMessage]
    took_ms: float
    version: int | None = Field(default=None, description=f"{VERSION} that answered; {UNTOLD}")
