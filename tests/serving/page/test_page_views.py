"""Filters, beam tree and comparison on a real model."""

import json
import re

import pytest
from browsing import OVERFLOW, answered, ask, focused, titles, until

from genir.evaluation.explain import percent

QUESTION = "clone a text"
MINUS = "\N{MINUS SIGN}"


def choose(page, field, *values):
    page.click(f".filter summary:text-matches('^{field}')")
    for value in values:
        page.get_by_role("checkbox", name=re.compile(f"^{value}\\b")).check()
    page.keyboard.press("Escape")


def look(page, view):
    page.click(f"#views [data-view={view}]")
    page.wait_for_selector(f"#{view}-view:visible:not([aria-busy]) :is(button.leaf, .row, .hit)")


def explained(page, query=QUESTION):
    return page.request.get(f"/v1/explain?query={query}&k=10").json()


def found_verbs(page):
    return {title.partition(" ")[0] for title in titles(page)}


# --- filters ---------------------------------------------------------------------------------


def test_a_filter_restricts_the_results_and_is_in_the_address(tiny_page):
    ask(tiny_page, QUESTION)
    with tiny_page.expect_response("**/v1/search"):
        choose(tiny_page, "verb", "copy", "move")
    until(tiny_page, "document.querySelectorAll('.hit').length === 10")
    assert found_verbs(tiny_page) == {"copy", "move"}
    assert tiny_page.text_content(".filter.on summary") == "verb: copy, move"
    tiny_page.reload()
    answered(tiny_page, QUESTION)
    assert found_verbs(tiny_page) == {"copy", "move"}
    with tiny_page.expect_response("**/v1/search"):
        tiny_page.get_by_role("button", name="Clear filters").click()
    until(tiny_page, "!location.search.includes('where')")
    assert focused(tiny_page).startswith("section")


def test_values_that_are_not_listed_can_be_written(tiny_page):
    ask(tiny_page, QUESTION)
    tiny_page.click(".filter summary:text-matches('^tags')")
    with tiny_page.expect_response("**/v1/search"):
        tiny_page.fill(".filter[open] [name=prefix]", "wat")
        tiny_page.keyboard.press("Tab")
    until(tiny_page, "document.querySelectorAll('.hit').length === 5")
    assert found_verbs(tiny_page) == {"watch"}
    assert json.loads(tiny_page.evaluate("new URLSearchParams(location.search).get('where')")) == {
        "tags": {"prefix": "wat"}
    }


def test_a_filter_holds_in_every_view(tiny_page):
    ask(tiny_page, QUESTION)
    choose(tiny_page, "verb", "watch")
    look(tiny_page, "compare")
    for list_ in tiny_page.locator(".column ol").all():
        shown = list_.locator("h3").all_inner_texts()
        assert shown and {title.partition(" ")[0] for title in shown} == {"watch"}
    look(tiny_page, "reason")
    leaves = tiny_page.locator("button.leaf").all_inner_texts()
    assert {leaf.split()[1] for leaf in leaves} == {"watch"} and len(leaves) == 5


# --- the reason ------------------------------------------------------------------------------


def test_the_tree_shows_kept_prefixes_and_highlights_the_first_path(tiny_page):
    ask(tiny_page, QUESTION)
    reply = explained(tiny_page)
    look(tiny_page, "reason")
    leaves = tiny_page.locator("button.leaf").all_inner_texts()
    by_rank = {int(leaf.split()[0]): leaf.split(maxsplit=1)[1] for leaf in leaves}
    assert by_rank == {hit["rank"]: hit["title"] for hit in reply["hits"]}
    way = [node for node in reply["nodes"] if 1 in node["hits"] and node["kept"]]
    lit = tiny_page.locator(".node.lit:not(.root) code").all_inner_texts()
    assert lit == [node["symbol"] for node in way]
    assert tiny_page.locator("button.leaf[aria-pressed=true]").inner_text().split()[0] == "1"
    curves = tiny_page.locator(".scroller path").count()
    assert curves == tiny_page.locator(".node:not(.root)").count()
    assert tiny_page.locator(".scroller path.lit").count() > 0


