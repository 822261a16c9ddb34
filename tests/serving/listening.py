"""A server in this process on a real socket, and raw client connections."""

import socket
import threading
import time
from contextlib import contextmanager

from genir.serving.app import create_app
from genir.serving.server import GracefulServer, bind

OPENED = []
"""Client connections of a test, closed with the server."""


def until(condition, seconds=30):
    """Wait until a condition holds; fail after a generous time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


@contextmanager
def listening(searcher, settings):
    """Serve a searcher on a free port in a thread; yield the server, and its address."""
    listener = bind("127.0.0.1", 0)
    app = create_app(searcher, settings=settings, loopback=True)
    server = GracefulServer(app.state.service, settings)
    server.config.app = app
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        until(lambda: server.started)
        yield server, listener.getsockname()
    finally:
        server.should_exit = True
        thread.join(30)
        while OPENED:
            OPENED.pop().close()
    assert not thread.is_alive()


def connect(place, sent=b"", buffer=0):
    """Open a connection and send something."""
    connection = socket.socket()
    OPENED.append(connection)
    connection.settimeout(30)
    if buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    connection.connect(place)
    connection.sendall(sent)
    return connection


def rest(connection):
    """Return all bytes until the server closes the connection."""
    found = b""
    try:
        while piece := connection.recv(65_536):
            found += piece
    except ConnectionResetError:
        pass
    connection.close()
    return found


def closed(connection):
    """Return whether the server has closed a connection, without blocking."""
    connection.setblocking(False)
    try:
        return connection.recv(65_536, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        connection.settimeout(30)
