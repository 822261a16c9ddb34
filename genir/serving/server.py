"""Runs the application of `app.py` as a server process for a model folder."""

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

from genir.console import print_line
from genir.corpus.readers import holds_pages
from genir.errors import InputError
from genir.plurals import counted
from genir.process_memory import exempt_from_collection, limit_heap_growth
from genir.progress import waiting
from genir.serving.acceptor import Acceptor
from genir.serving.app import create_app
from genir.serving.connections import ConnectionSlot, connection_limits
from genir.serving.http_protocol import BoundedProtocol
from genir.serving.logs import logging_json
from genir.serving.middleware import LOOPBACK_HOSTS
from genir.serving.model_checks import ModelChecks
from genir.serving.protocols import SearchModel
from genir.serving.service import Service, open_folder
from genir.serving.settings import Settings
from genir.signals import ENDING, drop_output, forward, in_main_thread

log = logging.getLogger("genir.serving")

FORCED_EXIT_S = 5.0
"""Seconds after the drain until the process is killed if it has not ended."""
SWITCH_SECONDS = 0.001
"""Interpreter switch interval in seconds; Python's default of 0.005 delays the event loop."""
IDLE_BEFORE_EXIT_S = 0.25
"""Seconds without a request after which a draining server closes its listener."""
REFUSE_CONNECTIONS_S = 2.0
"""Maximum seconds of answering 503 to new requests before the listener is closed."""


def serve(
    folder: Path,
    host: str = "127.0.0.1",
    port: int = 8000,
    open_browser: bool = False,
    examples: Sequence[str] = (),
    settings: Settings | None = None,
) -> None:
    """Serve a model folder until SIGTERM or Ctrl-C.

    Args:
        folder: The model folder.
        host: Address to listen on.
        port: Port to listen on; 0 for any free one.
        open_browser: Whether to open the search page.
        examples: Example queries on the page; sampled from the documents if empty.
        settings: Limits and other settings.

    Raises:
        InputError: The address or `sync_folder` is not available, the settings leave the documents
            unprotected, or the folder is invalid or lacks a required signature.
    """
    settings = settings or Settings()
    asked = settings.precision
    if settings.sync_folder is not None:
        holds_pages(settings.sync_folder)  # refuse a wrong path at the start
    changes = ModelChecks(settings).refuse_unsigned(folder)
    if changes:
        print_line(f"{folder.name}: {counted(changes, 'change')} since the signature", stderr=True)
    sys.setswitchinterval(SWITCH_SECONDS)
    limit_heap_growth()
    with bind(host, port) as listener, logging_json():

        def load() -> SearchModel:
            served = open_folder(folder, asked)
            exempt_from_collection()
            return served

        run(load, listener, folder.name, examples, open_browser, settings)


def run(
    load: Callable[[], SearchModel],
    listener: socket.socket,
    name: str,
    examples: Sequence[str] = (),
    open_browser: bool = False,
    settings: Settings | None = None,
) -> None:
    """Serve the model that `load` returns on a bound socket. Raises the errors of `load`.

    /healthz answers while the model loads; /readyz answers once it is loaded.
    """
    loopback, settings = is_loopback(listener), settings or Settings()
    if loopback and not settings.hosts:
        settings = settings.model_copy(update={"hosts": LOOPBACK_HOSTS})
    checker = ModelChecks(settings)
    app = create_app(examples=examples, settings=settings, loopback=loopback, checker=checker)
    service: Service = app.state.service
    server = GracefulServer(service, settings)
    status = waiting(f"loading {name}")
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
    with suppress(KeyboardInterrupt), server.detects_disconnect():
        server.run(sockets=[listener])
    status.stop()
    server.remaining_requests()
    if loading.done() and not loading.cancelled():
        loading.result()  # raises the error of loading