def test_the_lit_path_is_a_table_too_level_by_level(tiny_page):
    ask(tiny_page, QUESTION)
    look(tiny_page, "reason")
    reply = explained(tiny_page)
    way = [node for node in reply["nodes"] if 1 in node["hits"] and node["kept"]]
    rows = tiny_page.locator(".levels tbody tr")
    assert rows.count() == len(way) == len(reply["levels"])
    for row, node, level in zip(rows.all(), way, reply["levels"], strict=True):
        cells = row.locator("th, td").all_inner_texts()
        assert cells[:2] == [str(node["level"]), node["symbol"]]
        assert cells[3] == f"log p {node['score']:.2f}".replace("-", MINUS)
        assert cells[4] == f"{level['kept']} of {level['candidates']}"


def test_another_result_is_explained_on_request(tiny_page):
    ask(tiny_page, QUESTION)
    third = titles(tiny_page)[2]
    tiny_page.locator(".hit").nth(2).get_by_role("button", name=f"Why {third}?").click()
    tiny_page.wait_for_selector(f"h2:has-text('Why “{third}”?')")
    tiny_page.locator("button.leaf[data-rank='5']").click()
    assert tiny_page.locator("button.leaf[aria-pressed=true]").get_attribute("data-rank") == "5"
    assert tiny_page.evaluate("document.activeElement.dataset.rank") == "5"
    tiny_page.go_back()
    answered(tiny_page, QUESTION)


def test_pruned_prefixes_are_drawn_on_demand(tiny_page):
    ask(tiny_page, QUESTION)
    look(tiny_page, "reason")
    assert tiny_page.locator(".node.gone").count() == 0
    tiny_page.get_by_role("checkbox", name="pruned", exact=True).check()
    lost = sum(not node["kept"] for node in explained(tiny_page)["nodes"])
    assert tiny_page.locator(".node.gone").count() == lost > 0
    tiny_page.get_by_role("checkbox", name="kept, but not among the results").uncheck()
    assert tiny_page.evaluate("document.activeElement.name") == "kept"


# --- the comparison --------------------------------------------------------------------------


def test_both_rankings_stand_side_by_side_and_say_where_the_other_has_each(tiny_page):
    ask(tiny_page, QUESTION)
    look(tiny_page, "compare")
    asked = {"query": QUESTION, "k": 10}
    lists = {
        system: tiny_page.request.post("/v1/search", data=asked | {"system": system}).json()["hits"]
        for system in ("genir", "bm25")
    }
    for system, hits in lists.items():
        other = {hit["key"]: hit["rank"] for hit in lists[{"genir": "bm25"}.get(system, "genir")]}
        rows = tiny_page.locator(f".column.{system} .row")
        assert rows.locator("h3").all_inner_texts() == [hit["title"] for hit in hits]
        for row, hit in zip(rows.all(), hits, strict=True):
            there, said = other.get(hit["key"]), row.locator(".where").inner_text()
            assert str(there) in said if there else said.startswith("not in")
    shared = {hit["key"] for hit in lists["genir"]} & {hit["key"] for hit in lists["bm25"]}
    assert tiny_page.inner_text(".overlap").startswith(f"{len(shared)} of 10")
    left, right = (tiny_page.locator(f".column.{one}").bounding_box() for one in lists)
    assert left["x"] + left["width"] <= right["x"] and left["y"] == right["y"]


def test_the_view_is_in_the_address(tiny_page):
    ask(tiny_page, QUESTION)
    look(tiny_page, "compare")
    tiny_page.reload()
    tiny_page.wait_for_selector(".columns .row")
    tiny_page.go_back()
    answered(tiny_page, QUESTION)
    assert tiny_page.locator("#views [aria-pressed=true]").inner_text() == "Results"


# --- the keyboard ----------------------------------------------------------------------------


