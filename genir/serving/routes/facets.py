"""Route that counts the values of metadata fields among the best hits of a query."""

from collections.abc import Sequence

import numpy as np
from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from genir.serving.authorization import Reader
from genir.serving.authorized_route import GuardedRoute
from genir.serving.errors import RESPONSES
from genir.serving.jobs import SearchJob
from genir.serving.model_info import field_cards_within
from genir.serving.protocols import SearchModel
from genir.serving.request_limits import (
    check_search,
    check_work,
    deadline_of,
    intersect_scope,
)
from genir.serving.routes.search import refuse_unknown_fields
from genir.serving.schemas import FieldCard, Message, QueryText, SearchRequest, Where
from genir.serving.service import Service
from genir.serving.token_scopes import visible

router = APIRouter(responses=RESPONSES, tags=["search"], route_class=GuardedRoute)


class FacetsRequest(Message):
    """Body of `POST /v1/facets`."""

    query: QueryText
    where: Where | None = Field(default=None, description="filter, as for /v1/search")
    hits: int = Field(
        default=100, ge=1, strict=True, description="number of best hits in which values count"
    )


class Facets(BaseModel):
    """Values of metadata fields among the best hits of a query."""

    total: int = Field(description="number of documents that pass the filter")
    fields: list[FieldCard] = Field(
        description="fields of the best hits; those of a filtered field are counted without its "
        "own condition, so that its other values can be chosen"
    )


@router.post("/facets")
async def facets(body: FacetsRequest, request: Request, caller: Reader) -> Facets:
    """Count the values of metadata fields among the best hits of a query."""
    service: Service = request.app.state.service
    where = body.where or {}
    without = [{key: where[key] for key in where if key != field} for field in where]
    asked = [
        SearchRequest(query=body.query, k=body.hits, where=one or None) for one in (where, *without)
    ]
    for one in asked:
        check_search(one, service.settings)
    width = service.served.beam_width(body.hits, None)
    check_work(len(asked), body.hits, width, service.settings)
    request.state.facts |= {"queries": len(asked), "k": body.hits}
    deadline = deadline_of(None, service.settings)
    await refuse_unknown_fields(service, body.where, caller, deadline)
    scopes = [intersect_scope(one.selection, caller) for one in asked]
    jobs = [SearchJob(body.query, body.hits, scope) for scope in scopes]
    found = await service.search(jobs, deadline)
    keys = [one.rendered.keys for one in found]

    def count(served: SearchModel) -> Facets:
        cards = [_cards(served, own) for own in keys]
        own = {field: card.get(field) for field, card in zip(where, cards[1:], strict=True)}
        fields = (cards[0] | own).values()
        total = int(visible(served, scopes[0]).sum())
        return Facets(total=total, fields=[card for card in fields if card is not None])

    answer, _ = await service.look_up(("facets", *(job.name for job in jobs)), count, deadline)
    return answer


def _cards(served: SearchModel, keys: Sequence[str]) -> dict[str, FieldCard]:
    """Return the fields of documents by name; deleted documents are left out."""
    table = served.table
    numbers = [table.number(key) for key in keys if table.is_live(key)]
    cards = field_cards_within(served, np.array(numbers, dtype=np.int64))
    return {card.name: card for card in cards}
