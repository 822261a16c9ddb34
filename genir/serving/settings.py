"""Settings of the server."""

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
from genir.corpus.page_urls import check_base_url
from genir.errors import InputError
from genir.serving.origins import check_host, check_origin, check_proxy
from genir.serving.schemas import MAX_KEYS, MAX_QUERIES, MAX_QUERY_CHARACTERS


def _listed(given: Any) -> Any:
    """Wrap a single text in a tuple."""
    return (given,) if isinstance(given, str) else given


def _checked_base_url(url: str | None) -> str | None:
    """Return a base URL unchanged. Raises ValueError for anything else."""
    try:
        check_base_url(url or "")
    except InputError as error:
        raise ValueError(str(error)) from None
    return url


ListOption = BeforeValidator(_listed)
Host = Annotated[str, AfterValidator(check_host)]
OriginText = Annotated[str, AfterValidator(check_origin)]
Proxy = Annotated[str, AfterValidator(check_proxy)]


class Settings(BaseModel):
    """Settings of a server; each one is an option of `genir serve`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    # Authorization.
    tokens: Path | None = Field(default=None, description="file of bearer tokens (genir token new)")
    public: bool = Field(
        default=False, description="allow searches without a token even if --tokens is given"
    )
    writes: bool | None = Field(
        default=None,
        description="allow adding and deleting documents over HTTP; default: if a token with the "
        "role write exists, or only this machine can reach the server",
    )
    hosts: Annotated[tuple[Host, ...], ListOption] = Field(
        default=(),
        description="accepted host names of requests; default: the names of this machine if only "
        "it can reach the server, else any",
    )
    cors: Annotated[tuple[OriginText, ...], ListOption] = Field(
        default=(),
        description="origins of other pages that may send requests from browsers, for example "
        "https://www.example.org; '*' for all",
    )
    trusted_proxies: Annotated[tuple[Proxy, ...], ListOption] = Field(
        default=("127.0.0.1", "::1"),
        description="addresses and networks of proxies whose X-Forwarded-For, -Proto and -Host "
        "headers are trusted; '*' for any",
    )
    models: Path | None = Field(
        default=None,
        description="folder with models that may be swapped in; default: the parent of MODEL",
    )
    base_url: Annotated[str | None, AfterValidator(_checked_base_url)] = Field(
        default=None,
        description="prefix of page URLs in answers, instead of the model's, for example "
        "https://www.example.org/docs",
    )
    sync_folder: Path | None = Field(
        default=None,
        description="folder of pages, or corpus, whose documents POST /v1/sync applies; default: "
        "the route is disabled",
    )
    trusted_keys: Path | None = Field(
        default=None,
        description="file of public keys (genir keygen); only model folders signed by one of them "
        "are served",
    )
    trial_s: float = Field(
        default=300.0,
        ge=0,
        le=86_400,
        description="seconds that loading a new model folder may take in a child process, as a "
        "trial before it is served; 0: no trial",
    )

    # Limits of one request.
    max_query: int = Field(
        default=2_000, ge=1, le=MAX_QUERY_CHARACTERS, description="maximum characters in one query"
    )
    max_queries: int = Field(
        default=256, ge=1, le=MAX_QUERIES, description="maximum queries in one request"
    )
    max_k: int = Field(default=1_000, ge=1, description="maximum hits per query")
    max_beams: int = Field(default=1_000, ge=1, description="maximum beams per query")
    max_work: int = Field(
        default=2_560_000,
        ge=1,
        description="maximum queries x hits x beams of one request, for example 256 x 100 x 100",
    )
    max_documents: int = Field(
        default=256, ge=1, le=MAX_QUERIES, description="maximum documents in one request"
    )
    max_text: int = Field(
        default=200_000, ge=1, description="maximum characters in the text of one document"
    )
    max_keys: int = Field(
        default=10_000,
        ge=1,
        le=MAX_KEYS,
        description="maximum keys in allow or deny of one request",
    )
    max_body: int = Field(
        default=4 * 2**20,
        ge=1_024,
        description="maximum bytes in the body of a request with documents",
    )
    max_search_body: int = Field(
        default=2**20, ge=1_024, description="maximum bytes in the body of any other request"
    )

    max_connections: int | None = Field(
        default=None,
        ge=1,
        description="maximum connections; default: 4,096, or less if few files may be opened",
    )
    max_connections_each: int | None = Field(
        default=None,
        ge=1,
        description="maximum connections of one address that is not a trusted proxy; default: a "
        "quarter of --max-connections",
    )

    # Batching and queues.
    batching: bool = Field(default=True, description="batch the queries of several requests")
    max_batch: int = Field(default=32, ge=1, description="maximum queries in a batch")
    max_wait_ms: float = Field(
        default=2.0, ge=0, le=1_000, description="milliseconds that a batch waits for more queries"
    )
    queue: int = Field(
        default=1_024, ge=1, description="maximum queries that wait; further ones get a 503"
    )
    write_queue: int = Field(default=32, ge=1, description="maximum changes that wait")
    deadline_ms: int = Field(default=10_000, ge=1, description="maximum milliseconds of a request")
    cache: int = Field(
        default=64,
        ge=0,
        le=2**20,
        description="MiB of cached answers, of requests of at most --max-batch queries; cleared "
        "when documents change; 0: no cache",
    )
    poll_ms: int = Field(
        default=250,
        ge=10,
        description="milliseconds between two checks for changes of other processes",
    )

    # The search page.
    title: str | None = Field(
        default=None,
        min_length=1,
        max_length=80,
        description="name of the site on the search page; default: genir",
    )
    logo: Path | None = Field(
        default=None, description="image of the site on the search page: SVG, PNG, JPEG or WebP"
    )

    # Other settings.
    precision: Precision = Field(
        default="auto",
        description="type of matrix products: fp32, bf16, or auto, which measures the faster one",
    )
    compare: bool = Field(default=True, description="allow searches with BM25")
    max_compared: int = Field(
        default=200_000, ge=1, description="maximum documents that BM25 indexes"
    )
    log_queries: bool = Field(default=False, description="write query texts to the log")
    pre_drain_s: float = Field(
        default=0.0,
        ge=0,
        description="seconds after SIGTERM during which requests are still accepted",
    )
    drain_s: float = Field(
        default=30.0, ge=0, description="seconds to finish accepted requests after --pre-drain-s"
    )

    @classmethod
    def of(cls, given: dict[str, Any]) -> Self:
        """Return the settings for the given options. Raises InputError for an invalid one."""
        try:
            return cls(**{name: value for name, value in given.items() if value is not None})
        except ValidationError as error:
            first = error.errors()[0]
            flag = "--" + str(first["loc"][0]).replace("_", "-")
            reason = first["msg"].removeprefix("Value error, ")
            raise InputError(f"{flag} {first['input']!r}: {reason}") from None
