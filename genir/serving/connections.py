"""Limits on the number of connections, and the choice of a connection to close for a new one.

A connection either waits for its client or is being answered. A waiting one may be closed for a new
one, so that idle and slow clients never block others.
"""

import resource
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import lru_cache, partial
from ipaddress import ip_address
from typing import Protocol

from genir.errors import InputError
from genir.serving.origins import ANY, network_of, network_of_client

RESERVED_FILES = 256
"""File descriptors reserved for models, journals and closing sockets."""
MAX_CONNECTIONS = 4_096
"""Default maximum of connections, if the limit of file descriptors allows it."""
MIN_CONNECTIONS = 16
ADDRESS_SHARE = 4
"""Default share of one address: 1 of this many connections."""


class Connection(Protocol):
    """A connection that can be closed at once."""

    def drop(self) -> None:
        """Close the connection without waiting for the client."""
        ...


@dataclass(eq=False)
class ConnectionSlot:
    """The slot of a connection; `group` is the client address it is counted under."""

    group: str
    connection: Connection | None = None
    dropped: bool = field(default=False, init=False)


class Connections:
    """The connection slots of a server.

    A new connection gets a free slot, or the slot of the connection that has waited longest for its
    client. A connection is never closed while its request is being answered. Connections that were
    answered before have no priority: 700 of them could otherwise block all new ones.
    """

    def __init__(self, most: int, most_each: int, proxies: Collection[str] = ()) -> None:
        """Create the slots. `most_each` limits each address that is not one of the proxies."""
        self.most, self.most_each = most, most_each
        self.refused = self.dropped = 0
        self._group = lru_cache(1_024)(partial(_group, tuple(proxies)))
        self._count = 0
        self._each: Counter[str] = Counter()
        self._waiting: OrderedDict[ConnectionSlot, None] = OrderedDict()  # longest waiting first

    def __len__(self) -> int:
        """Return the number of connections."""
        return self._count

    def meter(self, gauge: Callable[[str, str, Callable[[], float]], None]) -> None:
        """Register gauges for the numbers of connections."""
        gauge("genir_connections_open", "Open connections.", lambda: self._count)
        gauge("genir_connections_refused", "New connections refused.", lambda: self.refused)
        gauge(
            "genir_connections_dropped",
            "Waiting connections closed for new ones.",
            lambda: self.dropped,
        )

    def admit(self, address: str) -> ConnectionSlot | None:
        """Return a slot for a connection from an address; None if there is none."""
        group = self._group(address)
        crowded = bool(group) and self._each[group] >= self.most_each
        if (crowded or self._count >= self.most) and not self.make_room(group if crowded else ""):
            self.refused += 1
            return None
        self._count += 1
        self._each[group] += 1
        return ConnectionSlot(group)

    def make_room(self, group: str = "") -> bool:
        """Drop the longest-waiting connection (of a group); return whether there was one."""
        for place in self._waiting:
            if place.connection is not None and group in ("", place.group):
                self.dropped += 1
                connection = place.connection
                self.release(place)
                connection.drop()
                return True
        return False

    def mark_idle(self, place: ConnectionSlot) -> None:
        """Mark a connection as waiting for its client."""
        if not place.dropped:
            self.mark_active(place)
            self._waiting[place] = None

    def mark_active(self, place: ConnectionSlot) -> None:
        """Mark a connection as being answered."""
        self._waiting.pop(place, None)

    def release(self, place: ConnectionSlot) -> None:
        """Release a slot; idempotent."""
        if not place.dropped:
            self.mark_active(place)
            place.dropped = True
            self._count -= 1
            self._each[place.group] -= 1
            if not self._each[place.group]:
                del self._each[place.group]


def _group(proxies: tuple[str, ...], address: str) -> str:
    """Return the network of a client (`network_of_client`), or "" for proxies."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:  # a Unix socket
        return ""
    if ANY in proxies or any(found in network_of(one) for one in proxies):
        return ""
    return network_of_client(address)


def connection_limits(
    most: int | None, most_each: int | None, proxies: Collection[str]
) -> Connections:
    """Return the slots for `most` connections, by default as many as the system allows.

    Raises:
        InputError: The limit of open files is lower than `most`, or too low for a server.
    """
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    room = MAX_CONNECTIONS if files == resource.RLIM_INFINITY else files - RESERVED_FILES
    if room < MIN_CONNECTIONS:
        raise InputError(
            f"the limit of {files} open files is too low for a server; raise it: "
            f"ulimit -n {RESERVED_FILES + MAX_CONNECTIONS}"
        )
    if most is not None and most > room and files != resource.RLIM_INFINITY:
        raise InputError(
            f"--max-connections {most}: the limit of open files is {files:,}, of which "
            f"{RESERVED_FILES} are reserved; give at most {room}, or raise the limit: "
            f"ulimit -n {most + RESERVED_FILES}"
        )
    most = most or min(room, MAX_CONNECTIONS)
    return Connections(most, most_each or max(1, most // ADDRESS_SHARE), proxies)
