"""JSON encoding of responses; large ones are encoded in a thread instead of the event loop."""

from collections.abc import Callable

from fastapi import Response
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

INLINE_ITEMS = 200
"""Maximum number of hits or nodes that are encoded on the event loop, in about 1 ms."""


async def encode(make: Callable[[], BaseModel], items: int) -> Response:
    """Return the response for the result of `make`, which has `items` hits or nodes."""

    def content() -> bytes:
        return make().model_dump_json().encode()

    found = content() if items <= INLINE_ITEMS else await run_in_threadpool(content)
    return Response(found, media_type="application/json")
