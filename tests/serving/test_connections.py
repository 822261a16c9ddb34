"""Limits of connections: none blocks others, and slow ones are closed."""

import errno
import json
import resource
import threading

import pytest
from listening import closed, connect, listening, rest, until

from genir.errors import InputError
from genir.serving import connections, http_protocol
from genir.serving.acceptor import Acceptor
from genir.serving.connections import Connections, connection_limits
from genir.serving.settings import Settings

GET = b"GET /v1/healthz HTTP/1.1\r\nHost: a\r\n"
POST = b"POST /v1/search HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"


class Peer:
    """A connection that records whether it was dropped."""

    def __init__(self, found, address):
        self.dropped, self.place = False, found.admit(address)
        if self.place is not None:
            self.place.connection = self
            found.mark_idle(self.place)

    def drop(self):
        self.dropped = True


def test_the_one_that_has_waited_longest_makes_room():
    found = Connections(3, 3)
    first, second, third = (Peer(found, f"10.0.0.{n}") for n in range(3))
    found.mark_active(first.place)
    assert Peer(found, "10.0.0.9").place and second.dropped and not first.dropped
    found.mark_idle(first.place)  # answered: it waits again, behind the others
    assert Peer(found, "10.0.0.9").place and third.dropped and not first.dropped
    assert (len(found), found.dropped, found.refused) == (3, 2, 0)


def test_none_is_taken_from_a_request_that_is_answered():
    found = Connections(1, 1)
    busy = Peer(found, "10.0.0.1")
    found.mark_active(busy.place)
    assert Peer(found, "10.0.0.2").place is None and found.refused == 1 and not busy.dropped
    found.release(busy.place)
    found.release(busy.place)
    assert len(found) == 0 and Peer(found, "10.0.0.2").place


def test_an_address_has_a_share_and_makes_room_for_itself():
    found = Connections(10, 2, ["192.168.0.0/16"])
    one, two = Peer(found, "10.0.0.1"), Peer(found, "10.0.0.1")
    other = Peer(found, "10.0.0.2")
    assert Peer(found, "10.0.0.1").place and one.dropped and not (two.dropped or other.dropped)
    found.mark_active(two.place)
    proxied = [Peer(found, "192.168.1.1") for _ in range(5)]
    assert all(peer.place for peer in proxied) and len(found) == 8


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        ("2001:db8::1", "2001:db8::2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("10.0.0.1", "10.0.0.2", False),
        ("fe80::1%eth0", "fe80::2", True),
    ],
)
def test_a_network_of_ipv6_counts_as_one_address(one, two, same):
    found = Connections(10, 1)
    first = Peer(found, one)
    assert Peer(found, two).place and first.dropped is same


def test_the_number_of_places_follows_the_limit_on_open_files(monkeypatch):
    def limit(files):
        monkeypatch.setattr(resource, "getrlimit", lambda _: (files, 2**20))

    limit(1_024)
    assert (
        connection_limits(None, None, ()).most,
        connection_limits(None, None, ()).most_each,
    ) == (768, 192)
    limit(2**20)
    assert connection_limits(None, None, ()).most == connections.MAX_CONNECTIONS
    assert (
        connection_limits(9_000, 7, ()).most == 9_000
        and connection_limits(9_000, 7, ()).most_each == 7
    )
    limit(resource.RLIM_INFINITY)
    assert connection_limits(None, None, ()).most == connections.MAX_CONNECTIONS
    limit(1_024)
    with pytest.raises(InputError, match=r"--max-connections 800: .*at most 768.*ulimit -n 1056"):
        connection_limits(800, None, ())
    limit(100)
    with pytest.raises(InputError, match="limit of 100 open files"):
        connection_limits(None, None, ())


def health(place):
    return rest(connect(place, GET + b"Connection: close\r\n\r\n"))


def test_idle_connections_make_room_for_an_honest_one(searcher):
    with listening(searcher, Settings(max_connections=8)) as (_, place):
        idle = [connect(place) for _ in range(40)]
        assert b"200 OK" in health(place)
        until(lambda: sum(map(closed, idle)) >= 32)
        metrics = rest(connect(place, GET.replace(b"healthz", b"metrics")
                               + b"Connection: close\r\n\r\n"))  # fmt: skip
        assert b"genir_connections_dropped 3" in metrics and b"genir_connections_open" in metrics


def test_a_new_connection_gets_503_if_all_slots_are_busy(searcher):
    entered, release = threading.Event(), threading.Event()
    inner = searcher.match

    def slow(*arguments):
        entered.set()
        assert release.wait(30)
        return inner(*arguments)

    searcher.match = slow
    body = json.dumps({"query": "copy"}).encode()
    asked = POST + b"Connection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    with listening(searcher, Settings(max_connections=1)) as (_, place):
        busy = connect(place, asked)
        assert entered.wait(30)
        refused = rest(connect(place, GET + b"\r\n"))
        assert refused.startswith(b"HTTP/1.1 503 ") and b"Retry-After: 1" in refused
        assert json.loads(refused.partition(b"\r\n\r\n")[2])["status"] == 503
        release.set()
        assert b"200 OK" in rest(busy)
        assert b"200 OK" in health(place)


