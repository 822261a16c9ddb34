"""Title and logo, stable layout, phone widths, and the time to the first painted result."""

import statistics

import pytest
from browsing import OVERFLOW, answered, ask, opened, serving, until

from genir.retriever import Retriever
from genir.serving.app import create_app
from genir.serving.settings import Settings

QUESTION = "clone a text"
PHONE = {"width": 390, "height": 844}
LOGO = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="20" viewBox="0 0 40 20">'
    "<style>rect{fill:#36c}</style><rect width='40' height='20'/></svg>"
)
MAX_PAINT_MS = 300
MAX_ASSETS_BYTES = 120_000


def look(page, view):
    page.click(f"#views [data-view={view}]")
    page.wait_for_selector(f"#{view}-view:visible:not([aria-busy]) :is(button.leaf, .row, .hit)")


def test_the_site_s_own_title_and_logo(browser, searcher, tmp_path):
    (tmp_path / "logo.svg").write_text(LOGO)
    settings = Settings(title="Acme <docs>", logo=tmp_path / "logo.svg")
    app = create_app(searcher, settings=settings)
    with serving(app) as address, opened(browser, address) as page:
        assert page.title() == "Acme <docs>"
        assert page.inner_text(".brand") == "Acme <docs>"
        until(page, "document.querySelector('.logo').naturalWidth === 40")
        page.fill("#query", "copy")
        answered(page, "copy")
        assert page.title() == "copy · Acme <docs>"
        assert "genir" not in page.inner_text("body")


def boxes(page, *selectors):
    return [page.locator(one).bounding_box() for one in selectors]


def test_nothing_above_the_results_moves_between_views(tiny_page):
    top = (".top", "#form")
    start = boxes(tiny_page, *top)
    ask(tiny_page, QUESTION)
    above = (*top, "#views", "#filters", "#status")
    placed = boxes(tiny_page, *above)
    assert placed[:2] == start
    for view in ("reason", "compare", "results"):
        look(tiny_page, view)
        assert boxes(tiny_page, *above) == placed, view
    tiny_page.route("**/v1/search", lambda route: route.fulfill(json={"hits": [], "took_ms": 1}))
    tiny_page.fill("#query", "nothing")
    tiny_page.wait_for_selector("#notice:visible")
    assert boxes(tiny_page, *above) == placed


def test_every_filter_menu_fits_the_window(tiny_page):
    ask(tiny_page, QUESTION)
    for width in (320, 390, 640, 768, 1180):
        tiny_page.set_viewport_size({"width": width, "height": 700})
        for summary in tiny_page.locator(".filter summary").all():
            summary.click()
            box = tiny_page.locator(".filter[open] .panel").bounding_box()
            assert box["x"] >= 0 and box["x"] + box["width"] <= width, (width, box)
            assert box["y"] >= 0 and box["y"] + box["height"] <= 700, (width, box)
            tiny_page.keyboard.press("Escape")
        assert tiny_page.evaluate(OVERFLOW) == 0


def test_a_filter_can_be_chosen_on_a_phone(browser, open_address):
    options = {"viewport": PHONE, "has_touch": True, "is_mobile": True}
    with opened(browser, open_address, **options) as page:
        ask(page, QUESTION)
        page.locator(".filter summary", has_text="verb").tap()
        page.locator(".filter[open] .check", has_text="watch").tap()
        until(page, "document.querySelectorAll('.hit').length === 5")
        page.touchscreen.tap(195, 60)  # outside of the menu
        until(page, "!document.querySelector('.filter[open]')")


def test_the_comparison_has_tabs_on_a_phone(tiny_page):
    ask(tiny_page, QUESTION)
    look(tiny_page, "compare")
    assert tiny_page.get_by_role("tab").count() == 0
    assert tiny_page.locator(".column:visible").count() == 2
    tiny_page.set_viewport_size(PHONE)
    until(tiny_page, "document.querySelector('#column-bm25').hidden")
    tiny_page.get_by_role("tab", name="BM25").click()
    assert tiny_page.get_by_role("tabpanel", name="BM25").is_visible()
    assert tiny_page.locator(".column:visible").count() == 1
    tiny_page.reload()
    tiny_page.wait_for_selector("#column-bm25 .row")
    assert tiny_page.locator("#column-genir").is_hidden()
    tiny_page.get_by_role("tab", name="BM25").press("ArrowLeft")
    assert tiny_page.get_by_role("tabpanel", name="genir").is_visible()
    assert tiny_page.evaluate("document.activeElement.id") == "tab-genir"


PAINTED = """
const watch = new MutationObserver(() => {
  if (!document.querySelector('.hit:not(.skeleton)')) return;
  watch.disconnect();
  requestAnimationFrame(() => setTimeout(() => { window.painted = performance.now(); }));
});
watch.observe(document, { childList: true, subtree: true });
"""
"""Script that notes the time after the frame with the first result."""
DELAY = """painted - performance.getEntriesByType('resource')
    .find(({ name }) => name.endsWith('/v1/search')).responseEnd"""


def test_the_first_result_is_painted_soon_and_the_assets_are_small(browser, open_address):
    delays, sizes = [], {}
    for _ in range(5):
        page = browser.new_page(base_url=open_address)
        page.add_init_script(PAINTED)
        page.on("response", lambda reply: sizes.setdefault(reply.url, len(reply.body())))
        page.goto(f"/?q={QUESTION}")
        until(page, "window.painted > 0")
        delays.append(page.evaluate(DELAY))
        page.close()
    assert 0 < statistics.median(delays) < MAX_PAINT_MS, delays
    assets = {url: size for url, size in sizes.items() if "/v1/" not in url}
    assert len(assets) > 15 and sum(assets.values()) < MAX_ASSETS_BYTES, assets


@pytest.fixture
def flat_page(browser, tiny_folder):
    """Yield the page of a model whose identifiers have one level."""
    app = create_app(Retriever.load(tiny_folder("atomic")), loopback=True)
    with serving(app) as address, opened(browser, address) as page:
        yield page


def test_identifiers_of_one_level_have_no_tree(flat_page):
    ask(flat_page, QUESTION)
    look(flat_page, "reason")
    assert flat_page.locator(".passage .snippet").is_visible()
    assert flat_page.locator(".scroller, .levels").count() == 0
    flat_page.get_by_role("button", name="3 ").click()
    third = flat_page.locator(".others .leaf").nth(2)
    assert third.get_attribute("aria-pressed") == "true"
    assert third.inner_text().partition(" ")[2] in flat_page.inner_text(".headline h2")
    assert flat_page.evaluate("document.activeElement.dataset.rank") == "3"
