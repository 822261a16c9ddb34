"""MCP server (extra `[mcp]`) with two tools over a model folder: `search` and `fetch`.

Their arguments and results follow the convention for search connectors of AI assistants.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, Field, ValidationError

from genir import __version__
from genir.corpus.metadata_filters import read_texts
from genir.corpus.store import DocumentStore
from genir.errors import InputError, MissingPackage
from genir.plurals import counted
from genir.retriever import Retriever
from genir.serving import schemas
from genir.serving.validation_messages import describe_error
from genir.types import Document, Hit

try:
    from mcp.server import MCPServer
    from mcp.server.mcpserver.exceptions import ToolError
    from mcp.server.mcpserver.tools import Tool
    from mcp.server.stdio import stdio_server
    from mcp_types import ToolAnnotations

    from genir.integrations.mcp_stdio import CheckedLines
except ModuleNotFoundError as error:
    raise MissingPackage("mcp", "mcp", "genir mcp") from error

T = TypeVar("T")

MAX_K = 100
READ_ONLY = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)

FIELDS = 24
"""Maximum number of metadata fields in the instructions; their types are read at the start."""

QueryText = Annotated[
    schemas.QueryText, Field(description="search query in plain words", max_length=2_000)
]
Count = Annotated[
    int, Field(description="maximum number of documents", ge=1, le=MAX_K, strict=True)
]
Where = Annotated[
    schemas.Where | None,
    Field(
        description="metadata field -> the value it must have, a list of allowed values, or "
        "operators (gt, gte, lt, lte, prefix, not)"
    ),
]
Id = Annotated[schemas.Key, Field(description="id of a search result")]


class Result(BaseModel):
    """A search result: `text` is the relevant passage; a higher `score` is better."""

    id: str
    title: str
    text: str
    url: str
    score: float


class Results(BaseModel):
    """Search results, best first."""

    results: list[Result]


class Page(BaseModel):
    """A whole document."""

    id: str
    title: str
    text: str
    url: str
    metadata: dict[str, Any]


class Tools:
    """The tools `search` and `fetch` over one model, which answers one call at a time."""

    def __init__(self, retriever: Retriever) -> None:
        self._retriever = retriever
        self._turn = threading.Lock()

    def search(self, query: QueryText, k: Count = 10, where: Where = None) -> Results:
        """Find documents that answer a query. Read a whole document with fetch."""

        def ask(retriever: Retriever) -> list[Hit]:
            return retriever.search([query], k, _typed(where, retriever.documents))[0]

        return Results(results=[_result(hit) for hit in self._call(ask)])

    def fetch(self, id: Id) -> Page:
        """Read a whole document from the search results."""

        def read_document(retriever: Retriever) -> Document:
            found = retriever.documents.find(id) if retriever.table.is_live(id) else None
            if found is None:
                raise InputError(f"no document has the id {id!r}; use the id of a search result")
            return found

        return _page(self._call(read_document))

    def _call(self, question: Callable[[Retriever], T]) -> T:
        """Apply the changes of other processes, then call. Raises ToolError for bad arguments."""
        with self._turn:
            try:
                self._retriever.sync()
                return question(self._retriever)
            except InputError as error:
                raise ToolError(str(error)) from None


def _typed(where: dict[str, Any] | None, documents: DocumentStore) -> dict[str, Any] | None:
    """Convert a filter's texts to the types of the fields: language models write "7" for 7."""
    return where and {
        field: read_texts(field, condition, documents.field_types(field))
        for field, condition in where.items()
    }


def _result(hit: Hit) -> Result:
    title = hit.title or hit.key
    return Result(id=hit.key, title=title, text=hit.snippet, url=hit.url, score=hit.score)


def _page(found: Document) -> Page:
    title, metadata = found.title or found.key, dict(found.metadata)
    return Page(id=found.key, title=title, text=found.text, url=found.url, metadata=metadata)


def create_server(retriever: Retriever) -> MCPServer:
    """Return the MCP server of a model, for any transport."""
    name = retriever.folder.name if retriever.folder else retriever.recipe.name
    documents = retriever.documents
    known = documents.metadata_fields()
    names = {name: sorted(documents.field_types(name)) for name in known[:FIELDS]}
    fields = ", ".join(f"{name} ({' or '.join(types)})" for name, types in names.items()) or "none"
    if len(known) > FIELDS:
        fields += f", and {len(known) - FIELDS:,} more"
    tools = Tools(retriever)
    return CheckedServer(
        "genir",
        title=f"genir: {name}",
        version=__version__,
        instructions=f"Search {counted(retriever.index.live_count, 'document')} ({name}), then "
        f"fetch the relevant ones. Metadata fields for `where`: {fields}.",
        log_level="WARNING",
        tools=[_tool(tools.search, "Search"), _tool(tools.fetch, "Fetch a document")],
    )


class CheckedTool(Tool):
    """A tool that reports invalid arguments in one sentence."""

    async def run(self, arguments: dict[str, Any], *context: Any, **options: Any) -> Any:
        """Run the tool. Raises ToolError for invalid arguments."""
        try:
            self.fn_metadata.validate_arguments(arguments)
        except ValidationError as error:
            first = error.errors()[0]
            known = self.fn_metadata.arg_model.model_fields
            raise ToolError(f"{self.name}: {describe_error(first, first['loc'], known)}") from None
        return await super().run(arguments, *context, **options)


class CheckedServer(MCPServer):
    """An MCP server that replies to every line of standard input, also to invalid ones."""

    async def run_stdio_async(self) -> None:
        """Serve on standard input and output."""
        lines, server = CheckedLines(), self._lowlevel_server
        async with stdio_server(stdin=lines) as (read, write):  # type: ignore[arg-type]
            lines.connect(write.send)
            await server.run(read, write, server.create_initialization_options())


def _tool(function: Callable[..., Any], title: str) -> Tool:
    """Return a tool that rejects unknown arguments, which the SDK would ignore."""
    tool = CheckedTool.from_function(function, title=title, annotations=READ_ONLY)
    arguments = tool.fn_metadata.arg_model
    arguments.model_config["extra"] = "forbid"
    arguments.model_rebuild(force=True)
    return tool.model_copy(update={"parameters": arguments.model_json_schema(by_alias=True)})


def serve_tools(folder: Path) -> None:
    """Serve a model folder on standard input and output until the client disconnects."""
    create_server(Retriever.load(folder)).run("stdio")
