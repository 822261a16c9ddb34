"""What goes over the wire: the body of a search and the answers. Knows no server and no model."""

from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from genir.records import Hit

MAX_QUERY = 2_000
"""Characters in one query."""
MAX_QUERIES = 256
MAX_K = 1_000
MAX_BODY = 8 * 2**20
"""Bytes in one request: 256 queries of 2,000 characters fit, escaped as JSON may escape them."""
_INTEGERS = range(-(2**63), 2**63)


def _readable(query: str) -> str:
    if not query.strip():
        raise ValueError("the query is empty; ask something")
    if "\0" in query:
        raise ValueError("the query holds a NUL character; take it out")
    return query


def _comparable(where: dict[str, Any]) -> dict[str, Any]:
    for field, condition in where.items():
        for value in condition if isinstance(condition, list) else [condition]:
            if not _scalar(value):
                raise ValueError(
                    f"{field!r} must be compared with a text, number, boolean or null, or a list "
                    f"of these; got {value!r:.60}"
                )
    return where


def _scalar(value: Any) -> bool:
    if isinstance(value, str):
        return not any("\ud800" <= character <= "\udfff" for character in value)
    if isinstance(value, int):
        return value in _INTEGERS
    return value is None or isinstance(value, float)


QueryText = Annotated[str, Field(max_length=MAX_QUERY), AfterValidator(_readable)]
Where = Annotated[dict[str, Any], AfterValidator(_comparable)]


class SearchRequest(BaseModel):
    """The body of `POST /search`: one `query`, or several `queries`."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"query": "copy a directory tree", "k": 10}]},
    )

    query: QueryText | None = None
    queries: list[QueryText] | None = Field(None, min_length=1, max_length=MAX_QUERIES)
    k: int = Field(10, ge=1, le=MAX_K, strict=True, description="hits a query, at most")
    where: Where | None = Field(
        None, description="metadata field -> the value it must have, or a list of allowed values"
    )

    @model_validator(mode="after")
    def _one_or_several(self) -> Self:
        if (self.query is None) == (self.queries is None):
            raise ValueError('give either "query" (a text) or "queries" (a list of texts)')
        return self

    def texts(self) -> list[str]:
        """Return the queries, also when there is one."""
        return self.queries if self.query is None else [self.query]  # type: ignore[return-value]


class HitMessage(BaseModel):
    """One result, as `genir.records.Hit` has it."""

    model_config = ConfigDict(from_attributes=True)

    key: str
    rank: int
    score: float
    title: str
    url: str
    snippet: str
    identifier: str = Field(description="what the model emitted")


class Hits(BaseModel):
    """The hits of one query, best first."""

    hits: list[HitMessage]

    @classmethod
    def of(cls, hits: list[Hit]) -> Self:
        """Wrap what a searcher returned for one query."""
        return cls(hits=[HitMessage.model_validate(hit) for hit in hits])


class Answer(Hits):
    """The answer to one query."""

    took_ms: float = Field(description="milliseconds from the request's arrival to the hits")


class Answers(BaseModel):
    """The answers to several queries, in their order."""

    results: list[Hits]
    took_ms: float = Field(description="milliseconds from the request's arrival to the last hits")


class ModelCard(BaseModel):
    """What is being served."""

    name: str
    recipe: str
    description: str
    scheme: str
    kind: str
    documents: int
    identifiers: int = Field(description="live rows of the table of identifiers")
    examples: list[str] = Field(description="queries to try")


class State(BaseModel):
    """Whether the server lives or is ready."""

    status: str
