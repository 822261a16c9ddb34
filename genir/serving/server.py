"""From a model folder to a running server. The application itself is in `app.py`."""

import errno
import socket
import webbrowser
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path

import uvicorn
from rich.console import Console

from genir.errors import InputError
from genir.serving.app import create_app
from genir.serving.service import Served


def serve(
    folder: Path,
    host: str = "127.0.0.1",
    port: int = 8000,
    open_browser: bool = False,
    examples: Sequence[str] = (),
) -> None:
    """Serve a model folder until Ctrl-C; `examples` are the queries that the page offers.

    Raises InputError for a port or host that cannot be had, and for a bad model folder.
    """

    def load() -> Served:
        from genir.retriever import Retriever  # brings torch: the server should not wait for it

        return Retriever.load(folder)

    with claim(host, port) as listener:
        run(load, listener, folder.name, examples, open_browser)


def run(
    load: Callable[[], Served],
    listener: socket.socket,
    name: str,
    examples: Sequence[str] = (),
    open_browser: bool = False,
) -> None:
    """Serve what `load` returns on a bound socket until Ctrl-C. Raises what `load` raises.

    The server lives (and says so on /healthz) while it loads; /readyz says when it can answer.
    """
    app = create_app(examples=examples)
    server = uvicorn.Server(
        uvicorn.Config(app, log_level="warning", ws="none", timeout_graceful_shutdown=5)
    )
    console = Console(stderr=True)
    status = console.status(f"Loading {name}")
    status.start()

    def finish(loading: Future[None]) -> None:
        status.stop()
        if loading.cancelled() or loading.exception():
            server.should_exit = True
            return
        console.print(f"{name} answers at {address(listener)}  (Ctrl-C stops it)", markup=False)
        if open_browser:
            webbrowser.open(address(listener))

    loading = app.state.service.load(load)
    loading.add_done_callback(finish)
    with suppress(KeyboardInterrupt):
        server.run(sockets=[listener])
    status.stop()
    if loading.done() and not loading.cancelled():
        loading.result()  # raises what stopped it from loading


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