def test_single_keys_go_from_view_to_view(tiny_page):
    ask(tiny_page, QUESTION)
    second = titles(tiny_page)[1]
    tiny_page.keyboard.press("ArrowDown")
    tiny_page.keyboard.press("ArrowDown")
    tiny_page.keyboard.press("w")
    tiny_page.wait_for_selector(f"h2:has-text('Why “{second}”?')")
    until(tiny_page, "document.activeElement.matches('.leaf')")
    tiny_page.keyboard.press("c")
    tiny_page.wait_for_selector(".columns .row")
    until(tiny_page, "document.activeElement.matches('.target')")
    tiny_page.keyboard.press("Escape")
    answered(tiny_page, QUESTION)
    tiny_page.keyboard.press("f")
    assert tiny_page.locator("details.filter[open] input:focus").count() == 1
    tiny_page.keyboard.press("Escape")
    assert tiny_page.locator("details.filter[open]").count() == 0
    tiny_page.keyboard.press("Escape")
    tiny_page.wait_for_selector("#start:visible")
    assert focused(tiny_page) == "query"


def test_a_late_answer_leaves_the_focus_where_the_user_placed_it(tiny_page):
    ask(tiny_page, QUESTION)
    tiny_page.keyboard.press("ArrowDown")
    tiny_page.keyboard.press("c")
    tiny_page.wait_for_selector(".columns .row")
    until(tiny_page, "document.activeElement.matches('.target')")
    tiny_page.evaluate("document.getElementById('results').firstChild.classList.add('old')")
    held = []
    tiny_page.route("**/v1/search", lambda route: held.append(route))
    with tiny_page.expect_request("**/v1/search"):
        tiny_page.keyboard.press("Escape")  # the old results stay until the answer
    tiny_page.keyboard.press("f")
    held[0].continue_()
    tiny_page.wait_for_selector("#results .old", state="detached")
    assert tiny_page.locator("details.filter[open] input:focus").count() == 1


def test_the_keys_are_listed_and_can_be_switched_off(tiny_page):
    tiny_page.click("#theme")
    tiny_page.keyboard.press("?")
    dialog = tiny_page.get_by_role("dialog", name="Keyboard shortcuts")
    dialog.get_by_role("checkbox").uncheck()
    tiny_page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")
    ask(tiny_page, QUESTION)
    tiny_page.keyboard.press("ArrowDown")
    tiny_page.keyboard.press("c")
    tiny_page.keyboard.press("?")
    assert tiny_page.locator("dialog[open]").count() == 0
    assert tiny_page.locator("#views [aria-pressed=true]").inner_text() == "Results"


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_no_view_scrolls_sideways(tiny_page, width):
    tiny_page.set_viewport_size({"width": width, "height": 700})
    ask(tiny_page, QUESTION)
    for view in ("reason", "compare", "results"):
        look(tiny_page, view)
        assert tiny_page.evaluate(OVERFLOW) == 0, view


def test_reduced_motion_is_respected(tiny_page):
    tiny_page.emulate_media(reduced_motion="reduce")
    moving = "document.getAnimations().filter((one) => one.playState === 'running').length"
    held = []
    tiny_page.route("**/v1/search", lambda route: held.append(route))
    tiny_page.fill("#query", QUESTION)
    tiny_page.wait_for_selector(".skeleton")
    assert tiny_page.evaluate(moving) == 0
    tiny_page.emulate_media(reduced_motion="no-preference")
    until(tiny_page, f"{moving} > 0")
    held[0].continue_()
    answered(tiny_page, QUESTION)


# --- percentages and times -------------------------------------------------------------------


def number(page, name):
    """Return a number of the reason by its name."""
    return page.locator(f".numbers div:has(dt:text-matches('^{name}')) dd").inner_text()


