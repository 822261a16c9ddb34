"""The FastAPI application: routes, middleware and the search page."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import HTMLResponse
from starlette.middleware.cors import CORSMiddleware

from genir import __version__
from genir.arguments import as_texts
from genir.serving.api_docs import render
from genir.serving.authorization import Authorizer
from genir.serving.client_disconnect import CancelOnDisconnect
from genir.serving.errors import add_error_handlers
from genir.serving.middleware import SecurityHeaders, TrustedHost
from genir.serving.model_checks import ModelChecker
from genir.serving.protocols import Opener, SearchModel
from genir.serving.request_bodies import BodyReader
from genir.serving.request_encoding import Utf8Addresses
from genir.serving.request_log import RequestLog
from genir.serving.routes import document_pages, documents, facets, search
from genir.serving.search_page import add_page
from genir.serving.service import Service, open_folder
from genir.serving.settings import Settings
from genir.serving.trusted_proxies import TrustedProxies

VERSION = "/v1"
UNVERSIONED = ("/search", "/explain", "/model", "/documents", "/healthz", "/readyz", "/metrics")
"""Paths that also work without the version prefix, for old clients."""


def create_app(
    retriever: SearchModel | None = None,
    examples: str | Sequence[str] = (),
    settings: Settings | None = None,
    loopback: bool = False,
    load_folder: Opener = open_folder,
    checker: ModelChecker | None = None,
) -> FastAPI:
    """Return the application.

    Args:
        retriever: The model. Without one, requests get a 503 until `app.state.service.load(...)`.
        examples: Example queries on the page; sampled from the documents if empty.
        settings: Limits and other settings.
        loopback: Whether only this machine can reach the server, so that changes need no token.
        load_folder: Loads a model folder.
        checker: Checks model folders before they are swapped in; by default no check.

    Raises:
        InputError: The token file or the logo is invalid, or writes are enabled without protection.
    """
    settings = settings or Settings()
    app = FastAPI(
        title="genir",
        summary="Generative retrieval: the model is the search engine.",
        version=__version__,
        openapi_url=None,  # FastAPI's route would serialize the schema for each request
        docs_url=None,  # these two pages load scripts from a CDN; `docs` does not
        redoc_url=None,
        redirect_slashes=False,  # a redirect would contain the unchecked Host header
        lifespan=_lifespan,
    )
    app.state.settings = settings
    app.state.gate = Authorizer(settings, loopback)
    app.state.bodies = BodyReader(settings)
    app.state.service = Service(retriever, settings, load_folder=load_folder, checker=checker)
    app.state.examples = tuple(as_texts(examples, "examples"))
    add_error_handlers(app)
    _surround(app, settings)
    app.include_router(document_pages.router)  # before the routes of the same path
    for router in (search.router, facets.router, documents.router):
        app.include_router(router, prefix=VERSION)
        app.include_router(_unversioned(router), deprecated=True)
    app.add_api_route("/openapi.json", openapi, methods=["GET", "HEAD"], include_in_schema=False)
    app.add_api_route("/docs", docs, methods=["GET", "HEAD"], include_in_schema=False)
    add_page(app, settings)
    return app


def _surround(app: FastAPI, settings: Settings) -> None:
    """Add the middleware, innermost first."""
    app.add_middleware(CancelOnDisconnect)
    app.add_middleware(Utf8Addresses)
    if settings.cors:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "X-Request-ID"],
            expose_headers=["X-Request-ID", "Retry-After"],
        )
    app.add_middleware(TrustedHost, hosts=settings.hosts, origins=settings.cors)
    app.add_middleware(RequestLog, service=app.state.service)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(TrustedProxies, proxies=settings.trusted_proxies)


def _unversioned(router: APIRouter) -> APIRouter:
    """Return the routes that also exist without the version prefix."""
    kept = APIRouter()
    kept.routes = [route for route in router.routes if route.path.startswith(UNVERSIONED)]  # type: ignore[attr-defined]
    return kept


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.service.watch()
    yield
    app.state.service.close()


async def openapi(request: Request) -> Response:
    """Return the OpenAPI schema."""
    state = request.app.state
    if not hasattr(state, "openapi"):
        state.openapi = json.dumps(request.app.openapi(), separators=(",", ":")).encode()
    return Response(state.openapi, media_type="application/json")


async def docs(request: Request) -> Response:
    """Return the API documentation."""
    state = request.app.state
    if not hasattr(state, "docs"):
        state.docs = render(request.app.openapi())
    return HTMLResponse(state.docs)
