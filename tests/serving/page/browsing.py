"""Helpers that open the page in a browser and read its state."""

import shutil
import threading
from contextlib import contextmanager
from time import monotonic

import uvicorn

from genir.serving.server import bind

BROWSER = shutil.which("chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DESK = {"width": 1180, "height": 860}
OVERFLOW = "document.documentElement.scrollWidth - document.body.offsetWidth"
"""Pixels by which the page scrolls sideways; the body has the width without the scrollbar."""


@contextmanager
def serving(app):
    """Run the application on a free port, and yield its address."""
    with bind("127.0.0.1", 0) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(10)


@contextmanager
def opened(browser, address, allowed=(), **options):
    """Open the page; any error on its console, for example a CSP violation, fails the test.

    allowed: HTTP status codes that the test provokes.
    """
    options = {"viewport": DESK, "color_scheme": "light"} | options
    page = browser.new_page(base_url=address, **options)
    page.set_default_timeout(30_000)  # generous, for busy machines
    complaints, foreign = [], []
    page.on("console", lambda m: None if harmless(m, allowed) else complaints.append(m.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda r: None if expected(r, address) else foreign.append(r.url))
    page.goto("/")
    yield page
    page.close()
    assert complaints == [] and foreign == []


def harmless(message, allowed):
    """Return whether a console line is expected: the test itself cut the connection."""
    provoked = ("net::ERR_FAILED", *(f"status of {status}" for status in allowed))
    return message.type != "error" or any(text in message.text for text in provoked)


def expected(request, address):
    return request.url.startswith(address) or request.is_navigation_request()


def answered(page, query):
    """Wait until the page shows the results of the whole query, not of a prefix."""
    page.wait_for_selector(f'#results[data-query="{query}"] .hit')


def until(page, expression, patience=8.0):
    """Poll until a JavaScript expression is true; the CSP blocks Playwright's wait_for_function."""
    end = monotonic() + patience
    while not page.evaluate(expression):
        assert monotonic() < end, f"still not so: {expression}"
        page.wait_for_timeout(30)


def ask(page, query):
    page.fill("#query", query)
    answered(page, query)


def titles(page):
    return page.locator("#results .target").all_inner_texts()


def focused(page):
    return page.evaluate("document.activeElement.id || document.activeElement.textContent")
