"""HTTP/1.1 protocol of one connection, with timeouts and limits that uvicorn lacks.

uvicorn limits the size of a header block and the idle time after a response. It has no timeout for
the first byte, for slow headers and bodies, or for clients that do not read their response, and no
limit on the number of chunks.
"""

import re
from asyncio import Transport
from http import HTTPStatus
from typing import Any, Literal

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from genir.serving.connections import Connections, ConnectionSlot
from genir.serving.errors import problem
from genir.serving.request_encoding import MAX_HEADER_BYTES

READ_TIMEOUT_S = 10.0
"""Seconds allowed for a request's headers, and between two checks of the transfer rate."""
MIN_BYTES_PER_S = 8_192
"""Minimum transfer rate of a request body and of a response, in bytes per second."""
CLOSE_TIMEOUT_S = 2.0
"""Seconds that a connection stays open after an error response, so that the client can read it."""
READ_CHUNK_BYTES = 16_384
"""Bytes parsed between two checks of the limits."""
UNLIMITED_CHUNKS = 1_024
MIN_CHUNK_BYTES = 256
"""A body may have `UNLIMITED_CHUNKS` chunks, plus one for each `MIN_CHUNK_BYTES` bytes."""

Phase = Literal["head", "body", "answer", "read"]


class _HttpMessages(h11.Connection):
    """h11 connection with a limit on the number of chunks: one costs as much as 1,000 bytes."""

    def __init__(self) -> None:
        super().__init__(h11.SERVER, MAX_HEADER_BYTES)
        self._pieces = self._bytes = 0

    def next_event(self) -> Any:
        """Return the next event. Raises RemoteProtocolError if a body's chunks are too small."""
        event = super().next_event()
        if type(event) is h11.Request:
            self._pieces = self._bytes = 0
            return _in_origin_form(event)
        elif type(event) is h11.Data:
            self._pieces += 1
            self._bytes += len(event.data)
            if self._pieces > UNLIMITED_CHUNKS + self._bytes // MIN_CHUNK_BYTES:
                raise h11.RemoteProtocolError("too small chunks; send larger ones")
        return event


def _in_origin_form(request: h11.Request) -> h11.Request:
    """Return a request with a path as target; a host in the target replaces `Host` (RFC 9112)."""
    absolute = re.fullmatch(rb"https?://([^/?#]+)(.*)", request.target, re.IGNORECASE)
    if absolute is None:
        return request
    host, path = absolute.groups()
    headers = [(name, value) for name, value in request.headers if name != b"host"]
    return h11.Request(
        method=request.method,
        target=path if path.startswith(b"/") else b"/" + path,
        headers=[(b"host", host), *headers],
        http_version=request.http_version,
    )


