"""How much one request may ask for, and which documents it is about. Raises what becomes a 4xx."""

from time import monotonic

from starlette.exceptions import HTTPException

from genir.records import Selection
from genir.serving.messages import SearchRequest
from genir.serving.settings import Settings
from genir.serving.tokens import Caller, check_condition


def refuse_search(body: SearchRequest, settings: Settings) -> None:
    """Raise HTTPException 422 for a search that asks for more than one request may."""
    if body.queries is not None:
        refuse("queries", len(body.queries), settings.max_queries, "queries")
    name = "query" if body.queries is None else "queries"
    refuse(name, max(map(len, body.texts())), settings.max_query, "characters")
    refuse("k", body.k, settings.max_k, "hits")
    refuse("beams", body.beams or 1, settings.max_beams, "beams")
    refuse("allow", len(body.allow or ()), settings.max_keys, "keys")
    refuse("deny", len(body.deny), settings.max_keys, "keys")
    for field, condition in (body.where or {}).items():
        check_condition(field, condition, "where")


def refuse_work(queries: int, k: int, beams: int, settings: Settings) -> None:
    """Raise HTTPException 422 for more queries x hits x beams than one request may ask for.

    beams: the width of the search, at least k.
    """
    work = queries * k * beams
    if work > settings.max_work:
        raise HTTPException(
            422,
            f"queries x k x beams: {queries:,} x {k:,} x {beams:,} is {work:,}; at most "
            f"{settings.max_work:,} a request: ask for fewer queries or hits at once",
        )


def refuse(name: str, given: int, most: int, what: str) -> None:
    """Raise HTTPException 422 where more is given than one request may hold."""
    if given > most:
        raise HTTPException(422, f"{name}: got {given} {what}; at most {most} {what} a request")


def within(asked: Selection, caller: Caller) -> Selection | None:
    """Return what is asked for, as far as the caller may find it; None for all documents."""
    selection = asked if caller.scope is None else caller.scope & asked
    empty = not (selection.where or selection.allow or selection.deny)
    return None if empty else selection


def version_for(caller: Caller, version: int) -> int | None:
    """Return the version of the documents, or None where it would count changes of others too."""
    return version if caller.scope is None else None


def deadline_of(given_ms: int | None, settings: Settings) -> float:
    """Return when an answer is late, by the monotonic clock."""
    return monotonic() + min(given_ms or settings.deadline_ms, settings.deadline_ms) / 1000
