"""Request ids, request log and request metrics; also answers unexpected errors."""

import asyncio
import logging
import re
from time import perf_counter
from typing import Any
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from genir.serving.errors import RETRY_AFTER, internal_error, problem
from genir.serving.metrics import Metrics
from genir.serving.request_encoding import SAFE
from genir.serving.service import Service

log = logging.getLogger("genir.serving")
REQUEST_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)
"""Request ids that are accepted from clients."""
SHUTTING_DOWN = "the server is shutting down; retry later or use another server"
OUTCOME_UNKNOWN = "a change that had started may still be applied: check before sending it again"
PROBE_PATHS = ("/healthz", "/readyz", "/metrics")


class RequestLog:
    """ASGI middleware that logs and measures every request, and rejects new ones at shutdown."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self.app = app
        self._service = service
        self._metrics: Metrics = service.metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and record its outcome."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        await _Request(self.app, self._service).answer(scope, receive, send)


class _Request:
    def __init__(self, app: ASGIApp, service: Service) -> None:
        self.app, self.service = app, service
        self.start, self.status = perf_counter(), 0
        self.id = ""
        self.facts: dict[str, Any] = {}

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = Headers(scope=scope).get("x-request-id", "")
        self.id = given if REQUEST_ID.fullmatch(given) else uuid4().hex
        scope.setdefault("state", {})["facts"] = self.facts

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = self.id
                if self.service.draining:
                    headers["Connection"] = "close"
            await send(message)

        task = asyncio.current_task()
        assert task is not None
        whole = False

        async def noting_body() -> Message:
            nonlocal whole
            if not whole:
                self.service.note_body(task, False)
            message = await receive()
            whole = whole or not message.get("more_body", False)
            self.service.note_body(task, whole)
            return message

        self.service.begin(task)
        try:
            await self._forward(scope, noting_body, noting)
        finally:
            self.service.end(task)
            self._note(scope)

    async def _forward(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.service.refuses and not scope["path"].endswith(PROBE_PATHS):
            await problem(503, SHUTTING_DOWN, RETRY_AFTER)(scope, receive, send)
            return
        try:
            await self.app(scope, receive, send)
        except asyncio.CancelledError:
            if self.status or not self.service.draining:
                raise
            detail = (
                SHUTTING_DOWN if scope["method"] in SAFE else f"{SHUTTING_DOWN}; {OUTCOME_UNKNOWN}"
            )
            await problem(503, detail, RETRY_AFTER)(scope, receive, send)
        except Exception as error:  # unexpected: expected errors have handlers (`serving.errors`)
            log.exception("unhandled exception", extra={"request": self.id})
            if self.status:
                raise  # the response has started: close the connection
            await internal_error(error)(scope, receive, send)

    def _note(self, scope: Scope) -> None:
        route = _route(scope)
        took, metrics = perf_counter() - self.start, self.service.metrics
        metrics.seconds.labels(route, _method(scope)).observe(took)
        metrics.requests.labels(route, _method(scope), str(self.status)).inc()
        level = logging.DEBUG if scope["path"].endswith(PROBE_PATHS) else logging.INFO
        if log.isEnabledFor(level):
            facts = {
                "request": self.id,
                "method": scope["method"],
                "route": route,
                "status": self.status,
                "ms": round(took * 1000, 2),
                "client": (scope.get("client") or ("",))[0],
            }
            log.log(level, "request", extra=facts | self.facts)


def _route(scope: Scope) -> str:
    """Return the path of the route, not of the request, to limit the number of metric labels."""
    path = getattr(scope.get("route"), "path", None)
    if path is None:
        return "other"
    versioned = scope["path"].startswith("/v1/") and not path.startswith("/v1/")
    return f"/v1{path}" if versioned else path


def _method(scope: Scope) -> str:
    """Return the HTTP method, or "other": clients may send any word."""
    method = scope["method"]
    return method if method in ("GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT") else "other"
