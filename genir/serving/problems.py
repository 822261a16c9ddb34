"""Every refusal as one clear message: `application/problem+json` (RFC 9457), never a traceback."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from genir.corpus.lines import shorten
from genir.errors import FolderError, InputError
from genir.memory import is_out_of_memory
from genir.serving.batching import Busy, Closed
from genir.serving.complaints import complaint
from genir.serving.service import NotReady
from genir.serving.writer import Late

MEDIA_TYPE = "application/problem+json"
MAX_DETAIL = 4_000
"""Characters of a refusal's detail: some name what they were given, and what is known."""
AGAIN = {"Retry-After": "1"}
FAILING = "the model folder cannot be read or written; the server's log says why"
"""Detail for scoped tokens: the error itself may name documents of others."""
log = logging.getLogger("genir.serving")


NO_OBJECT = ("missing", "model_attributes_type", "model_type", "dict_type")
"""Pydantic's errors for a value that is no object."""


class Problem(BaseModel):
    """A refusal, as RFC 9457 has it."""

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
        "4XX": "The request cannot be answered; `detail` says why and how to mend it.",
        "503": "Not now: the model is loading, too much waits, or the folder fails.",
        "504": "The deadline passed first.",
    }.items()
}
"""What the OpenAPI page says of refusals."""

PASSING: dict[type[Exception], tuple[int, str]] = {
    NotReady: (503, "the model is still loading; ask again in a moment"),
    Busy: (503, "too many requests wait already; ask again in a moment"),
    Closed: (503, "the server is leaving; ask another, or again in a moment"),
    Late: (504, "the deadline passed before the change was begun; nothing has changed"),
    MemoryError: (503, "not enough memory for this request now; ask for less, or again later"),
    TimeoutError: (504, "the deadline passed before there was an answer"),
}
"""What goes by itself."""


def answer_problems(app: FastAPI) -> None:
    """Make `app` answer every error as a problem; what is left is a bug (`observing`)."""
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(InputError, _bad_input)
    for kind in PASSING:
        app.add_exception_handler(kind, _passing)


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return a refusal."""
    detail = printable(detail if len(detail) <= MAX_DETAIL else f"{detail[: MAX_DETAIL - 1]}…")
    told = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail)
    return JSONResponse(told.model_dump(), status, headers, media_type=MEDIA_TYPE)


def failed(error: Exception) -> JSONResponse:
    """Return what a bug is answered with: nothing of the inside; the server's log has the rest.

    Too little memory is no bug: 503.
    """
    if is_out_of_memory(error):
        return problem(*PASSING[MemoryError], AGAIN)
    return problem(500, "the server failed on this request; its log says why")


def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, MemoryError):  # FastAPI takes it for an unreadable body
        return _passing(request, error.__cause__)
    return problem(error.status_code, error.detail, error.headers)


def _passing(request: Request, error: Exception) -> JSONResponse:
    kind = next(kind for kind in PASSING if isinstance(error, kind))
    return problem(*PASSING[kind], AGAIN)


def _bad_input(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, FolderError):
        if not getattr(request.state, "scoped", False):
            return problem(503, str(error), AGAIN)
        log.error("the model folder fails: %s", error)
        return problem(503, FAILING, AGAIN)
    return problem(422, str(error))


def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    untyped = "json" not in request.headers.get("content-type", "")
    if first["loc"] == ("body",) and (untyped or isinstance(first["input"], bytes)):
        detail = "send a JSON object, with the header 'Content-Type: application/json'"
        return problem(415, detail)
    if first["type"] in NO_OBJECT and len(first["loc"]) == 1:
        given = "empty or null" if first["input"] is None else shorten(first["input"])
        return problem(422, f"the body is {given}; send a JSON object")
    return problem(422, complaint(first, first["loc"][1:], _fields(request)))


def _fields(request: Request) -> list[str]:
    """Return the fields of the body that the route takes."""
    body = getattr(request.scope.get("route"), "body_field", None)
    message = getattr(getattr(body, "field_info", None), "annotation", None)
    return [*getattr(message, "model_fields", {})]


def printable(text: str) -> str:
    """Escape unpaired surrogates, which UTF-8 cannot carry."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
