"""Connections of a server: how many there may be, and which one makes room for another.

Knows no HTTP: a connection waits for its client, or it is answered. One that waits can be closed
for a new one, so that idle and slow clients never keep others out.
"""

import resource
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import lru_cache, partial
from ipaddress import ip_address
from typing import Protocol

from genir.errors import InputError
from genir.serving.origins import ANY, network_of

RESERVED_FILES = 256
"""Descriptors kept for models, journals and sockets that are closing."""
MAX_CONNECTIONS = 4_096
"""Connections where the system allows more descriptors."""
MIN_CONNECTIONS = 16
ADDRESS_SHARE = 4
"""By default, one address may have one connection of this many."""


class Connection(Protocol):
    """Something that can be closed at once."""

    def drop(self) -> None:
        """Close the connection without waiting for the client."""
        ...


@dataclass(eq=False)
class Place:
    """The place that a connection has among all."""

    group: str
    connection: Connection | None = None
    dropped: bool = field(default=False, init=False)


class Connections:
    """The places of a server, and who waits in them.

    A new connection gets a free place, or that of the connection that has waited longest for its
    client. None is taken from a request that is being answered. (To spare connections that were
    answered before would let 700 of them push every new one out at once.)
    """

    def __init__(self, most: int, most_each: int, proxies: Collection[str] = ()) -> None:
        """Make the places. most_each: of one address, unless it is one of the proxies."""
        self.most, self.most_each = most, most_each
        self.refused = self.dropped = 0
        self._group = lru_cache(1_024)(partial(_group, tuple(proxies)))
        self._count = 0
        self._each: Counter[str] = Counter()
        self._waiting: OrderedDict[Place, None] = (
            OrderedDict()
        )  # in the order in which they began to wait

    def __len__(self) -> int:
        """Return how many connections there are."""
        return self._count

    def meter(self, gauge: Callable[[str, str, Callable[[], float]], None]) -> None:
        """Show the numbers of connections as meters."""
        gauge("genir_connections_open", "Connections of clients.", lambda: self._count)
        gauge("genir_connections_refused", "New ones without a place.", lambda: self.refused)
        gauge("genir_connections_dropped", "Waiting ones closed for new.", lambda: self.dropped)

    def admit(self, address: str) -> Place | None:
        """Return a place for a connection from an address; None if there is none."""
        group = self._group(address)
        crowded = bool(group) and self._each[group] >= self.most_each
        if (crowded or self._count >= self.most) and not self.make_room(group if crowded else ""):
            self.refused += 1
            return None
        self._count += 1
        self._each[group] += 1
        return Place(group)

    def make_room(self, group: str = "") -> bool:
        """Drop the connection that has waited longest, of a group; tell whether there was one."""
        for place in self._waiting:
            if place.connection is not None and group in ("", place.group):
                self.dropped += 1
                connection = place.connection
                self.leave(place)
                connection.drop()
                return True
        return False

    def wait(self, place: Place) -> None:
        """Note that a connection waits for its client from now on."""
        if not place.dropped:
            self.answer(place)
            self._waiting[place] = None

    def answer(self, place: Place) -> None:
        """Note that a connection does not wait for its client any more."""
        self._waiting.pop(place, None)

    def leave(self, place: Place) -> None:
        """Give a place back; once is enough."""
        if not place.dropped:
            self.answer(place)
            place.dropped = True
            self._count -= 1
            self._each[place.group] -= 1
            if not self._each[place.group]:
                del self._each[place.group]


def _group(proxies: tuple[str, ...], address: str) -> str:
    """Return what an address is counted by: itself, or its /64 of IPv6; "" for proxies."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:  # a Unix socket
        return ""
    if ANY in proxies or any(found in network_of(one) for one in proxies):
        return ""
    return str(found) if found.version == 4 else found.exploded[:19]


def places(most: int | None, most_each: int | None, proxies: Collection[str]) -> Connections:
    """Return the places for a number of connections, by default what the system allows.

    Raises:
        InputError: There are more than the process may open files for, or that limit is too low.
    """
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    room = MAX_CONNECTIONS if files == resource.RLIM_INFINITY else files - RESERVED_FILES
    if room < MIN_CONNECTIONS:
        raise InputError(
            f"this process may open {files} files, too few for a server; raise the limit: "
            f"ulimit -n {RESERVED_FILES + MAX_CONNECTIONS}"
        )
    if most is not None and most > room and files != resource.RLIM_INFINITY:
        raise InputError(
            f"--max-connections {most}: this process may open {files:,} files, of which "
            f"{RESERVED_FILES} are not for connections; give at most {room}, or raise the limit: "
            f"ulimit -n {most + RESERVED_FILES}"
        )
    most = most or min(room, MAX_CONNECTIONS)
    return Connections(most, most_each or max(1, most // ADDRESS_SHARE), proxies)
