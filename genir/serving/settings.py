"""What a server allows and how it goes about it, in one record. Knows no server."""

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)

from genir.config import Precision
from genir.errors import InputError
from genir.serving.messages import MAX_KEYS, MAX_QUERIES, MAX_QUERY_CHARACTERS
from genir.serving.origins import check_host, check_origin, check_proxy


def _listed(given: Any) -> Any:
    """Return a single text as a tuple of one."""
    return (given,) if isinstance(given, str) else given


Several = BeforeValidator(_listed)
Host = Annotated[str, AfterValidator(check_host)]
OriginText = Annotated[str, AfterValidator(check_origin)]
Proxy = Annotated[str, AfterValidator(check_proxy)]


class Settings(BaseModel):
    """Limits and habits of a server; each is a flag of `genir serve`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    # Who may ask for what.
    tokens: Path | None = Field(default=None, description="file of bearer tokens (genir token new)")
    public: bool = Field(
        default=False, description="answer searches without a token, though there are some"
    )
    writes: bool | None = Field(
        default=None,
        description="let documents be added and deleted over HTTP; default: where a token guards "
        "them, or only this machine can reach them",
    )
    hosts: Annotated[tuple[Host, ...], Several] = Field(
        default=(),
        description="host names that requests may be addressed to; default: this machine's, where "
        "only it can reach the server",
    )
    cors: Annotated[tuple[OriginText, ...], Several] = Field(
        default=(),
        description="origins of other pages that may ask from browsers, such as "
        "https://www.example.org; '*' for all",
    )
    trusted_proxies: Annotated[tuple[Proxy, ...], Several] = Field(
        default=("127.0.0.1", "::1"),
        description="addresses and networks of proxies whose X-Forwarded-For, -Proto and -Host "
        "headers are believed; '*' for any",
    )
    models: Path | None = Field(
        default=None,
        description="folder whose models may be swapped in; default: where the model lies",
    )
    trusted_keys: Path | None = Field(
        default=None,
        description="file of public keys (genir keygen): only model folders that one of them has "
        "signed are served",
    )
    trial_s: float = Field(
        default=300.0,
        ge=0,
        le=86_400,
        description="seconds that a new model folder may take in a process of its own, which loads "
        "it first; 0: no trial",
    )

    # How much one request may ask for.
    max_query: int = Field(
        default=2_000, ge=1, le=MAX_QUERY_CHARACTERS, description="characters in one query"
    )
    max_queries: int = Field(
        default=256, ge=1, le=MAX_QUERIES, description="queries in one request"
    )
    max_k: int = Field(default=1_000, ge=1, description="hits a query")
    max_beams: int = Field(default=1_000, ge=1, description="beams a query")
    max_work: int = Field(
        default=2_560_000,
        ge=1,
        description="queries x hits x beams of one request, such as 256 x 100 x 100",
    )
    max_documents: int = Field(
        default=256, ge=1, le=MAX_QUERIES, description="documents in one request"
    )
    max_text: int = Field(
        default=200_000, ge=1, description="characters in the text of one document"
    )
    max_keys: int = Field(
        default=10_000, ge=1, le=MAX_KEYS, description="keys to allow or deny in one request"
    )
    max_body: int = Field(
        default=4 * 2**20, ge=1_024, description="bytes in the body of a request with documents"
    )
    max_search_body: int = Field(
        default=2**20, ge=1_024, description="bytes in the body of any other request"
    )

    max_connections: int | None = Field(
        default=None,
        ge=1,
        description="connections; default: 4,096, or as many as the process may open files for",
    )
    max_connections_each: int | None = Field(
        default=None,
        ge=1,
        description="connections of one address that is no trusted proxy; default: a quarter",
    )

    # How requests share the model.
    batching: bool = Field(default=True, description="answer queries of several requests together")
    max_batch: int = Field(default=32, ge=1, description="queries answered together")
    max_wait_ms: float = Field(
        default=2.0, ge=0, le=1_000, description="how long a batch waits for more"
    )
    queue: int = Field(
        default=1_024, ge=1, description="queries that may wait; more are told to come back"
    )
    write_queue: int = Field(default=32, ge=1, description="changes that may wait")
    deadline_ms: int = Field(default=10_000, ge=1, description="milliseconds a request may take")
    cache: int = Field(
        default=64,
        ge=0,
        le=2**20,
        description="MiB of answers kept until something changes, of requests of at most "
        "--max-batch queries; 0: none",
    )
    poll_ms: int = Field(
        default=250, ge=10, description="how often changes of other processes are looked for"
    )

    # What else it does.
    precision: Precision = Field(
        default="auto", description="of products: fp32, bf16, or what is measured to be faster"
    )
    compare: bool = Field(default=True, description="answer by BM25 too, when asked for it")
    max_compared: int = Field(
        default=200_000, ge=1, description="documents up to which BM25 indexes them when asked"
    )
    log_queries: bool = Field(default=False, description="write queries into the log")
    linger_s: float = Field(
        default=0.0, ge=0, description="seconds after SIGTERM in which requests are still taken"
    )
    drain_s: float = Field(
        default=30.0, ge=0, description="seconds after SIGTERM for what was accepted before it"
    )

    @classmethod
    def of(cls, given: dict[str, Any]) -> Self:
        """Return the settings for flags that were given. Raises InputError naming a bad one."""
        try:
            return cls(**{name: value for name, value in given.items() if value is not None})
        except ValidationError as error:
            first = error.errors()[0]
            flag = "--" + str(first["loc"][0]).replace("_", "-")
            told = first["msg"].removeprefix("Value error, ")
            raise InputError(f"{flag} {first['input']!r}: {told}") from None
