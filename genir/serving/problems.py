"""Every refusal as one clear message: `application/problem+json` (RFC 9457), never a traceback."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from genir.errors import InputError

MEDIA_TYPE = "application/problem+json"


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
        "503": "The model is still loading.",
    }.items()
}
"""What the OpenAPI page says of refusals."""


def answer_problems(app: FastAPI) -> None:
    """Make `app` answer every error as a problem."""
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(InputError, _bad_input)
    app.add_exception_handler(Exception, _failed)


def _problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    problem = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail)
    return JSONResponse(problem.model_dump(), status, headers, media_type=MEDIA_TYPE)


def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return _problem(error.status_code, error.detail, error.headers)


def _bad_input(request: Request, error: Exception) -> JSONResponse:
    return _problem(HTTPStatus.UNPROCESSABLE_ENTITY, _printable(str(error)))


def _failed(request: Request, error: Exception) -> JSONResponse:
    """Say nothing of the inside; the server's log gets the traceback."""
    detail = "the server failed on this request; its log says why"
    return _problem(HTTPStatus.INTERNAL_SERVER_ERROR, detail)


def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        place = f"at character {first['loc'][-1]}: {first['ctx']['error']}"
        return _problem(HTTPStatus.BAD_REQUEST, f"the body is not valid JSON, {place}")
    if len(first["loc"]) == 1 and "json" not in request.headers.get("content-type", ""):
        detail = "send a JSON object, with the header 'Content-Type: application/json'"
        return _problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, detail)
    return _problem(HTTPStatus.UNPROCESSABLE_ENTITY, _printable(_complaint(first)))


def _complaint(item: Mapping[str, Any]) -> str:
    """Turn pydantic's account of one error into a sentence with the name and the value."""
    name = ".".join(str(part) for part in item["loc"][1:]) or "the body"
    if item["type"] == "value_error":
        message = str(item["ctx"]["error"])
        return message if name == "the body" else f"{name}: {message}"
    if item["type"] == "extra_forbidden":
        return f"unknown field {name!r}; known: query, queries, k, where"
    return f"{name}: {item['msg']}; got {item['input']!r:.60}"


def _printable(text: str) -> str:
    """Escape unpaired surrogates, which UTF-8 cannot carry."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