class BoundedProtocol(H11Protocol):
    """A connection that is closed when its client is too slow.

    The phase says which party the connection waits for: `head` and `body` for the client to send,
    `answer` for the application, `read` for the client to read. In all phases but `answer` the
    connection can be dropped to make room for another.
    """

    def __init__(self, connections: Connections, place: ConnectionSlot, **given: Any) -> None:
        super().__init__(**given)
        self.conn = _HttpMessages()
        self._connections, self._place = connections, place
        self._phase: Phase | None = None
        self._timer: Any = None
        self._received = self._mark = 0
        self._ended = False

    def drop(self) -> None:
        """Close the connection at once; unsent data is lost."""
        self.transport.abort()

    # --- called by the event loop --------------------------------------------------------------

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Start the timer for the first request."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)  # so that every unread byte is noticed
        self._place.connection = self
        self._follow()

    def connection_lost(self, exc: Exception | None) -> None:
        """Release the connection's slot and cancel its timer."""
        self._connections.release(self._place)
        self._unset_timer()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse received bytes in slices of `READ_CHUNK_BYTES`."""
        self._received += len(data)
        for start in range(0, len(data), READ_CHUNK_BYTES):
            if self.transport.is_closing() or self._ended:
                return
            if self._runs_ahead():
                self.cycle.keep_alive = False
                break
            super().data_received(data[start : start + READ_CHUNK_BYTES])
        self._follow()

    def pause_writing(self) -> None:
        """Enter the phase `read`."""
        super().pause_writing()
        self._follow()

    def resume_writing(self) -> None:
        """Leave the phase `read`: the client has read everything."""
        super().resume_writing()
        self._follow()

    # --- called by uvicorn ---------------------------------------------------------------------

    def on_response_complete(self) -> None:
        """Enter the phase of the next request."""
        super().on_response_complete()
        self._follow()

    def send_400_response(self, msg: str) -> None:
        """Answer 400 for malformed HTTP, or 431 for too large headers."""
        received = self.conn.trailing_data[0]
        if len(received) <= MAX_HEADER_BYTES:
            self._refuse(400, f"{msg.rstrip('.')}; send HTTP/1.1")
            return
        part, fix = "header block is", "fewer or shorter headers"
        if b"\n" not in received[:MAX_HEADER_BYTES]:
            part, fix = "request line is", "a shorter address"
        self._refuse(431, f"the {part} over {MAX_HEADER_BYTES:,} bytes; send {fix}")

    # --- limits --------------------------------------------------------------------------------

    def _runs_ahead(self) -> bool:
        """Return whether a client pipelines requests faster than they are answered."""
        waits = self.cycle is not None and not self.cycle.response_complete
        return waits and not self._awaits_body() and (
            len(self.conn.trailing_data[0]) > MAX_HEADER_BYTES
        )  # fmt: skip

    def _awaits_body(self) -> bool:
        return self.conn.their_state is h11.SEND_BODY

    def _current(self) -> Phase:
        if self.flow.write_paused:
            return "read"
        if self._awaits_body() and not self.flow.read_paused:
            return "body"
        if self.cycle is not None and not self.cycle.response_complete:
            return "answer"
        return "head"

    def _follow(self) -> None:
        """Restart the timer if the phase has changed."""
        if self._ended:
            return
        phase = self._current()
        if phase == self._phase or (self.transport.is_closing() and phase != "read"):
            return
        self._phase = phase
        self._unset_timer()
        if phase == "answer":
            self._connections.mark_active(self._place)
            return
        self._connections.mark_idle(self._place)
        self._measure()

    def _measure(self) -> None:
        self._mark = self._progress()
        self._timer = self.loop.call_later(READ_TIMEOUT_S, self._check_progress)

    def _progress(self) -> int:
        """Return a counter that grows by one with each byte that the client sends or reads."""
        return self._received if self._phase == "body" else -self.transport.get_write_buffer_size()

    def _check_progress(self) -> None:
        """Close the connection unless the client transfers at least `MIN_BYTES_PER_S`."""
        if self._phase in ("body", "read") and (
            self._progress() - self._mark >= READ_TIMEOUT_S * MIN_BYTES_PER_S
        ):
            self._measure()
        elif self._phase == "read" or self.transport.is_closing():
            self.drop()
        elif self._phase == "body" or self.conn.trailing_data[0]:
            self._refuse(408, "the request came too slowly; send it faster")
        else:
            self.transport.close()

    def _refuse(self, status: int, text: str) -> None:
        """Send an error response, unless the application's response has started, and close."""
        cycle = self.cycle if self.cycle is not None and not self.cycle.response_complete else None
        started = cycle is not None and cycle.response_started
        if not started and self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            answer = problem(status, text, {"Connection": "close"})
            body, headers = bytes(answer.body), answer.raw_headers
            reason = HTTPStatus(status).phrase.encode()
            for event in (
                h11.Response(status_code=status, headers=headers, reason=reason),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        if cycle is not None:
            cycle.disconnected = True
            cycle.message_event.set()
        self._close_after_response()

    def _close_after_response(self) -> None:
        """Stop parsing, but keep reading: closing with unread bytes would discard the response."""
        self._ended = True
        self.transport.write_eof()
        self.flow.resume_reading()
        self._unset_timer()
        self._timer = self.loop.call_later(CLOSE_TIMEOUT_S, self.drop)

    def _unset_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
