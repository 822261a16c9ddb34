"""The search dialog on sites of another origin, under a strict content security policy."""

import os
import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from browsing import DESK, serving, until

from genir.retriever import Retriever
from genir.serving.app import create_app
from genir.serving.settings import Settings
from genir.serving.tokens import TokenSpec, new_token

TOP = Path(__file__).parents[3]
EXAMPLE = TOP / "examples" / "mkdocs-widget"
QUESTION = "clone a text"
PHONE = {"width": 390, "height": 844}
STEP = " \N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK} "
CSP = "default-src 'none'; style-src 'self'; img-src data:; script-src {0}; connect-src {0}"
ROOT = "document.getElementById('genir-search').shadowRoot"
HTML = """<!doctype html><html lang="en"><meta charset="utf-8"><title>A site</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="style.css"><link rel="icon" href="data:,">
<script src="{server}/widget.js" {options} defer></script>
<main><h1>A site</h1><button class="finder">Find</button></main></html>"""
STYLE = ":root { color-scheme: light dark; } body { min-height: 200vh; }"


class Site(SimpleHTTPRequestHandler):
    """A static site whose pages load scripts from themselves and from the search server only."""

    policy = ""

    def end_headers(self):
        if self.policy:
            self.send_header("Content-Security-Policy", self.policy)
        super().end_headers()

    def log_message(self, *_):
        """Keep quiet."""


@contextmanager
def site(folder):
    """Serve a folder; yield its origin."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Site, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join(10)


@pytest.fixture
def origin(tmp_path):
    """Yield the origin of an empty site."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "style.css").write_text(STYLE)
    with site(tmp_path / "site") as origin:
        yield origin


@pytest.fixture
def token(tmp_path):
    """Return a read token for the model of the server."""
    return new_token(tmp_path / "tokens.json", TokenSpec("site", model="tiny"))


@pytest.fixture
def server(folder, token, origin, tmp_path):
    """Yield the address of a private server that answers pages of the site."""
    settings = Settings(tokens=tmp_path / "tokens.json", cors=(origin,))
    with serving(create_app(Retriever.load(folder), (), settings)) as address:
        yield address


@pytest.fixture
def visit(browser, origin, server, tmp_path, monkeypatch):
    """Return a function that opens the site's page with options of the widget."""
    pages = []
    monkeypatch.setattr(Site, "policy", CSP.format(server))

    def open_page(options, **looks):
        html = HTML.format(server=server, options=options)
        (tmp_path / "site" / "index.html").write_text(html)
        page = browser.new_page(**({"viewport": DESK, "color_scheme": "light"} | looks))
        page.set_default_timeout(30_000)
        complaints = []
        page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(origin)
        until(page, "Boolean(document.getElementById('genir-search'))")
        pages.append((page, complaints))
        return page

    yield open_page
    for page, complaints in pages:
        page.close()
        assert [text for text in complaints if "status of 40" not in text] == []


def ask(page, query=QUESTION):
    page.keyboard.press("Control+k")
    page.get_by_role("combobox").fill(query)
    page.wait_for_selector("#genir-search .hit")
    until(page, f"{ROOT}.querySelector('.status').textContent.includes('result')")


def selected(page):
    """Return the number of the selected option by the combobox, and by the options."""
    active = page.get_by_role("combobox").get_attribute("aria-activedescendant")
    marked = page.locator(".hit[aria-selected=true]").evaluate_all("all => all.map((x) => x.id)")
    assert marked == [active]
    return int(active.removeprefix("hit-"))


