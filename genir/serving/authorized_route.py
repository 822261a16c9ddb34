"""Routes that authorize a request before they read its body, and limit the body."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from genir.serving.authorization import AUTH_DEPENDENCIES
from genir.serving.request_bodies import BodyReader, BodyRefused
from genir.serving.request_encoding import SAFE

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class GuardedRoute(APIRoute):
    """FastAPI route that authorizes first; FastAPI itself would parse the body first."""

    def get_route_handler(self) -> Handler:
        """Return the handler: authorization, then the body, then the endpoint."""
        answer = super().get_route_handler()
        guards = [one.call for one in self.dependant.dependencies if one.call in AUTH_DEPENDENCIES]
        large = getattr(_message(self), "large", False)

        async def handle(request: Request) -> Response:
            for guard in guards:
                await guard(request)
            if request.method in SAFE:
                return await answer(request)
            bodies: BodyReader = request.app.state.bodies
            try:
                async with bodies.read(request, large) as read:
                    return await answer(read)
            except BodyRefused as refused:
                return refused.response

        return handle


def _message(route: APIRoute) -> Any:
    """Return the Pydantic model of the route's body, or None."""
    return getattr(getattr(route.body_field, "field_info", None), "annotation", None)
