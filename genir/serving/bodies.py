"""Bodies of requests as JSON, read strictly and once."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.routing import APIRoute

from genir.json_text import JsonError, parse_json


class JsonRequest(Request):
    """A request whose body is read by `parse_json`."""

    async def json(self) -> Any:
        """Return the body's value. Raises HTTPException 400 for no JSON, 422 for a field twice."""
        try:
            return parse_json((await self.body()).decode("utf-8-sig"))
        except JsonError as error:
            # A field that is given twice has no place: it is JSON, but nobody knows which counts.
            detail = f"the body is not valid JSON: {error}" if error.place else f"the body: {error}"
            raise HTTPException(400 if error.place else 422, detail) from None


class JsonRoute(APIRoute):
    """A route that reads its body so."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request."""
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            return await handle(JsonRequest(request.scope, request.receive))

        return answer