class GracefulServer(uvicorn.Server):
    """A uvicorn server with a graceful shutdown: it finishes accepted requests and exits with 0.

    While the model loads, a signal ends the process at once. Afterwards, the first SIGTERM, SIGHUP
    or Ctrl-C makes /readyz fail and closes connections after their response. After `pre_drain_s`,
    new requests get a 503; when no request is left,
    the listener is closed. A second signal ends the
    server without waiting.
    """

    def __init__(self, service: Service, settings: Settings) -> None:
        super().__init__(
            uvicorn.Config(
                "unset",
                log_level="warning",
                log_config=None,
                access_log=False,
                proxy_headers=False,  # handled by `TrustedProxies`
                ws="none",
                http="h11",  # httptools drops the body of a request that offers an upgrade
                timeout_graceful_shutdown=1,  # for idle connections, after `_finish`
            )
        )
        self._service, self._settings = service, settings
        self._connections = connection_limits(
            settings.max_connections, settings.max_connections_each, settings.trusted_proxies
        )
        self._connections.meter(service.metrics.gauge)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._leaving: asyncio.Task[None] | None = None
        self._guard = threading.Timer(settings.pre_drain_s + settings.drain_s + FORCED_EXIT_S, _end)
        self._guard.daemon = True
        self._before = {number: signal.getsignal(number) for number in ENDING}

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until a signal."""
        self._loop = asyncio.get_running_loop()
        await super().serve(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, then accept connections up to the limits."""
        await super().startup([])
        acceptor = Acceptor(sockets or [], self._protocol, self._connections)
        self.servers.append(acceptor)  # type: ignore[arg-type]

    def _protocol(self, place: ConnectionSlot) -> BoundedProtocol:
        return BoundedProtocol(
            self._connections,
            place,
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )

    @contextmanager
    def detects_disconnect(self) -> Iterator[None]:
        """Also shut down on SIGHUP, which uvicorn does not handle."""
        heard = in_main_thread() and self._before[signal.SIGHUP] is not signal.SIG_IGN
        if heard:
            signal.signal(signal.SIGHUP, self.handle_exit)
        yield
        if heard:
            signal.signal(signal.SIGHUP, self._before[signal.SIGHUP])

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Start the graceful shutdown; end at once at the second signal."""
        if not self._service.ready and not self._service.draining:
            forward(sig, frame, self._before[sig])
        if self._service.draining or self._loop is None or not self._service.ready:
            self.should_exit = True
            self.force_exit = sig == signal.SIGINT
            return
        self._service.draining = True
        self._guard.start()
        self._loop.call_soon_threadsafe(self._start_drain)

    def _start_drain(self) -> None:
        self._leaving = asyncio.ensure_future(self._finish())

    async def _finish(self) -> None:
        await asyncio.sleep(self._settings.pre_drain_s)
        service, begun = self._service, monotonic()
        service.refuses = True
        while (now := monotonic()) < begun + self._settings.drain_s:
            alone = (
                now - service.last_request > IDLE_BEFORE_EXIT_S
                or now - begun > REFUSE_CONNECTIONS_S
            )
            if alone and not service.in_flight:
                break
            if now - begun > IDLE_BEFORE_EXIT_S:
                service.abandon(unfinished=True)
            await asyncio.sleep(0.02)
        service.abandon()
        for _ in range(50):  # until their 503 is sent
            if not service.in_flight:
                break
            await asyncio.sleep(0.02)
        self.should_exit = True

    def remaining_requests(self) -> None:
        """Kill the process if a thread hangs, since Python's exit would wait for it or crash."""
        self._guard.cancel()
        if self._service.is_stuck and self._service.draining:
            _end(0, "a thread cannot be stopped; every request was answered")


def _end(code: int = 1, reason: str = "the shutdown took too long") -> None:
    """Kill the process. All acknowledged changes are on disk."""
    log.warning("killing the server process: %s", reason)
    drop_output()
    os._exit(code)


def is_loopback(listener: socket.socket) -> bool:
    """Return whether only this machine can reach a listener."""
    if listener.family not in (socket.AF_INET, socket.AF_INET6):
        return True
    return ip_address(listener.getsockname()[0].partition("%")[0]).is_loopback


def bind(host: str, port: int) -> socket.socket:
    """Bind a socket before the model is loaded, so that a used port is reported early.

    Raises InputError if the host or port is not available.
    """
    if port not in range(65536):
        raise InputError(f"--port {port}: ports are 0 to 65535; 0 selects any free one")
    try:
        family, *_, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(place[:2], family=family)
    except socket.gaierror as error:
        raise InputError(
            f"--host {host!r}: not an address of this machine ({error.strerror}); "
            "try 127.0.0.1, or 0.0.0.0 for every network"
        ) from None
    except OSError as error:
        raise InputError(f"cannot listen on {host}:{port}: {_load_error(error)}") from None


def _load_error(error: OSError) -> str:
    return {
        errno.EADDRINUSE: "the port is in use; choose another with --port, or 0 for any free one",
        errno.EACCES: "ports below 1024 need more rights; choose another with --port",
        errno.EADDRNOTAVAIL: "not an address of this machine; try --host 127.0.0.1",
    }.get(error.errno or 0, str(error))


def address(listener: socket.socket) -> str:
    """Return the server's URL, with a loopback address if it listens on all interfaces."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
