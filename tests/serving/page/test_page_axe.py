"""axe finds no serious violation in any view, in both themes and on a phone."""

import pytest
from browsing import ask, opened

axe = pytest.importorskip(
    "axe_playwright_python.sync_playwright", reason="no axe; pip install axe-playwright-python"
)

QUESTION = "clone a text"
PHONE = {"width": 390, "height": 844}
TRANSITION_MS = 250
STATES = {
    "start": lambda page: page.wait_for_selector(".example"),
    "results": lambda page: ask(page, QUESTION),
    "filter": lambda page: (ask(page, QUESTION), page.click(".filter summary >> nth=0")),
    "reason": lambda page: show(page, "reason", "button.leaf"),
    "everything": lambda page: everything(page),
    "compare": lambda page: show(page, "compare", ".row"),
    "empty": lambda page: empty(page),
    "menu": lambda page: page.click("#menu > summary"),
    "hit menu": lambda page: (ask(page, QUESTION), page.click(".hit .menu summary >> nth=1")),
    "add": lambda page: press(page, "#menu", "#add"),
    "delete": lambda page: (ask(page, QUESTION), press(page, ".hit .menu", "[class=panel] button")),
    "keys": lambda page: press(page, "#menu", "#help"),
}
PHONE_STATES = ("results", "filter", "reason", "compare", "menu", "add")
"""States whose layout is different on a narrow screen."""


def press(page, menu, button):
    page.click(f"{menu} > summary >> nth=0")
    page.click(f"{menu}[open] {button} >> nth=0")


def show(page, view, part):
    ask(page, QUESTION)
    page.click(f"#views [data-view={view}]")
    page.wait_for_selector(f"#{view}-view:not([aria-busy]) {part}")


def everything(page):
    show(page, "reason", "button.leaf")
    page.get_by_role("checkbox", name="pruned", exact=True).check()


def empty(page):
    page.route("**/v1/search", lambda route: route.fulfill(json={"hits": [], "took_ms": 1}))
    page.fill("#query", QUESTION)
    page.wait_for_selector("#notice:visible")


def findings(page):
    """Return the serious and critical violations: rule -> elements."""
    found = axe.Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return {
        one["id"]: [node["target"] for node in one["nodes"]]
        for one in found
        if one["impact"] in ("serious", "critical")
    }


@pytest.mark.parametrize("state", STATES)
def test_nothing_serious_is_found(browser, open_address, state):
    with opened(browser, open_address, color_scheme="light") as page:
        STATES[state](page)
        assert findings(page) == {}, "light"
        page.emulate_media(color_scheme="dark")
        page.wait_for_timeout(TRANSITION_MS)
        assert findings(page) == {}, "dark"


@pytest.mark.parametrize("state", PHONE_STATES)
def test_nothing_serious_is_found_on_a_phone(browser, open_address, state):
    with opened(browser, open_address, viewport=PHONE, color_scheme="dark") as page:
        STATES[state](page)
        assert findings(page) == {}


def test_a_fault_would_be_found(browser, open_address):
    with opened(browser, open_address) as page:
        page.evaluate("document.querySelector('#query').removeAttribute('placeholder')")
        page.evaluate("document.querySelector('label[for=query]').remove()")
        assert "label" in findings(page)
