"""Read-only routes: search, explain, model card, health and metrics."""

import json
from http import HTTPStatus
from time import perf_counter
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request, Response
from pydantic import TypeAdapter, ValidationError
from starlette.exceptions import HTTPException

from genir.corpus.metadata_filters import COLUMNS
from genir.errors import did_you_mean
from genir.json_parser import JsonError, parse_json
from genir.serving.authorization import Anyone, Authorizer, Reader, UnscopedAdmin
from genir.serving.authorized_route import GuardedRoute
from genir.serving.errors import RESPONSES
from genir.serving.jobs import Probabilities, SearchJob
from genir.serving.json_response import encode
from genir.serving.metrics import CONTENT_TYPE
from genir.serving.model_info import field_cards, field_cards_within, sample_examples
from genir.serving.protocols import SearchModel
from genir.serving.rendered_hits import RenderedHits
from genir.serving.request_limits import (
    check_search,
    check_work,
    deadline_of,
    intersect_scope,
    version_for,
)
from genir.serving.schemas import (
    Answer,
    Answers,
    ModelCard,
    QueryText,
    SearchRequest,
    State,
    TreeMessage,
    Where,
)
from genir.serving.service import Service
from genir.serving.token_scopes import known_fields, visible
from genir.serving.tokens import Principal
from genir.types import Selection

router = APIRouter(responses=RESPONSES, tags=["search"], route_class=GuardedRoute)
JSON = "application/json"


@router.post("/search", response_model=Answer | Answers)
async def search(body: SearchRequest, request: Request, caller: Reader) -> Response:
    """Return the hits of one or several queries, best first."""
    start, service = perf_counter(), _service(request)
    facts: dict[str, Any]
    parts: list[tuple[RenderedHits, Probabilities]]
    check_search(body, service.settings)
    width = body.k if body.system == "bm25" else service.served.beam_width(body.k, body.beams)
    check_work(len(body.texts()), body.k, width, service.settings)
    deadline = deadline_of(body.deadline_ms, service.settings)
    _note(request, body)
    await refuse_unknown_fields(service, body.where, caller, deadline)
    selection = intersect_scope(body.selection, caller)
    asks = [SearchJob(text, body.k, selection, body.beams, body.exact) for text in body.texts()]
    if body.system == "bm25":
        if not service.settings.compare:
            raise HTTPException(422, "system: bm25 is disabled on this server; use genir")
        compared = await service.compare(asks, deadline, caller.scope)
        spent = (perf_counter() - start) * 1000 - compared.index_ms
        facts = {
            "index_ms": round(compared.index_ms, 2),
            "version": version_for(caller, compared.version),
        }
        parts = [(shown, Probabilities()) for shown in compared.hits]
    else:
        found = await service.search(asks, deadline, body.fresh)
        spent = (perf_counter() - start) * 1000
        facts = {"version": version_for(caller, min(one.state[1] for one in found))}
        known = [Probabilities()] * len(asks)
        if body.shares:
            known = await service.probabilities(asks, found, deadline)
        if caller.scope is not None:  # its word statistics are those of all documents
            known = [own._replace(confidence=None) for own in known]
        parts = [(one.rendered, own) for one, own in zip(found, known, strict=True)]
    facts = {"index_ms": None, "took_ms": round(spent, 2)} | facts
    return Response(_encoded(parts, facts, alone=body.queries is None), media_type=JSON)


def _encoded(
    parts: list[tuple[RenderedHits, Probabilities]], facts: dict[str, Any], alone: bool
) -> bytes:
    """Return the response body, from hits that are already encoded."""
    rest = json.dumps(facts).encode()[1:]
    results = [
        b'{"hits":%b,%b'
        % (shown.json, json.dumps({"proven": shown.proven, **own._asdict()}).encode()[1:])
        for shown, own in parts
    ]
    if alone:
        return results[0][:-1] + b"," + rest
    return b'{"results":[%b],%b' % (b",".join(results), rest)


PARAMETERS = ("beams", "k", "query", "where")
"""Query parameters of `explain`."""


@router.get("/explain", response_model=TreeMessage)
async def explain(
    request: Request,
    caller: Reader,
    query: Annotated[QueryText, Query(max_length=2_000, description="query")],
    k: Annotated[int, Query(ge=1, description="number of hits to explain")] = 10,
    beams: Annotated[int | None, Query(ge=1, description="beam width")] = None,
    where: Annotated[str | None, Query(max_length=3_000, description="filter as JSON")] = None,
) -> Response:
    """Return the beam tree of a query, level by level, with the paths to the hits."""
    start, service = perf_counter(), _service(request)
    _refuse_parameters(request)
    body = SearchRequest(query=query, k=k, beams=beams, where=_filter(where))
    check_search(body, service.settings)
    check_work(1, k, service.served.beam_width(k, beams), service.settings)
    deadline = deadline_of(None, service.settings)
    _note(request, body)
    await refuse_unknown_fields(service, body.where, caller, deadline)
    selection = intersect_scope(body.selection, caller)

    def ask(served: SearchModel) -> tuple[Any, int]:
        from genir.evaluation.beam_tree import beam_tree  # imports torch

        return beam_tree(served, query, k, beams, selection), served.version  # type: ignore[arg-type]

    tree, version = await service.ask(ask, deadline)
    fields = {name: getattr(tree, name) for name in ("query", "beams", "levels", "nodes", "hits")}
    fields |= {"took_ms": round((perf_counter() - start) * 1000, 2)}
    fields |= {"version": version_for(caller, version)}

    def make() -> TreeMessage:
        return TreeMessage.model_validate(fields, from_attributes=True)

    return await encode(make, len(tree.nodes))


