"""The URL holds the page's state; facets within the query; keys do not write into the box."""

import pytest
from browsing import answered, ask, focused, titles, until

QUESTION = "clone a text"


def parameter(page, name):
    return page.evaluate(f"new URLSearchParams(location.search).get('{name}')")


def wait_for_reason(page, title):
    page.wait_for_selector(f"#reason-view:visible:not([aria-busy]) h2:has-text('Why “{title}”?')")


# --- the URL -----------------------------------------------------------------------------------


def test_the_explained_hit_and_the_number_of_results_are_in_the_url(tiny_page):
    ask(tiny_page, QUESTION)
    tiny_page.get_by_role("button", name="More results").click()
    until(tiny_page, "document.querySelectorAll('.hit').length === 20")
    assert parameter(tiny_page, "n") == "20"
    title = titles(tiny_page)[14]
    tiny_page.get_by_role("button", name=f"Why {title}?", exact=True).click()
    wait_for_reason(tiny_page, title)
    assert parameter(tiny_page, "hit") == title.replace(" ", "-")
    tiny_page.reload()
    wait_for_reason(tiny_page, title)
    tiny_page.go_back()
    until(tiny_page, "document.querySelectorAll('.hit').length === 20")
    assert parameter(tiny_page, "hit") is None


def test_the_shown_parts_of_the_tree_are_in_the_url(tiny_page):
    ask(tiny_page, QUESTION)
    tiny_page.click("#views [data-view=reason]")
    tiny_page.get_by_role("checkbox", name="pruned", exact=True).check()
    tiny_page.get_by_role("checkbox", name="kept, but not among the results").uncheck()
    assert parameter(tiny_page, "tree") == "pruned"
    tiny_page.reload()
    tiny_page.wait_for_selector("#reason-view:visible button.leaf")
    assert tiny_page.get_by_role("checkbox", name="pruned", exact=True).is_checked()
    assert not tiny_page.get_by_role("checkbox", name="kept, but").is_checked()


def test_a_hit_that_is_not_found_any_more_is_replaced_by_the_first(tiny_page):
    tiny_page.goto(f"/?q={QUESTION}&view=reason&hit=absent&n=9999999")
    first = tiny_page.request.post("/v1/search", data={"query": QUESTION}).json()["hits"][0]
    wait_for_reason(tiny_page, first["title"])
    assert parameter(tiny_page, "hit") == first["key"]


def test_a_new_query_explains_its_first_result(tiny_page):
    ask(tiny_page, QUESTION)
    fourth = titles(tiny_page)[3]
    tiny_page.get_by_role("button", name=f"Why {fourth}?", exact=True).click()
    wait_for_reason(tiny_page, fourth)
    other = "monitor a drive"
    tiny_page.fill("#query", other)
    first = tiny_page.request.post("/v1/search", data={"query": other}).json()["hits"][0]
    wait_for_reason(tiny_page, first["title"])


# --- the reason --------------------------------------------------------------------------------


def test_the_reason_leads_with_matching_words_and_the_passage(page):
    page.route("**/v1/explain?*", lambda route: route.fulfill(json=TREE))
    ask(page, "recursively copy my directories frobnicate")
    page.locator(".hit .why").first.click()
    page.wait_for_selector("#reason-view:visible .words")
    marks = page.locator(".words mark").all_inner_texts()
    assert {"recursively", "copy", "directory"} <= set(marks)
    assert page.inner_text(".words .missing") == "Not in this passage: frobnicate"
    assert "Recursively copy an entire directory tree" in page.inner_text(".passage")
    order = page.locator("#reason-view > *").evaluate_all("all => all.map((one) => one.className)")
    assert order[:4] == ["headline", "words", "passage", "numbers"]


TREE = {"query": "", "beams": 1, "levels": [], "nodes": [], "hits": [], "took_ms": 1}


# --- facets ------------------------------------------------------------------------------------


