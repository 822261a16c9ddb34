"""Adding and deleting documents on the page, with and without a token."""

from browsing import answered, ask, opened, titles, until

NEW = {"key": "rotate-image", "title": "rotate image", "text": "Turn a picture by some degrees."}
QUESTION = "clone a text"


def write(page, **fields):
    dialog = page.get_by_role("dialog", name="Add a document")
    for name, text in (NEW | fields).items():
        dialog.locator(f"[name='{name}']").fill(text)
    return dialog


def give(page, secret):
    dialog = page.get_by_role("dialog", name="Token")
    dialog.get_by_label("Token").fill(secret)
    dialog.get_by_role("button", name="Use it").click()


def delete_first(page):
    page.locator(".hit").first.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog", name="Delete this document?").get_by_role(
        "button", name="Delete"
    ).click()


def test_an_added_document_can_be_found_at_once(tiny_page):
    tiny_page.click("#add")
    write(tiny_page, **{"field:verb": "rotate"}).get_by_role("button", name="Add").click()
    tiny_page.get_by_role("button", name="Search for it").click()
    answered(tiny_page, "rotate image")
    while "rotate image" not in (shown := titles(tiny_page)):  # its rank is random
        tiny_page.click("#more")
        until(tiny_page, f"document.querySelectorAll('.hit').length > {len(shown)}")
    stored = tiny_page.request.get("/v1/documents/rotate-image").json()
    assert stored["text"] == NEW["text"] and stored["verb"] == "rotate"
    tiny_page.wait_for_selector("#served:has-text('41 documents')")
    assert tiny_page.locator("dialog[open]").count() == 0


def test_a_number_stays_a_number(tiny_page):
    tiny_page.click("#add")
    write(tiny_page, **{"field:section": "7"}).get_by_role("button", name="Add").click()
    tiny_page.get_by_role("button", name="Search for it").wait_for()
    assert tiny_page.request.get("/v1/documents/rotate-image").json()["section"] == 7


def test_a_key_that_is_taken_is_replaced_only_on_demand(browser, open_address):
    with opened(browser, open_address, allowed=(409,)) as page:
        page.click("#add")
        dialog = write(page, key="copy-file", title="copy a file, newly described")
        dialog.get_by_role("button", name="Add").click()
        dialog.get_by_role("alert").wait_for()
        assert "is there already" in dialog.get_by_role("alert").inner_text()
        dialog.get_by_role("button", name="Replace it").click()
        page.get_by_role("button", name="Search for it").wait_for()
        reply = page.request.get("/v1/documents/copy-file").json()
        assert reply["title"] == "copy a file, newly described"


def test_a_deleted_document_is_gone_until_it_is_undone(tiny_page):
    ask(tiny_page, QUESTION)
    first = titles(tiny_page)[0]
    delete_first(tiny_page)
    tiny_page.get_by_role("button", name="Undo").wait_for()
    tiny_page.locator(f"#results .target:text-is('{first}')").wait_for(state="detached")
    assert len(titles(tiny_page)) == 10  # the next one moves up
    tiny_page.get_by_role("button", name="Undo").click()
    tiny_page.wait_for_selector(f"#results .target:text-is('{first}')")
    assert titles(tiny_page)[0] == first


def test_the_delete_key_asks_before_it_deletes(tiny_page):
    ask(tiny_page, QUESTION)
    before = titles(tiny_page)
    tiny_page.keyboard.press("ArrowDown")
    tiny_page.keyboard.press("Delete")
    dialog = tiny_page.get_by_role("dialog", name="Delete this document?")
    assert before[0] in dialog.inner_text()
    tiny_page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")
    assert titles(tiny_page) == before


def test_a_document_can_be_added_by_keyboard_alone(tiny_page):
    tiny_page.click("#theme")
    tiny_page.keyboard.press("n")
    for text in NEW.values():
        tiny_page.keyboard.type(text)
        tiny_page.keyboard.press("Tab")
    tiny_page.locator("[name=title]").focus()
    tiny_page.keyboard.press("Enter")
    tiny_page.get_by_role("button", name="Search for it").wait_for()


def test_a_refused_document_stays_in_the_form(tiny_page):
    tiny_page.route("**/v1/documents", lambda route: route.abort())
    tiny_page.click("#add")
    dialog = write(tiny_page)
    dialog.get_by_role("button", name="Add").click()
    dialog.get_by_role("alert").wait_for()
    assert "does not answer" in dialog.get_by_role("alert").inner_text()
    assert dialog.locator("[name=text]").input_value() == NEW["text"]


def test_a_guarded_server_is_opened_by_a_token(guarded_page, secrets):
    guarded_page.fill("#query", QUESTION)
    guarded_page.get_by_role("button", name="Give a token").click()
    give(guarded_page, secrets["read"])
    guarded_page.wait_for_selector(".hit")
    guarded_page.wait_for_selector("#served:has-text('40 documents')")
    assert guarded_page.get_by_role("button", name="Delete").count() == 0
    assert guarded_page.evaluate("sessionStorage.length") == 1
    kept = guarded_page.evaluate("JSON.stringify(localStorage) + document.cookie + location.href")
    assert secrets["read"] not in kept
    guarded_page.click("#key")
    guarded_page.get_by_role("button", name="Forget it").click()
    guarded_page.get_by_role("button", name="Give a token").wait_for()
    assert guarded_page.evaluate("sessionStorage.length") == 0


def test_a_late_answer_shows_no_hits_after_the_token_is_forgotten(guarded_page, secrets):
    held = []
    guarded_page.route("**/v1/model", lambda route: held.append(route))
    guarded_page.fill("#query", QUESTION)
    guarded_page.get_by_role("button", name="Give a token").click()
    give(guarded_page, secrets["read"])
    guarded_page.wait_for_selector(".hit")
    guarded_page.click("#key")
    guarded_page.get_by_role("button", name="Forget it").click()
    guarded_page.get_by_role("button", name="Give a token").wait_for()
    with guarded_page.expect_response("**/v1/model"):
        held[0].continue_()
    guarded_page.wait_for_timeout(200)
    assert guarded_page.locator(".hit").count() == 0
    assert guarded_page.get_by_role("button", name="Give a token").is_visible()


def test_a_read_token_is_asked_for_a_write_token(guarded_page, secrets):
    guarded_page.click("#key")
    give(guarded_page, secrets["read"])
    guarded_page.wait_for_selector("#served:has-text('40 documents')")
    guarded_page.click("#add")
    write(guarded_page).get_by_role("button", name="Add").click()
    give(guarded_page, secrets["write"])
    guarded_page.get_by_role("button", name="Search for it").wait_for()
    ask(guarded_page, QUESTION)
    delete_first(guarded_page)
    guarded_page.get_by_role("button", name="Undo").wait_for()


def test_a_wrong_token_is_reported_and_can_be_corrected(guarded_page, secrets):
    guarded_page.click("#key")
    give(guarded_page, "genir_wrong")
    ask_again = guarded_page.get_by_role("button", name="Give a token")
    guarded_page.fill("#query", QUESTION)
    ask_again.click()
    give(guarded_page, secrets["write"])
    guarded_page.wait_for_selector(".hit")