@router.get("/model")
async def model(request: Request, caller: Anyone) -> ModelCard:
    """Return the model card: the model, fields for filters, and the caller's rights."""
    service, gate = _service(request), _gate(request)
    served, scope = service.served, caller.scope
    recipe = served.recipe
    facts: dict[str, Any] = {}
    if caller.role is not None:
        own = tuple(request.app.state.examples)

        def ask(served: SearchModel) -> dict[str, Any]:
            return _facts(served, scope, own)

        name = ("card", None if scope is None else scope.name)
        facts, (_, version) = await service.look_up(name, ask, deadline_of(None, service.settings))
        facts = facts | {"version": version_for(caller, version)}
    access = gate.access_facts(caller, request)
    return ModelCard(
        name=served.folder.name if served.folder else recipe.name,
        recipe=recipe.name,
        description=recipe.description,
        scheme=recipe.identifiers.scheme,
        kind=recipe.model.kind,
        beams=recipe.decoding.beams,
        explains=served.capabilities.trace,
        additions=access.writes_with_token and not served.insert_unsupported_reason,
        systems=["genir", "bm25"] if service.settings.compare else ["genir"],
        access=access,
        **facts,
    )


def _facts(
    served: SearchModel, scope: Selection | None, examples: tuple[str, ...]
) -> dict[str, Any]:
    """Return the model card's facts about the documents that a caller may find."""
    numbers, table = np.flatnonzero(visible(served, scope)), served.table
    of_all = field_cards if scope is None else field_cards_within
    return {
        "documents": len(numbers),
        "identifiers": int((table.live & np.isin(table.documents, numbers)).sum()),
        "fields": of_all(served, numbers),
        "examples": list(examples) or sample_examples(served.documents, numbers.tolist()),
    }


@router.get("/healthz")
async def healthz() -> State:
    """Liveness: 200 while the server runs."""
    return State(status="alive")


@router.get("/readyz")
async def readyz(request: Request) -> State:
    """Readiness: 200 while the model is loaded and requests are accepted; 503 after SIGTERM."""
    service = _service(request)
    if service.draining:
        raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, "the server is shutting down")
    if not service.ready:
        raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, "the model is still loading")
    return State(status="ready")


@router.get("/metrics", response_class=Response)
async def metrics(request: Request, caller: UnscopedAdmin) -> Response:
    """Return the metrics of all callers in the text format of Prometheus."""
    return Response(_service(request).metrics.exposition(), media_type=CONTENT_TYPE)


def _service(request: Request) -> Service:
    return request.app.state.service


def _gate(request: Request) -> Authorizer:
    return request.app.state.gate


def _note(request: Request, body: SearchRequest) -> None:
    """Add a search to the request's log entry; its queries only with `--log-queries`."""
    facts = request.state.facts
    facts |= {"queries": len(body.texts()), "k": body.k, "system": body.system}
    if _service(request).settings.log_queries:
        facts["asked"] = body.texts()


async def refuse_unknown_fields(
    service: Service, where: dict[str, Any] | None, caller: Principal, deadline: float
) -> None:
    """Raise HTTPException 422 for a metadata field that no document of the caller has."""
    scope, asked = caller.scope, sorted({*(where or ())}.difference(COLUMNS))
    if not asked:
        return

    def fields(served: SearchModel) -> list[str]:
        if scope is not None:
            return known_fields(served, asked, scope)
        return list(served.documents.metadata_fields())

    name = "fields" if scope is None else ("fields", scope.name, *asked)
    known, _ = await service.look_up(name, fields, deadline)
    field = next((one for one in asked if one not in known), None)
    if field is None:
        return
    if scope is not None:  # do not reveal fields of documents outside the scope
        raise HTTPException(422, f"where: unknown metadata field {field!r:.200}")

    def reason(served: SearchModel) -> str:
        return served.documents.unknown_field(field, known)

    detail, _ = await service.look_up(("unknown field", field), reason, deadline)
    raise HTTPException(422, f"where: {detail}")


def _refuse_parameters(request: Request) -> None:
    """Raise HTTPException 422 for query parameters that FastAPI would ignore or misread.

    These are unknown and repeated parameters, and numbers like 1_0.
    """
    given = [name for name, _ in request.query_params.multi_items()]
    unknown = next((name for name in given if name not in PARAMETERS), None)
    if unknown is not None:
        raise HTTPException(
            422, f"unknown parameter {unknown!r:.60}{did_you_mean(unknown, PARAMETERS)}"
        )
    for name in ("k", "beams"):
        number = request.query_params.get(name, "1")
        if not (number.isascii() and number.isdigit()):
            raise HTTPException(
                422, f"{name}: {number!r:.60} is not a whole number; write it in digits"
            )
    twice = next((name for name in given if given.count(name) > 1), None)
    if twice is not None:
        raise HTTPException(422, f"{twice}: is given twice; keep one")


_WHERE: TypeAdapter[dict[str, Any] | None] = TypeAdapter(Where | None)


def _filter(text: str | None) -> dict[str, Any] | None:
    """Read a filter from a URL. Raises HTTPException 422."""
    if not text:
        return None
    try:
        return _WHERE.validate_python(parse_json(text))
    except ValidationError as error:
        raise HTTPException(422, f"where: {error.errors()[0]['msg']}") from None
    except JsonError as error:
        raise HTTPException(422, f'where: {error}, for example {{"lang": "en"}}') from None
