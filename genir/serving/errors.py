"""Error responses: `application/problem+json` (RFC 9457) with one message, never a traceback."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from genir.corpus.json_lines import shorten
from genir.errors import FolderError, InputError
from genir.process_memory import is_out_of_memory
from genir.serving.batching import QueueFull, ShuttingDown
from genir.serving.service import NotReady
from genir.serving.update_worker import DeadlineExceeded
from genir.serving.validation_messages import describe_error

MEDIA_TYPE = "application/problem+json"
MAX_DETAIL = 4_000
"""Maximum length of an error message in characters; some quote their input and known names."""
RETRY_AFTER = {"Retry-After": "1"}
UNREADABLE_FOLDER = "the model folder cannot be read or written; the server's log says why"
"""Message for scoped tokens, since the error itself may name documents outside the scope."""
log = logging.getLogger("genir.serving")


BODY_TYPE_ERRORS = ("missing", "model_attributes_type", "model_type", "dict_type")
"""Types of Pydantic's errors for a value that is not an object."""


class Problem(BaseModel):
    """An error response as in RFC 9457."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str


RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {
        "description": description,
        "content": {MEDIA_TYPE: {"schema": Problem.model_json_schema()}},
    }
    for status, description in {
        "4XX": "The request cannot be answered; `detail` says why and how to fix it.",
        "503": "Temporary: the model is loading, the queue is full, or the model folder fails.",
        "504": "The deadline has passed.",
    }.items()
}
"""Error responses in the OpenAPI schema."""

TRANSIENT: dict[type[Exception], tuple[int, str]] = {
    NotReady: (503, "the model is still loading; retry later"),
    QueueFull: (503, "too many requests are waiting; retry later"),
    ShuttingDown: (503, "the server is shutting down; retry later or use another server"),
    DeadlineExceeded: (504, "the deadline passed before the change started; nothing has changed"),
    MemoryError: (503, "not enough memory for this request; send a smaller one or retry later"),
    TimeoutError: (504, "the deadline passed before the answer was ready; retry with a longer one"),
}
"""Transient errors with status and message: retry later."""


def add_error_handlers(app: FastAPI) -> None:
    """Register handlers for every expected error; `request_log` answers unexpected ones."""
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(InputError, _bad_input)
    for kind in TRANSIENT:
        app.add_exception_handler(kind, _transient)


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return an error response."""
    detail = printable(detail if len(detail) <= MAX_DETAIL else f"{detail[: MAX_DETAIL - 1]}…")
    content = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail)
    return JSONResponse(content.model_dump(), status, headers, media_type=MEDIA_TYPE)


def internal_error(error: Exception) -> JSONResponse:
    """Return the response to an unexpected error: 503 if out of memory, else 500, no details."""
    if is_out_of_memory(error):
        return problem(*TRANSIENT[MemoryError], RETRY_AFTER)
    return problem(500, "the server failed on this request; see the server's log")


def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, MemoryError):  # FastAPI reports it as an unreadable body
        return _transient(request, error.__cause__)
    return problem(error.status_code, error.detail, error.headers)


def _transient(request: Request, error: Exception) -> JSONResponse:
    kind = next(kind for kind in TRANSIENT if isinstance(error, kind))
    return problem(*TRANSIENT[kind], RETRY_AFTER)


def _bad_input(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, FolderError):
        if not getattr(request.state, "scoped", False):
            return problem(503, str(error), RETRY_AFTER)
        log.error("the model folder fails: %s", error)
        return problem(503, UNREADABLE_FOLDER, RETRY_AFTER)
    return problem(422, str(error))


def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    untyped = "json" not in request.headers.get("content-type", "")
    if first["loc"] == ("body",) and (untyped or isinstance(first["input"], bytes)):
        detail = "send a JSON object, with the header 'Content-Type: application/json'"
        return problem(415, detail)
    if first["type"] in BODY_TYPE_ERRORS and len(first["loc"]) == 1:
        given = "empty or null" if first["input"] is None else shorten(first["input"])
        return problem(422, f"the body is {given}; send a JSON object")
    return problem(422, describe_error(first, first["loc"][1:], _fields(request)))


def _fields(request: Request) -> list[str]:
    """Return the fields of the body that the route takes."""
    body = getattr(request.scope.get("route"), "body_field", None)
    message = getattr(getattr(body, "field_info", None), "annotation", None)
    return [*getattr(message, "model_fields", {})]


def printable(text: str) -> str:
    """Escape unpaired surrogates, which UTF-8 cannot encode."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
