"""The page of a document for browsers; other clients get its record at the same address."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import Scope

from genir.serving.authorization import Anyone
from genir.serving.authorized_route import GuardedRoute
from genir.serving.document_page import document_page, message_page, root_of
from genir.serving.routes.documents import KeyInPath, find_document

VARY = {"Vary": "Accept, Authorization"}


class BrowserRoute(GuardedRoute):
    """Route for requests that accept HTML, as those of browsers do."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Return no match for requests that do not name text/html in Accept."""
        found, child = super().matches(scope)
        accepted = b",".join(value for name, value in scope["headers"] if name == b"accept")
        if found is Match.FULL and b"text/html" not in accepted.lower():
            return Match.NONE, {}
        return found, child


router = APIRouter(route_class=BrowserRoute)


@router.get("/documents/{key:path}", include_in_schema=False)
async def page(key: KeyInPath, request: Request, caller: Anyone) -> HTMLResponse:
    """Return the page of a document that the caller may find."""
    root = root_of(request.scope.get("raw_path") or request.scope["path"].encode())
    if caller.role is None:
        text = "This server is private. Enter a token to open the document."
        return _answer(message_page("Token needed", text, root, asks_token=True), 401)
    try:
        record, url = await find_document(key, request, caller)
    except HTTPException as error:
        return _answer(message_page("Not found", str(error.detail), root), error.status_code)
    return _answer(document_page(record, url, root))


def _answer(content: str, status: int = 200) -> HTMLResponse:
    return HTMLResponse(content, status, VARY)