def test_the_keyboard_alone_finds_and_opens_a_page(visit, token, server):
    page = visit(f'data-token="{token}"')
    ask(page)
    hits = page.request.post(
        f"{server}/v1/search",
        data={"query": QUESTION, "k": 8},
        headers={"Authorization": f"Bearer {token}"},
    ).json()["hits"]
    titles = page.locator(".hit b").all_inner_texts()
    assert titles == [hit["title"] for hit in hits]
    steps = hits[0]["url"].partition("org/")[2].split("/")
    assert page.locator(".hit small").first.inner_text() == STEP.join(steps)
    box = page.get_by_role("combobox")
    assert box.get_attribute("aria-expanded") == "true" and selected(page) == 0
    page.keyboard.press("ArrowUp")
    assert selected(page) == 7
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert selected(page) == 1
    page.route("https://docs.example.org/**", lambda route: route.fulfill(body="opened"))
    page.keyboard.press("Enter")
    page.wait_for_url(hits[1]["url"])


def test_escape_closes_and_the_query_is_kept(visit, token):
    page = visit(f'data-token="{token}"')
    ask(page)
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="hidden")
    page.get_by_role("button", name="Search").click()
    assert page.get_by_role("combobox").input_value() == QUESTION
    page.get_by_role("button", name="Close").click()
    page.get_by_role("dialog").wait_for(state="hidden")
    page.keyboard.press("Meta+k")
    page.get_by_role("dialog", name="Search").wait_for()


def test_own_buttons_of_the_site_can_open_it(visit, token):
    page = visit(f'data-token="{token}" data-trigger=".finder" data-label="Find a page"')
    assert page.get_by_role("button", name="Find a page").count() == 0
    page.click(".finder")
    page.get_by_role("dialog", name="Find a page").wait_for()


def test_keys_in_the_dialog_do_not_reach_the_site(visit, token):
    page = visit(f'data-token="{token}"')
    page.evaluate("window.heard = []; addEventListener('keydown', ({ key }) => heard.push(key))")
    page.keyboard.press("Control+k")
    page.keyboard.type("s/f")
    assert page.get_by_role("combobox").input_value() == "s/f"
    assert page.evaluate("heard.filter((key) => 's/f'.includes(key))") == []


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (None, "send a token"),
        (TokenSpec("other", model="another"), "is for the model 'another'"),
        (TokenSpec("scoped", where={"verb": "copy"}, model="tiny"), "5 results"),
    ],
)
def test_the_token_decides_what_is_found(visit, spec, message, tmp_path):
    secret = "" if spec is None else new_token(tmp_path / "tokens.json", spec)
    page = visit(f'data-token="{secret}"')
    page.keyboard.press("Control+k")
    page.get_by_role("combobox").fill(QUESTION)
    until(page, f"{ROOT}.querySelector('.status').textContent.includes(`{message}`)")


def test_a_site_that_the_server_does_not_name_gets_no_answer(
    browser, folder, token, origin, tmp_path
):
    settings = Settings(tokens=tmp_path / "tokens.json", cors=("https://other.example.org",))
    with serving(create_app(Retriever.load(folder), (), settings)) as address:
        html = HTML.format(server=address, options=f'data-token="{token}"')
        (tmp_path / "site" / "index.html").write_text(html)
        page = browser.new_page()
        page.goto(origin)
        page.keyboard.press("Control+k")
        page.get_by_role("combobox").fill(QUESTION)
        until(page, f"{ROOT}.querySelector('.status').textContent.includes('does not answer')")
        page.close()


def test_markup_stays_text_and_only_web_addresses_are_links(visit, token, server):
    page = visit(f'data-token="{token}"')
    hit = {"key": "k", "title": "<b>bold</b>", "url": "javascript:alert(1)", "snippet": "<i>x</i>"}
    other = {"key": "a/b", "title": "", "url": "", "snippet": "", "breadcrumb": ["A", "B"]}
    reply = {"hits": [hit, other], "confidence": 0.1}
    page.route("**/v1/search", lambda route: route.fulfill(json=reply, headers=CORS))
    ask(page)
    assert page.locator(".hit b").all_inner_texts() == ["<b>bold</b>", "a/b"]
    assert page.locator("#hit-0 i").count() == 0
    for place, path in enumerate(("/documents/k", "/documents/a/b")):
        assert page.get_attribute(f"#hit-{place}", "href") == f"{server}{path}"
    assert page.inner_text("#hit-1 small") == f"A{STEP}B"
    assert "Nothing fits well" in page.inner_text("#genir-search .status")


