"""JSON-RPC messages on standard input. Invalid lines, which the SDK ignores, get an error reply."""

import json
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from io import TextIOWrapper
from typing import Any

import anyio
from mcp.shared.message import SessionMessage
from mcp_types import ErrorData, JSONRPCError, jsonrpc_message_adapter
from pydantic import ValidationError

from genir.json_parser import JsonError, parse_json
from genir.serving.validation_messages import describe_error

PARSE_ERROR, INVALID_REQUEST = -32700, -32600
"""JSON-RPC error codes."""
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[\]{}]')
_ID = re.compile(r'\s*:\s*(-?[0-9]{1,18}\b|"[^"\\]*")')
_ESCAPED = re.compile("[\ud800-\udfff]")

Answer = Callable[[SessionMessage], Awaitable[None]]


class CheckedLines:
    """Yields the valid messages on standard input and answers invalid lines with an error."""

    def __init__(self) -> None:
        # Bytes that are not UTF-8 become surrogates, so that `fault_of` can report them.
        text = TextIOWrapper(sys.stdin.buffer, encoding="utf-8", errors="surrogateescape")
        self._lines = anyio.wrap_file(text)
        self._answer: Answer | None = None
        self._connected = anyio.Event()

    def connect(self, answer: Answer) -> None:
        """Set the function that sends a message to the client."""
        self._answer = answer
        self._connected.set()

    async def __aiter__(self) -> AsyncIterator[str]:
        """Yield the valid messages."""
        async for line in self._lines:
            if not line.strip():
                continue
            fault = fault_of(line)
            if fault is None:
                yield line
                continue
            await self._connected.wait()
            assert self._answer is not None
            error = JSONRPCError(jsonrpc="2.0", id=id_of(line), error=fault)
            await self._answer(SessionMessage(error))


def fault_of(line: str) -> ErrorData | None:
    """Return the error of an invalid message; None for a valid one."""
    if _ESCAPED.search(line):
        return ErrorData(code=PARSE_ERROR, message="the message is not UTF-8; send UTF-8")
    try:
        value = parse_json(line)
        json.dumps(value, ensure_ascii=False).encode()
        jsonrpc_message_adapter.validate_python(value, by_name=False)
    except JsonError as error:
        return ErrorData(code=PARSE_ERROR, message=f"the message cannot be read: {error}")
    except UnicodeEncodeError:
        reason = "an unpaired surrogate (half a character) like \\ud800; write the whole pair"
        return ErrorData(code=PARSE_ERROR, message=f"the message holds {reason}")
    except ValidationError as error:
        first = error.errors()[0]
        detail = describe_error(first, first["loc"][1:], ())
        return ErrorData(
            code=INVALID_REQUEST, message=f"the message is not a JSON-RPC request: {detail}"
        )
    return None


def id_of(line: str) -> Any:
    """Return the id of a message, also from invalid JSON; None if there is none."""
    depth = 0
    for found in _TOKEN.finditer(line):
        if depth == 1 and found[0] == '"id"' and (given := _ID.match(line, found.end())):
            return json.loads(given[1])
        depth += (found[0] in "[{") - (found[0] in "]}")
    return None
