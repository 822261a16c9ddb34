"""Documents without a URL open on a page of the server, in a browser."""

import pytest
from browsing import ask, opened

RECORD = {
    "_id": "guide/turn a.md",
    "title": "Turn <b>a</b> picture",
    "text": "Rotate it.\n\n  $ turn 90",
    "lang": "en",
}


def add(page, secret=None, **fields):
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    reply = page.request.post("/v1/documents", data={"document": RECORD | fields}, headers=headers)
    assert reply.status == 201


def first_hit(page):
    """Search for the record and return its link."""
    ask(page, "turn a picture rotate")
    return page.locator("#results .target", has_text="Turn <b>a</b> picture")


def test_a_hit_without_a_url_opens_its_document(tiny_page):
    add(tiny_page, links=[{"start": 0, "end": 6, "target": "copy-file"}])
    first_hit(tiny_page).click()
    tiny_page.wait_for_url("**/documents/guide/turn%20a.md")
    assert tiny_page.locator("h1").inner_text() == RECORD["title"]
    assert tiny_page.locator("article").inner_text() == RECORD["text"]
    assert tiny_page.locator("article").evaluate("one => getComputedStyle(one).whiteSpace") in (
        "pre-wrap",
        "break-spaces",
    )
    tiny_page.get_by_role("link", name="Rotate").click()
    tiny_page.wait_for_url("**/documents/copy-file")
    tiny_page.get_by_role("link", name="Search").click()
    tiny_page.wait_for_selector("#query")


def test_the_page_of_a_document_is_accessible_and_fits_a_phone(browser, open_address):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    for scheme in ("light", "dark"):
        options = {"viewport": {"width": 360, "height": 700}, "color_scheme": scheme}
        with opened(browser, open_address, bypass_csp=True, **options) as page:
            page.goto("/documents/copy-file")
            found = axe.run(page).response["violations"]
            assert [one["id"] for one in found] == []
            assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_a_private_document_opens_with_the_token_of_the_tab(browser, guarded_address, secrets):
    with opened(browser, guarded_address, allowed=(401,)) as page:
        page.goto("/documents/copy-file")
        assert page.locator("article").count() == 0
        page.get_by_label("Token").fill("wrong")
        page.get_by_role("button", name="Open").click()
        page.get_by_text("unknown bearer token").wait_for()
        page.get_by_label("Token").fill(secrets["read"])
        page.get_by_role("button", name="Open").click()
        page.wait_for_selector("article")
        page.goto("/documents/copy-disk")  # the token is kept
        page.wait_for_selector("article")
        assert page.locator("input").count() == 0 and page.title() == "copy disk"
