"""Accepts connections in small batches, and keeps accepting after running out of descriptors.

asyncio accepts as many connections at a time as the backlog holds, before any can be refused, and
uvloop closes a listener for good when the process runs out of file descriptors.
"""

import asyncio
import json
import logging
import socket
from collections.abc import Callable, Sequence

from genir.serving.connections import Connections, ConnectionSlot

BACKLOG = 2_048
"""Size of the system's queue of connections to accept."""
ACCEPTS_PER_WAKEUP = 32
"""Maximum number of connections accepted in one event-loop iteration."""
SEND_BUFFER = 262_144
"""Socket send buffer in bytes; the system's default is megabytes."""
RETRY_PAUSE_S = 0.05
"""Seconds without accepting after the system has reported an error."""
_BODY = json.dumps(
    {
        "type": "about:blank",
        "title": "Service Unavailable",
        "status": 503,
        "detail": "too many connections; retry later",
    }
).encode()
REFUSAL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\n"
    b"Retry-After: 1\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(_BODY), _BODY)
)
log = logging.getLogger("genir.serving")


class Acceptor:
    """Accepts the connections of some listeners, up to the limits of `connections`."""

    def __init__(
        self,
        listeners: Sequence[socket.socket],
        protocol: Callable[[ConnectionSlot], asyncio.BaseProtocol],
        connections: Connections,
    ) -> None:
        """Start accepting. `protocol` returns the protocol of a new connection."""
        self._listeners, self._protocol, self._connections = listeners, protocol, connections
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = self._warned = False
        self._batch = max(
            1, min(ACCEPTS_PER_WAKEUP, connections.most // 2, connections.most_each // 2)
        )
        for listener in listeners:
            listener.setblocking(False)
            # Per connection: a small buffer fills soon if the client does not read.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
            listener.listen(BACKLOG)
            self._listen(listener)

    def close(self) -> None:
        """Stop accepting; open connections stay."""
        self._closed = True
        for listener in self._listeners:
            self._loop.remove_reader(listener)

    async def wait_closed(self) -> None:
        """Wait for connections that are being set up; part of the interface for uvicorn."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _listen(self, listener: socket.socket) -> None:
        if not self._closed:
            self._loop.add_reader(listener, self._accept, listener)

    def _accept(self, listener: socket.socket) -> None:
        if self._tasks:
            return  # the previous batch is not set up yet, so none of it can be dropped
        for _ in range(self._batch):
            try:
                connection, address = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._pause(listener, error)
                return
            self._admit(connection, address[0] if isinstance(address, tuple) else "")

    def _pause(self, listener: socket.socket, error: OSError) -> None:
        """Drop a connection when the system lacks descriptors or memory, and retry later."""
        if not self._warned:
            self._warned = True  # log once: this can happen 1,000 times a second
            log.error("connections cannot be accepted: %s; raise the limit: ulimit -n", error)
        self._connections.make_room()
        self._loop.remove_reader(listener)
        self._loop.call_later(RETRY_PAUSE_S, self._listen, listener)

    def _admit(self, connection: socket.socket, address: str) -> None:
        place = self._connections.admit(address)
        connection.setblocking(False)
        if place is None:
            _refuse(connection)
            return
        task = self._loop.create_task(self._connect(connection, place))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, connection: socket.socket, place: ConnectionSlot) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: self._protocol(place), connection)
        except OSError:  # the client disconnected, or no descriptors are left
            self._connections.release(place)
            connection.close()


def _refuse(connection: socket.socket) -> None:
    """Answer 503 and close, without waiting for the client."""
    with connection:
        try:
            connection.send(REFUSAL)
            connection.shutdown(socket.SHUT_WR)
            connection.recv(65_536)  # closing with unread bytes would discard the response
        except OSError:
            return
