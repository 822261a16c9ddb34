"""The HTTP server: search, health, what is served, and the page. Knows no model, only `Served`."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from time import perf_counter

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from genir import __version__
from genir.serving.guards import BodyLimit, WithHeaders
from genir.serving.messages import (
    Answer,
    Answers,
    Hits,
    ModelCard,
    SearchRequest,
    State,
)
from genir.serving.problems import RESPONSES, answer_problems
from genir.serving.service import Served, Service, describe

PAGE = Path(__file__).parent / "page"

router = APIRouter(responses=RESPONSES)


def create_app(retriever: Served | None = None, examples: Sequence[str] = ()) -> FastAPI:
    """Return the application.

    Without a retriever it answers 503 until `app.state.service.load(...)` has brought one.
    `examples` are the queries the page offers; by default they are sampled from the documents.
    """
    app = FastAPI(
        title="genir",
        summary="Generative retrieval: the model is the search engine.",
        version=__version__,
        docs_url=None,  # these two pages would load scripts from elsewhere
        redoc_url=None,
        lifespan=_lifespan,
    )
    app.state.service = Service(retriever)
    app.state.examples = tuple(examples)
    answer_problems(app)
    app.add_middleware(BodyLimit)
    app.add_middleware(WithHeaders)
    app.include_router(router)
    app.mount("/page", StaticFiles(directory=PAGE), name="page")
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    app.state.service.close()


@router.post("/search")
async def search(body: SearchRequest, request: Request) -> Answer | Answers:
    """Answer one query, or several, with hits: best first."""
    start = perf_counter()
    service: Service = request.app.state.service
    found = await service.ask(lambda retriever: retriever.search(body.texts(), body.k, body.where))
    took = round((perf_counter() - start) * 1000, 2)
    results = [Hits.of(hits) for hits in found]
    if body.queries is None:
        return Answer(hits=results[0].hits, took_ms=took)
    return Answers(results=results, took_ms=took)


@router.get("/model")
async def model(request: Request) -> ModelCard:
    """Say what is served: the model, its recipe and the size of its corpus."""
    state = request.app.state
    card: ModelCard = await state.service.ask(lambda served: describe(served, state.examples))
    return card


@router.get("/healthz")
async def healthz() -> State:
    """Say that the server lives."""
    return State(status="alive")


@router.get("/readyz")
async def readyz(request: Request) -> State:
    """Say that the model is loaded; 503 until then."""
    if not request.app.state.service.ready:
        raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, "the model is still loading")
    return State(status="ready")


@router.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
async def page() -> FileResponse:
    """Send the search page."""
    return FileResponse(PAGE / "index.html")
