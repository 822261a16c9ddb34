"""Stop answering a request when its client has gone."""

import asyncio
from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from genir.serving.encodings import SAFE


class StopWithClient:
    """Cancel the application's work on a request once the connection is closed.

    The body must have been read whole, or not be looked at: what comes after it says that the
    client has gone. Work that must be finished shields itself, as changes do.
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
