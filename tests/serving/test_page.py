"""The search page in a real browser: Debian's Chromium, driven by Playwright.

Pictures for the documentation, of any running server (`python serve.py MODEL`):

    GENIR_PAGE=http://127.0.0.1:8000 GENIR_PICTURES=docs/images pytest tests/serving -k pictures
"""

import os
import re
import shutil
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn

from genir.serving.app import create_app
from genir.serving.server import claim

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
PHONE = {"width": 390, "height": 844}
QUESTION = "copy a directory tree"

pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="no Chromium here; on Debian: apt-get install chromium"
)


@contextmanager
def serving(app):
    """Run the application on a free port, and yield its address."""
    with claim("127.0.0.1", 0) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright; pip install it")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=BROWSER, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def address(client):
    with serving(client.app) as address:
        yield address


@pytest.fixture
def page(browser, address):
    """Open the page; whatever it logs as an error (a breach of its CSP, say) fails the test."""
    page = browser.new_page(viewport=DESK, base_url=address, color_scheme="light")
    page.set_default_timeout(5_000)
    complaints, foreign = [], []
    page.on("console", lambda m: None if harmless(m) else complaints.append(m.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda r: None if expected(r, address) else foreign.append(r.url))
    page.goto("/")
    yield page
    page.close()
    assert complaints == [] and foreign == []


def harmless(message):
    """Tell whether a console line is none of the page's own doing (a test cut the connection)."""
    return message.type != "error" or "net::ERR_FAILED" in message.text


def expected(request, address):
    return request.url.startswith(address) or request.is_navigation_request()


def answered(page, query):
    """Wait until the page shows the results of this query, not of a half of it."""
    page.wait_for_selector(f'#results[data-query="{query}"] .hit')


def titles(page):
    return page.locator("#results .target").all_inner_texts()


def focused(page):
    return page.evaluate("document.activeElement.id || document.activeElement.textContent")


def test_results_come_while_typing_and_the_address_can_be_shared(page):
    assert focused(page) == "query"
    page.keyboard.type("keep sorted list", delay=5)
    answered(page, "keep sorted list")
    assert titles(page)[0] == "bisect.insort"
    assert re.fullmatch(
        r"\d+ of 13 documents in [\d.]+ ms.*no index consulted.*", page.inner_text("#status")
    )
    marked = page.locator(".hit").first.locator("mark").all_inner_texts()
    assert {word.lower() for word in marked} == {"sorted", "list", "keep"}
    assert page.locator(".hit .identifier").first.inner_text().endswith("30-30-6")
    assert page.url.endswith("?q=keep+sorted+list")
    page.goto(page.url)
    answered(page, "keep sorted list")
    assert page.input_value("#query") == "keep sorted list"


def test_the_keyboard_is_enough(page):
    page.click("#theme")
    page.keyboard.press("/")
    page.keyboard.type(QUESTION)
    answered(page, QUESTION)
    page.keyboard.press("ArrowDown")
    assert focused(page) == "shutil.copytree"
    page.keyboard.press("ArrowDown")
    assert focused(page) == titles(page)[1]
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    assert focused(page) == "query"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Escape")
    assert focused(page) == "query" and page.input_value("#query") == ""
    page.wait_for_selector(".hero:visible")
    assert titles(page) == [] and page.url.endswith("/")


def test_enter_opens_the_result(page):
    page.route("https://docs.python.org/**", lambda route: route.fulfill(body="opened"))
    page.keyboard.type(QUESTION)
    answered(page, QUESTION)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url("https://docs.python.org/3/library/shutil.html#shutil.copytree")


def test_the_theme_follows_the_system_until_one_is_chosen(page):
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.emulate_media(color_scheme="dark")
    to_light = page.get_by_role("button", name="Use the light theme")
    to_light.wait_for()  # the browser tells the page of the system's wish a frame later
    assert page.evaluate(ground) != light
    to_light.click()
    assert page.evaluate(ground) == light
    page.reload()
    assert page.evaluate(ground) == light  # the choice outlives the page, and the system's wish


def test_an_example_is_one_click_and_back_returns(page):
    page.get_by_role("button", name="largest items").click()
    answered(page, "largest items")
    assert titles(page)[0] == "heapq.nlargest"
    page.go_back()
    page.wait_for_selector(".hero:visible")
    assert page.input_value("#query") == ""


def test_markup_in_a_document_stays_text_and_only_web_addresses_are_links(page):
    page.fill("#query", "hostile markup")
    answered(page, "hostile markup")
    assert titles(page)[0] == "<b>bold</b> & 'quoted'"
    assert "<script>alert('snippet')</script>" in page.locator(".snippet").first.inner_text()
    assert page.locator(".hit").first.locator("a, script, b, img").count() == 0


def test_the_keyboard_keeps_its_place_when_newer_results_arrive(page):
    page.fill("#query", "keep sorted")
    answered(page, "keep sorted")
    held = []
    page.route("**/search", lambda route: held.append(route))  # playwright takes no builtin
    with page.expect_request("**/search"):
        page.fill("#query", "delete directory")
    page.keyboard.press("ArrowDown")
    assert focused(page) == "bisect.insort"
    held[0].continue_()
    answered(page, "delete directory")
    assert focused(page) == "shutil.rmtree"


def test_nothing_found_says_so(page):
    page.fill("#query", "zzz")
    page.wait_for_selector("#notice:visible")
    assert "zzz" in page.inner_text("#notice") and page.inner_text("#status") == "No results"


def test_an_error_shows_its_reason_and_can_be_tried_again(page):
    page.route("**/search", lambda route: route.abort())
    page.fill("#query", "copy")
    page.wait_for_selector("#notice:visible")
    assert "does not answer" in page.inner_text("#notice")
    page.unroute("**/search")
    page.get_by_role("button", name="Try again").click()
    answered(page, "copy")


def test_a_late_answer_to_an_old_query_is_dropped(page):
    held = []
    page.route(
        "**/search", lambda r: held.append(r) if "sorted" in r.request.post_data else r.continue_()
    )
    page.fill("#query", "keep sorted")
    page.wait_for_selector(".skeleton")
    page.fill("#query", "delete directory")
    answered(page, "delete directory")
    assert titles(page)[0] == "shutil.rmtree" and len(held) == 1
    assert page.url.endswith("?q=delete+directory")


def test_while_the_model_loads_the_page_waits_and_then_answers(browser, searcher):
    app = create_app()
    with serving(app) as address:
        page = browser.new_page(viewport=DESK, base_url=address)
        page.goto("/?q=delete+directory")
        page.wait_for_selector("text=still loading")
        app.state.service.load(lambda: searcher).result()
        answered(page, "delete directory")
        assert titles(page)[0] == "shutil.rmtree"
        page.close()


def test_no_width_scrolls_sideways(page):
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    page.fill("#query", "copy a directory tree " + "x" * 300)
    page.wait_for_selector(".hit:not(.skeleton)")
    for query in (page.input_value("#query"), ""):
        page.fill("#query", query)
        page.wait_for_selector(".hero", state="hidden" if query else "visible")
        for width in (320, 390, 768, 1180):
            page.set_viewport_size({"width": width, "height": 700})
            assert page.evaluate(overflow) == 0, f"{width} wide, query {query!r:.9}"


def test_pictures(browser, request, tmp_path):
    """Save the page as it looks in light, in dark and on a phone."""
    folder = Path(os.environ.get("GENIR_PICTURES", tmp_path))
    address = os.environ.get("GENIR_PAGE") or request.getfixturevalue("address")
    looks = {
        "start": {"viewport": DESK, "color_scheme": "light"},
        "light": {"viewport": DESK, "color_scheme": "light"},
        "dark": {"viewport": DESK, "color_scheme": "dark"},
        "phone": {"viewport": PHONE, "color_scheme": "light", "has_touch": True,
                  "is_mobile": True},
    }  # fmt: skip
    sizes = {look: picture(browser, address, folder, look, o) for look, o in looks.items()}
    assert min(sizes.values()) > 20_000


def picture(browser, address, folder, look, options):
    """Take the picture of one look, and return its bytes."""
    scale = 2 if "GENIR_PICTURES" in os.environ else 1
    page = browser.new_page(base_url=address, device_scale_factor=scale, **options)
    page.goto("/")
    page.wait_for_selector(".example")
    if look != "start":
        page.locator(".example").first.click()
        page.wait_for_selector(".hit:not(.skeleton)")
        page.keyboard.press("ArrowDown")
        page.mouse.move(0, 0)
    path = folder / f"search-page-{look}.png"
    page.screenshot(path=path)
    page.close()
    return path.stat().st_size