CORS = {"Access-Control-Allow-Origin": "*"}


def colour(page, selector, name):
    return page.locator(selector).evaluate(f"(one) => getComputedStyle(one).{name}")


def test_it_follows_the_page_s_colour_scheme_and_takes_the_site_s_colours(visit, token):
    page = visit(f'data-token="{token}" data-accent="rgb(170, 0, 90)"')
    ask(page)
    light = colour(page, "dialog", "backgroundColor")
    assert "rgb(170, 0, 90)" in colour(page, ".hit mark >> nth=0", "textDecoration")
    page.emulate_media(color_scheme="dark")
    until(page, f"getComputedStyle({ROOT}.querySelector('dialog')).backgroundColor !== '{light}'")
    page.evaluate(
        "document.documentElement.style.setProperty('--genir-background', 'rgb(1, 2, 3)')"
    )
    assert colour(page, "dialog", "backgroundColor") == "rgb(1, 2, 3)"
    fixed = visit(f'data-token="{token}" data-theme="light"', color_scheme="dark")
    fixed.keyboard.press("Control+k")
    assert colour(fixed, "dialog", "backgroundColor") == light


def test_on_a_phone_the_dialog_fills_the_screen(visit, token):
    page = visit(f'data-token="{token}"', viewport=PHONE, has_touch=True, is_mobile=True)
    page.get_by_role("button", name="Search").tap()
    page.get_by_role("combobox").fill(QUESTION)
    page.wait_for_selector("#genir-search .hit")
    box = page.locator("dialog").bounding_box()
    assert (box["x"], box["y"], box["width"], box["height"]) == (0, 0, 390, 844)
    wide = f"{ROOT}.querySelector('dialog').scrollWidth > 390"
    assert not page.evaluate(wide)
    assert page.evaluate("document.documentElement.scrollWidth") == 390


@pytest.mark.parametrize("looks", [{}, {"color_scheme": "dark"}, {"viewport": PHONE}], ids=str)
def test_axe_finds_nothing_serious(visit, token, looks):
    from test_page_axe import findings

    page = visit(f'data-token="{token}"', **looks)
    assert findings(page) == {}
    ask(page)
    assert findings(page) == {}
    page.evaluate(f"{ROOT}.querySelector('input').removeAttribute('aria-label')")
    page.evaluate(f"{ROOT}.querySelector('input').removeAttribute('placeholder')")
    assert findings(page) != {}  # a fault would be found


def test_the_mkdocs_example_has_the_dialog(browser, folder, token, tmp_path):
    """Build the site of examples/, index nothing of it, and search from it."""
    pytest.importorskip("material", reason="no mkdocs-material; pip install genir[dev]")
    (tmp_path / "built").mkdir()
    with site(tmp_path / "built") as origin:
        settings = Settings(tokens=tmp_path / "tokens.json", cors=(origin,))
        with serving(create_app(Retriever.load(folder), (), settings)) as address:
            build(tmp_path / "built", {"GENIR_SERVER": address, "GENIR_TOKEN": token})
            page = browser.new_page(viewport=DESK)
            page.goto(f"{origin}/install.html")
            page.keyboard.press("Control+k")
            page.get_by_role("dialog", name="Search Kettle").wait_for()
            page.get_by_role("combobox").fill(QUESTION)
            page.wait_for_selector("#genir-search .hit")
            light = colour(page, "dialog", "backgroundColor")
            page.keyboard.press("Escape")
            page.locator("label[for=__palette_1]").click()  # the site's own dark theme
            dark = f"getComputedStyle({ROOT}.querySelector('dialog')).backgroundColor !== '{light}'"
            until(page, dark)
            page.close()


def build(folder, environment):
    copy = shutil.copytree(EXAMPLE, folder.parent / "example")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-f",
               str(copy / "mkdocs.yml"), "-d", str(folder), "--dirty"]  # fmt: skip
    given = os.environ | environment | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, env=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