def test_numbers_are_shown_behind_why_only(tiny_page):
    ask(tiny_page, QUESTION)
    choose(tiny_page, "verb", "watch")
    until(tiny_page, "document.querySelectorAll('.hit').length === 5")
    body = {"query": QUESTION, "k": 10, "where": {"verb": ["watch"]}, "shares": True}
    reply = tiny_page.request.post("/v1/search", data=body).json()
    assert sum(reply["shares"]) > 0.999
    first = reply["hits"][0]
    quiet = tiny_page.inner_text("main")
    assert "%" not in quiet and "log p" not in quiet and first["identifier"] not in quiet
    look(tiny_page, "reason")
    assert number(tiny_page, "Probability") == percent(reply["shares"][0])
    assert number(tiny_page, "Identifier") == first["identifier"]
    assert number(tiny_page, "log p") == f"{first['score']:.2f}".replace("-", MINUS)
    assert percent(reply["shares"][0]) in tiny_page.inner_text(".headline p")


def test_the_bar_of_a_result_shows_its_confidence(page):
    query = "copy a directory tree"
    ask(page, query)
    body = {"query": query, "k": 10, "shares": True}
    reply = page.request.post("/v1/search", data=body).json()
    scale = reply["confidence"] / reply["shares"][0]
    bars = page.locator(".hit .bar span").evaluate_all(
        "all => all.map((one) => one.style.inlineSize)"
    )
    assert [float(width.rstrip("%")) for width in bars] == pytest.approx(
        [100 * scale * share for share in reply["shares"]], abs=0.01
    )
    labels = [bar.get_attribute("aria-label") for bar in page.locator(".hit .bar").all()]
    assert labels[0] == "good match" and labels[-1] == "weak match"


def test_the_page_says_when_nothing_fits_well(page):
    ask(page, "copy a directory tree")
    assert page.locator("#doubt").is_hidden()
    ask(page, "weather forecast Paris directory")
    assert page.inner_text("#doubt").startswith("Nothing fits well")
    ask(page, "copy a directory tree")
    assert page.locator("#doubt").is_hidden()


def test_a_result_without_a_rival_has_all_of_the_probability(tiny_page):
    ask(tiny_page, QUESTION)
    only = titles(tiny_page)[0]
    key = tiny_page.request.post("/v1/search", data={"query": QUESTION}).json()["hits"][0]["key"]
    for document in tiny_page.request.post("/v1/search", data={"query": QUESTION, "k": 100}).json()[
        "hits"
    ]:
        if document["key"] != key:
            tiny_page.request.delete(f"/v1/documents/{document['key']}")
    tiny_page.reload()
    answered(tiny_page, QUESTION)
    assert titles(tiny_page) == [only]
    look(tiny_page, "reason")
    assert number(tiny_page, "Probability") == "100%"
    assert "100%" in tiny_page.inner_text(".headline p")
    shares = tiny_page.locator(".levels tbody tr td:nth-child(3)").all_inner_texts()
    assert {share.strip() for share in shares} == {"100%"}


def test_the_comparison_times_both_systems_alike(tiny_page):
    sent = []
    tiny_page.on("request", lambda r: sent.append(r) if r.url.endswith("/v1/search") else None)
    ask(tiny_page, QUESTION)
    sent.clear()
    look(tiny_page, "compare")
    first, second = [request.post_data_json for request in sent]
    assert first["fresh"] and second["fresh"]  # neither answer comes from the cache
    assert (first["system"], second["system"]) == ("genir", "bm25")
    # Sequential requests; the browser's two clocks differ by a few milliseconds.
    ended = sent[0].timing["startTime"] + sent[0].timing["responseEnd"]
    assert sent[1].timing["startTime"] >= ended - 0.3 * sent[0].timing["responseEnd"]
    replies = [request.response().json() for request in sent]
    assert replies[1]["index_ms"] > 1  # for the first request
    notes = tiny_page.locator(".column .method").all_inner_texts()
    for note, reply in zip(notes, replies, strict=True):  # not the time to build the index
        shown = float(note.split()[-2])  # JavaScript rounds half up, Python half to even
        assert abs(shown - reply["took_ms"]) < 0.051 and "index (" not in note
    look(tiny_page, "results")
    assert " ms" not in tiny_page.inner_text("main")
