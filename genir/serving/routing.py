"""Routes that decide who asks before they read a body, and read it within limits."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from genir.serving.access import GUARDS
from genir.serving.bodies import Bodies, Refused
from genir.serving.encodings import SAFE

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class GuardedRoute(APIRoute):
    """A route of FastAPI, which by itself parses the body before it asks who sends it."""

    def get_route_handler(self) -> Handler:
        """Return the handler: who asks, then the body, then everything else."""
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
    """Return the model of the body that a route takes."""
    return getattr(getattr(route.body_field, "field_info", None), "annotation", None)
