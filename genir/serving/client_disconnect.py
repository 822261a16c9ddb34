"""Cancel a request when its client disconnects."""

import asyncio
from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from genir.serving.request_encoding import SAFE


class CancelOnDisconnect:
    """ASGI middleware that cancels a request when its connection is closed.

    Watching starts after the complete body was read, or at once for methods without a body: the
    next message is then a disconnect. Changes to documents shield themselves and run to the end.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and cancel it if the client leaves first."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        whole = asyncio.Event()
        if scope["method"] in SAFE:
            whole.set()

        async def noting() -> Message:
            message = await receive()
            if message["type"] != "http.request" or not message.get("more_body", False):
                whole.set()
            return message

        async def gone() -> None:
            await whole.wait()
            while (await receive())["type"] != "http.disconnect":
                pass

        answering = asyncio.ensure_future(self.app(scope, noting, send))
        watching = asyncio.ensure_future(gone())
        try:
            await asyncio.wait((answering, watching), return_when=asyncio.FIRST_COMPLETED)
            if answering.done():
                await answering
                return
            answering.cancel()
            with suppress(asyncio.CancelledError):
                await answering
        finally:
            answering.cancel()
            watching.cancel()