SLOW = {
    "nothing": (b"", b""),
    "half a line": (b"GET /v1/he", b"408 Request Timeout"),
    "half the headers": (GET, b"408 Request Timeout"),
    "no body": (POST + b"Content-Length: 9\r\n\r\n", b"408 Request Timeout"),
    "half a body": (POST + b"Content-Length: 99\r\n\r\n{", b"408 Request Timeout"),
    "half a chunk": (POST + b"Transfer-Encoding: chunked\r\n\r\n9\r\n{", b"408 Request Timeout"),
}


@pytest.mark.parametrize(("sent", "answer"), SLOW.values(), ids=SLOW)
def test_slow_clients_are_closed(searcher, monkeypatch, sent, answer):
    monkeypatch.setattr(http_protocol, "READ_TIMEOUT_S", 0.2)
    with listening(searcher, Settings()) as (server, place):
        found = rest(connect(place, sent))
        assert answer in found if answer else found == b""
        until(lambda: not server._connections)
        assert b"200 OK" in health(place)


def test_a_body_that_comes_steadily_is_taken(searcher, monkeypatch):
    monkeypatch.setattr(http_protocol, "READ_TIMEOUT_S", 0.2)
    monkeypatch.setattr(http_protocol, "MIN_BYTES_PER_S", 1)
    body = b" " * 30 + b'{"query": "copy a file"}'
    with listening(searcher, Settings()) as (_, place):
        connection = connect(place, POST + b"Connection: close\r\nContent-Length: %d\r\n\r\n"
                             % len(body))  # fmt: skip
        for byte in body:
            connection.sendall(bytes([byte]))
            threading.Event().wait(0.01)
        assert b"200 OK" in rest(connection)


def test_answers_that_are_not_read_are_dropped(searcher, monkeypatch):
    monkeypatch.setattr(http_protocol, "READ_TIMEOUT_S", 0.2)
    asked = b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n"
    with listening(searcher, Settings()) as (server, place):
        connect(place, asked * 60, buffer=4_096)
        until(lambda: len(server._connections) == 1)
        until(lambda: not server._connections)
        assert b"200 OK" in health(place)


REFUSED = {
    "long headers at once": (GET + b"a: b\r\n" * 9_000 + b"\r\n", b"431 "),
    "many headers at once": (GET + b"a: b\r\n" * 101 + b"Connection: close\r\n\r\n", b"431 "),
    "endless headers": (GET + b"a: b\r\n" * 9_000, b"431 "),
    "a long address": (b"GET /" + b"a" * 60_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", b"431 "),
    "tiny chunks": (POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * 2_000, b"400 "),
    "endless trailers": (
        POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"a: b\r\n" * 9_000,
        b"431 ",
    ),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01", b"400 "),
}


@pytest.mark.parametrize(("sent", "answer"), REFUSED.values(), ids=REFUSED)
def test_too_large_or_malformed_http_is_refused(searcher, monkeypatch, sent, answer):
    monkeypatch.setattr(http_protocol, "CLOSE_TIMEOUT_S", 0.3)
    monkeypatch.setattr(http_protocol, "READ_TIMEOUT_S", 2.0)
    with listening(searcher, Settings()) as (server, place):
        head, _, body = rest(connect(place, sent)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 " + answer)
        assert b"content-type: application/problem+json" in head.lower()
        problem = json.loads(body)
        assert problem["status"] == int(answer) and "; " in problem["detail"]
        if sent.startswith(b"GET /aaa"):
            assert (
                problem["detail"] == "the request line is over 32,768 bytes; send a shorter address"
            )
        until(lambda: not server._connections)
        assert b"200 OK" in health(place)


def test_an_absolute_address_is_a_path(searcher):
    """Of a forward proxy; the host of the address counts (RFC 9112, section 3.2.2)."""
    asked = (
        b"GET http://localhost/v1/healthz HTTP/1.1\r\nHost: elsewhere\r\nConnection: close\r\n\r\n"
    )
    with listening(searcher, Settings(hosts=("localhost",))) as (_, place):
        assert rest(connect(place, asked)).startswith(b"HTTP/1.1 200 ")
        other = asked.replace(b"localhost", b"elsewhere")
        assert not rest(connect(place, other)).startswith(b"HTTP/1.1 200 ")


def test_requests_that_run_ahead_of_their_answers_are_not_kept(searcher):
    asked = GET + b"\r\n"
    with listening(searcher, Settings()) as (_, place):
        several = rest(connect(place, asked * 3 + GET + b"Connection: close\r\n\r\n"))
        assert several.count(b"200 OK") == 4
        flood = rest(connect(place, asked * 20_000))
        assert 1 <= flood.count(b"200 OK") < 20_000


class Short:
    """A listener on a system that temporarily lacks file descriptors."""

    def __init__(self, listener, failures):
        self._listener, self.failures = listener, failures

    def __getattr__(self, name):
        return getattr(self._listener, name)

    def accept(self):
        if self.failures:
            self.failures -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return self._listener.accept()


def test_the_server_continues_without_free_descriptors(searcher, monkeypatch, caplog):
    made = []
    inner = Acceptor.__init__

    def short(self, listeners, *given):
        made.extend(Short(one, 3) for one in listeners)
        inner(self, made, *given)

    monkeypatch.setattr(Acceptor, "__init__", short)
    with listening(searcher, Settings()) as (_, place):
        assert b"200 OK" in health(place)
    assert made[0].failures == 0
    assert [one.getMessage() for one in caplog.records if "cannot be accepted" in one.message] == [
        "connections cannot be accepted: [Errno 24] Too many open files; raise the limit: ulimit -n"
    ]
