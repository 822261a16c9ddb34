"""Limits on the size of requests, and the documents that a request may search."""

from time import monotonic

from starlette.exceptions import HTTPException

from genir.serving.schemas import SearchRequest
from genir.serving.settings import Settings
from genir.serving.tokens import Principal, check_condition
from genir.types import Selection


def check_search(body: SearchRequest, settings: Settings) -> None:
    """Raise HTTPException 422 for a search that exceeds a limit of the settings."""
    if body.queries is not None:
        require_at_most("queries", len(body.queries), settings.max_queries, "queries")
    name = "query" if body.queries is None else "queries"
    require_at_most(name, max(map(len, body.texts())), settings.max_query, "characters")
    require_at_most("k", body.k, settings.max_k, "hits")
    require_at_most("beams", body.beams or 1, settings.max_beams, "beams")
    require_at_most("allow", len(body.allow or ()), settings.max_keys, "keys")
    require_at_most("deny", len(body.deny), settings.max_keys, "keys")
    for field, condition in (body.where or {}).items():
        check_condition(field, condition, "where")


def check_work(queries: int, k: int, beams: int, settings: Settings) -> None:
    """Raise HTTPException 422 if queries x k x beams exceeds `--max-work`."""
    work = queries * k * beams
    if work > settings.max_work:
        raise HTTPException(
            422,
            f"queries x k x beams: {queries:,} x {k:,} x {beams:,} is {work:,}; at most "
            f"{settings.max_work:,} a request: ask for fewer queries or hits at once",
        )


def require_at_most(name: str, given: int, maximum: int, unit: str) -> None:
    """Raise HTTPException 422 if `given` exceeds `maximum`."""
    if given > maximum:
        raise HTTPException(422, f"{name}: got {given} {unit}; at most {maximum} {unit} a request")


def intersect_scope(asked: Selection, caller: Principal) -> Selection | None:
    """Return the requested documents restricted to the caller's scope; None for all documents."""
    selection = asked if caller.scope is None else caller.scope & asked
    empty = not (selection.where or selection.allow or selection.deny)
    return None if empty else selection


def version_for(caller: Principal, version: int) -> int | None:
    """Return the version of the documents; None for a scoped caller, as it counts all changes."""
    return version if caller.scope is None else None


def deadline_of(given_ms: int | None, settings: Settings) -> float:
    """Return the deadline of a request that arrives now, in seconds of the monotonic clock."""
    return monotonic() + min(given_ms or settings.deadline_ms, settings.deadline_ms) / 1000
