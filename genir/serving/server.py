"""From a model folder to a running server. The application itself is in `app.py`."""

import asyncio
import errno
import logging
import os
import signal
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from time import monotonic
from types import FrameType

import uvicorn

from genir.console import Console, print_line, styled
from genir.errors import InputError
from genir.memory import exempt_from_collection
from genir.serving.acceptor import Acceptor
from genir.serving.app import create_app
from genir.serving.connections import Place, places
from genir.serving.examination import Examination
from genir.serving.guards import LOOPBACK
from genir.serving.logs import logging_json
from genir.serving.protocol import BoundedProtocol
from genir.serving.served import Served
from genir.serving.service import Service, open_folder
from genir.serving.settings import Settings
from genir.signals import ENDING, drop_output, forward, in_main_thread

log = logging.getLogger("genir.serving")

LAST_S = 5.0
"""Seconds after the drain in which the process ends by itself, or is ended."""
SWITCH_SECONDS = 0.001
"""Seconds after which a busy thread lets the event loop run, instead of 0.005 each time."""
QUIET = 0.25
"""Seconds without a request after which a leaving server believes that no more will come."""
REFUSING = 2.0
"""Seconds for which it refuses those who come all the same, before it closes the listener."""


def serve(
    folder: Path,
    host: str = "127.0.0.1",
    port: int = 8000,
    open_browser: bool = False,
    examples: Sequence[str] = (),
    settings: Settings | None = None,
) -> None:
    """Serve a model folder until Ctrl-C; `examples` are the queries that the page offers.

    Raises InputError for a port or host that cannot be had, for settings that leave documents
    unguarded, and for a bad model folder, or one without the signature that settings ask for.
    """
    settings = settings or Settings()
    asked = settings.precision
    changes = Examination(settings).refuse_unsigned(folder)
    if changes:
        print_line(f"{folder.name}: {changes:,} changes since it was signed", stderr=True)
    sys.setswitchinterval(SWITCH_SECONDS)
    with claim(host, port) as listener, logging_json():

        def load() -> Served:
            served = open_folder(folder, asked)
            exempt_from_collection()
            return served

        run(load, listener, folder.name, examples, open_browser, settings)


def run(
    load: Callable[[], Served],
    listener: socket.socket,
    name: str,
    examples: Sequence[str] = (),
    open_browser: bool = False,
    settings: Settings | None = None,
) -> None:
    """Serve what `load` returns on a bound socket until Ctrl-C. Raises what `load` raises.

    The server lives (and says so on /healthz) while it loads; /readyz says when it can answer.
    """
    loopback, settings = is_loopback(listener), settings or Settings()
    if loopback and not settings.hosts:
        settings = settings.model_copy(update={"hosts": LOOPBACK})
    examiner = Examination(settings)
    app = create_app(examples=examples, settings=settings, loopback=loopback, examiner=examiner)
    service: Service = app.state.service
    server = LeavingServer(service, settings)
    console = Console(stderr=True)
    status = console.status(styled(f"Loading {name}"))
    status.start()

    def finish(loading: Future[None]) -> None:
        status.stop()
        if server.should_exit:
            return
        if loading.cancelled() or loading.exception():
            server.should_exit = True
            return
        print_line(f"{name} answers at {address(listener)}  (Ctrl-C stops it)", stderr=True)
        if open_browser:
            webbrowser.open(address(listener))

    server.config.app = app
    loading = service.load(load)
    loading.add_done_callback(finish)
    with suppress(KeyboardInterrupt), server.hears_hang_up():
        server.run(sockets=[listener])
    status.stop()
    server.left()
    if loading.done() and not loading.cancelled():
        loading.result()  # raises what stopped it from loading


