"""Answers as JSON; large ones are validated and encoded in a thread, not on the event loop."""

from collections.abc import Callable

from fastapi import Response
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

INLINE_ITEMS = 200
"""Hits or nodes up to which an answer is encoded on the event loop, in about a millisecond."""


async def encode(make: Callable[[], BaseModel], items: int) -> Response:
    """Return the answer that `make` makes of that many hits or nodes."""

    def content() -> bytes:
        return make().model_dump_json().encode()

    found = content() if items <= INLINE_ITEMS else await run_in_threadpool(content)
    return Response(found, media_type="application/json")
