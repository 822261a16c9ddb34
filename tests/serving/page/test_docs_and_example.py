"""The API documentation and examples/search_page.html in a browser."""

import functools
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from browsing import serving

from genir.retriever import Retriever
from genir.serving.app import create_app
from genir.serving.settings import Settings

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.fixture
def page(browser):
    """Yield a page whose console and failed requests must stay empty."""
    context = browser.new_context()
    page, problems = context.new_page(), []
    page.on("console", lambda one: problems.append(one.text) if one.type == "error" else None)
    page.on("requestfailed", lambda one: problems.append(one.url))
    yield page
    context.close()
    assert problems == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_api_documentation_is_accessible(page, open_address, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page.emulate_media(color_scheme=scheme)
    page.goto(f"{open_address}/docs")
    assert page.locator("h1").inner_text().startswith("genir API")
    page.click("nav a >> nth=0")
    found = axe.Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    assert [one["id"] for one in found if one["impact"] in ("serious", "critical")] == []


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_the_example_page_searches_from_another_origin(page, folder):
    handler = functools.partial(QuietHandler, directory=EXAMPLES)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as files:
        threading.Thread(target=files.serve_forever, daemon=True).start()
        origin = f"http://127.0.0.1:{files.server_address[1]}"
        app = create_app(Retriever.load(folder), settings=Settings(cors=[origin]), loopback=True)
        with serving(app) as address:
            page.goto(f"{origin}/search_page.html?server={address}")
            page.fill("#query", "clone a text")
            page.press("#query", "Enter")
            page.wait_for_selector("#hits li")
            assert page.locator("#hits li").count() == 10
            first = page.locator("#hits a >> nth=0")
            assert first.get_attribute("href").startswith("https://docs.example.org/")
        files.shutdown()