def counts(page, field):
    """Return the values in a field's menu with their numbers."""
    labels = page.locator(f".filter:has(summary:text-matches('^{field}')) .check").all()
    return {
        one.locator("span").text_content(): int(one.locator("small").text_content())
        for one in labels
    }


def expected(page, field, **body):
    reply = page.request.post("/v1/facets", data={"query": QUESTION} | body).json()
    (values,) = (one["values"] for one in reply["fields"] if one["name"] == field)
    return {str(one["value"]): one["documents"] for one in values}


def test_facets_count_within_the_query_and_totals_within_the_filters(tiny_page):
    with tiny_page.expect_response("**/v1/facets"):
        ask(tiny_page, QUESTION)
    until(tiny_page, "document.querySelector('.filter legend').textContent.includes('best 100')")
    assert tiny_page.inner_text("#status") == "10 of 40 documents"
    assert counts(tiny_page, "verb") == expected(tiny_page, "verb")
    tiny_page.click(".filter summary:text-matches('^verb')")
    tiny_page.locator(".filter[open] .check", has_text="watch").click()
    until(
        tiny_page, "document.querySelector('#status').textContent === '5 of 5 matching documents'"
    )
    where = {"verb": ["watch"]}
    assert counts(tiny_page, "section") == expected(tiny_page, "section", where=where)
    assert sum(counts(tiny_page, "section").values()) == 5
    assert counts(tiny_page, "verb") == expected(tiny_page, "verb")
    assert tiny_page.locator(".filter[open] input:focus").count() == 1  # the menu was not redrawn


def test_results_stay_if_facets_fail(browser, tiny_page):
    tiny_page.route("**/v1/facets", lambda route: route.abort())
    ask(tiny_page, QUESTION)
    until(tiny_page, "document.querySelectorAll('.filter .check').length === 0")
    assert len(titles(tiny_page)) == 10


# --- keys --------------------------------------------------------------------------------------


@pytest.mark.parametrize("keys", ["Control+k", "Meta+k", "/"])
def test_keys_that_focus_the_search_box(tiny_page, keys):
    ask(tiny_page, QUESTION)
    tiny_page.keyboard.press("ArrowDown")
    tiny_page.keyboard.press(keys)
    assert focused(tiny_page) == "query" and tiny_page.input_value("#query") == QUESTION
    assert tiny_page.evaluate("getSelection().toString()") == QUESTION


def test_single_keys_are_not_typed_into_the_box(tiny_page):
    ask(tiny_page, QUESTION)
    assert tiny_page.locator(".letter >> nth=0").is_hidden()  # they would be typed now
    tiny_page.keyboard.press("ArrowDown")
    assert tiny_page.locator(".letter >> nth=0").is_visible()
    tiny_page.route("**/v1/search", lambda route: route.fulfill(json={"hits": [], "took_ms": 1}))
    tiny_page.keyboard.press("c")
    tiny_page.wait_for_selector("#notice:visible")  # there is no result that could be focused
    for key in ("r", "w", "c", "r", "Delete"):
        tiny_page.keyboard.press(key)
    assert focused(tiny_page) != "query" and tiny_page.input_value("#query") == QUESTION


def test_a_shared_search_does_not_focus_the_box(tiny_page):
    tiny_page.goto(f"/?q={QUESTION}")
    answered(tiny_page, QUESTION)
    tiny_page.keyboard.press("w")
    tiny_page.wait_for_selector("#reason-view:visible button.leaf")
    assert tiny_page.input_value("#query") == QUESTION


def test_after_a_deletion_the_next_result_has_the_focus(tiny_page):
    ask(tiny_page, QUESTION)
    second = titles(tiny_page)[1]
    tiny_page.keyboard.press("ArrowDown")
    tiny_page.keyboard.press("Delete")
    tiny_page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    until(tiny_page, f"document.activeElement.textContent === '{second}'")
