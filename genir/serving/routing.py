"""Routes that authorize a request before they read its body, and limit the body."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from genir.serving.access import GUARDS
from genir.serving.bodies import Bodies, Refused
from genir.serving.encodings import SAFE

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class GuardedRoute(APIRoute):
    """FastAPI route that authorizes first; FastAPI itself would parse the body first."""

    def get_route_handler(self) -> Handler:
        """Return the handler: authorization, then the body, then the endpoint."""
        answer = super().get_route_handler()
        guards = [one.call for one in self.dependant.dependencies if one.call in GUARDS]
        large = getattr(_message(self), "large", False)

        async def handle(request: Request) -> Response:
            for guard in guards:
                await guard(request)
            if request.method in SAFE:
                return await answer(request)
            bodies: Bodies = request.app.state.bodies
            try:
                async with bodies.reading(request, large) as read:
                    return await answer(read)
            except Refused as refused:
                return refused.response

        return handle


def _message(route: APIRoute) -> Any:
    """Return the Pydantic model of the route's body, or None."""
    return getattr(getattr(route.body_field, "field_info", None), "annotation", None)