class LeavingServer(uvicorn.Server):
    """A server that finishes what it accepted when it is told to stop, and then leaves with 0.

    While the model loads, a signal ends the process as it does any other command. Afterwards, at a
    first SIGTERM, SIGHUP or Ctrl-C: /readyz says no, and connections are not kept; after
    `linger_s`, new requests are told to go elsewhere (503); when none is left and no more come, the
    listener is closed. A second one does not wait.
    """

    def __init__(self, service: Service, settings: Settings) -> None:
        super().__init__(
            uvicorn.Config(
                "unset",
                log_level="warning",
                log_config=None,
                access_log=False,
                proxy_headers=False,  # the application has a setting for it
                ws="none",
                http="h11",  # httptools drops the body of a request that offers an upgrade
                timeout_graceful_shutdown=1,  # after `_finish`: connections, no requests
            )
        )
        self._service, self._settings = service, settings
        self._connections = places(
            settings.max_connections, settings.max_connections_each, settings.trusted_proxies
        )
        self._connections.meter(service.metrics.gauge)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._leaving: asyncio.Task[None] | None = None
        self._guard = threading.Timer(settings.linger_s + settings.drain_s + LAST_S, _end)
        self._guard.daemon = True
        self._before = {number: signal.getsignal(number) for number in ENDING}

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until told to stop."""
        self._loop = asyncio.get_running_loop()
        await super().serve(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, then accept connections within limits."""
        await super().startup([])
        acceptor = Acceptor(sockets or [], self._protocol, self._connections)
        self.servers.append(acceptor)  # type: ignore[arg-type]

    def _protocol(self, place: Place) -> BoundedProtocol:
        return BoundedProtocol(
            self._connections,
            place,
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )

    @contextmanager
    def hears_hang_up(self) -> Iterator[None]:
        """Leave on SIGHUP too, which uvicorn does not listen for."""
        heard = in_main_thread() and self._before[signal.SIGHUP] is not signal.SIG_IGN
        if heard:
            signal.signal(signal.SIGHUP, self.handle_exit)
        yield
        if heard:
            signal.signal(signal.SIGHUP, self._before[signal.SIGHUP])

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to leave; at the second signal, go."""
        if not self._service.ready and not self._service.draining:
            forward(sig, frame, self._before[sig])
        if self._service.draining or self._loop is None or not self._service.ready:
            self.should_exit = True
            self.force_exit = sig == signal.SIGINT
            return
        self._service.draining = True
        self._guard.start()
        self._loop.call_soon_threadsafe(self._leave)

    def _leave(self) -> None:
        self._leaving = asyncio.ensure_future(self._finish())

    async def _finish(self) -> None:
        await asyncio.sleep(self._settings.linger_s)
        service, begun = self._service, monotonic()
        service.refuses = True
        while (now := monotonic()) < begun + self._settings.drain_s:
            alone = now - service.last_request > QUIET or now - begun > REFUSING
            if alone and not service.in_flight:
                break
            if now - begun > QUIET:
                service.give_up(unfinished=True)
            await asyncio.sleep(0.02)
        service.give_up()
        for _ in range(50):  # until they are refused
            if not service.in_flight:
                break
            await asyncio.sleep(0.02)
        self.should_exit = True

    def left(self) -> None:
        """End the process at once if a thread hangs: Python would wait, or crash, at its exit."""
        self._guard.cancel()
        if self._service.hangs and self._service.draining:
            _end(0, "a thread works on that cannot be stopped; every request was answered")


def _end(code: int = 1, reason: str = "leaving took too long") -> None:
    """End the process without further ado. What was acknowledged is on the disk."""
    log.warning("the server ends at once: %s", reason)
    drop_output()
    os._exit(code)


def is_loopback(listener: socket.socket) -> bool:
    """Tell whether only this machine can reach a listener."""
    if listener.family not in (socket.AF_INET, socket.AF_INET6):
        return True
    return ip_address(listener.getsockname()[0].partition("%")[0]).is_loopback


def claim(host: str, port: int) -> socket.socket:
    """Bind a socket, so that a taken port is known before the model is loaded.

    Raises InputError that names the port or host and the mend.
    """
    if port not in range(65536):
        raise InputError(f"--port {port}: ports go from 0 to 65535; 0 takes any free one")
    try:
        family, *_, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(place[:2], family=family)
    except socket.gaierror as error:
        raise InputError(
            f"--host {host!r} is no address of this machine ({error.strerror}); "
            "try 127.0.0.1, or 0.0.0.0 for every network"
        ) from None
    except OSError as error:
        raise InputError(f"cannot listen on {host}:{port}: {_reason(error)}") from None


def _reason(error: OSError) -> str:
    return {
        errno.EADDRINUSE: "the port is taken; give another with --port, or 0 for any free one",
        errno.EACCES: "ports below 1024 need more rights; give another with --port",
        errno.EADDRNOTAVAIL: "no address of this machine; try --host 127.0.0.1",
    }.get(error.errno or 0, str(error))


def address(listener: socket.socket) -> str:
    """Return the URL to type: this machine's own where the server listens on every network."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
