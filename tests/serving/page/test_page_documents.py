"""Adding and deleting documents on the page, with and without a token."""

from browsing import answered, ask, opened, titles, until

from genir.serving.tokens import TokenSpec, new_token

NEW = {"key": "rotate-image", "title": "rotate image", "text": "Turn a picture by some degrees."}
QUESTION = "clone a text"


def press_menu(page, button):
    page.click("#menu > summary")
    page.click(button)


def press_add(page):
    press_menu(page, "#add")


def write(page, **fields):
    dialog = page.get_by_role("dialog", name="Add a document")
    for name, text in (NEW | fields).items():
        dialog.locator(f"[name='{name}']").fill(text)
    return dialog


def give(page, secret):
    dialog = page.get_by_role("dialog", name="Token")
    dialog.get_by_label("Token").fill(secret)
    dialog.get_by_role("button", name="Use it").click()


def cancel_token(page):
    dialog = page.get_by_role("dialog", name="Token")
    dialog.get_by_role("button", name="Cancel").click()
    dialog.wait_for(state="hidden")


def delete_first(page):
    page.locator(".hit .menu summary").first.click()
    page.locator(".hit .menu[open]").get_by_role("button", name="Delete").click()
    page.get_by_role("dialog", name="Delete this document?").get_by_role(
        "button", name="Delete"
    ).click()


def test_an_added_document_can_be_found_at_once(tiny_page):
    press_add(tiny_page)
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
    press_add(tiny_page)
    write(tiny_page, **{"field:section": "7"}).get_by_role("button", name="Add").click()
    tiny_page.get_by_role("button", name="Search for it").wait_for()
    assert tiny_page.request.get("/v1/documents/rotate-image").json()["section"] == 7


def test_a_key_that_is_taken_is_replaced_only_on_demand(browser, open_address):
    with opened(browser, open_address, allowed=(409,)) as page:
        press_add(page)
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
    press_add(tiny_page)
    dialog = write(tiny_page)
    dialog.get_by_role("button", name="Add").click()
    dialog.get_by_role("alert").wait_for()
    assert "does not answer" in dialog.get_by_role("alert").inner_text()
    assert dialog.locator("[name=text]").input_value() == NEW["text"]


def test_a_private_server_asks_for_a_token_on_arrival(guarded_page, secrets):
    give(guarded_page, secrets["read"])
    guarded_page.wait_for_selector("#served:has-text('40 documents')")
    ask(guarded_page, QUESTION)
    assert guarded_page.evaluate("sessionStorage.length") == 1
    kept = guarded_page.evaluate("JSON.stringify(localStorage) + document.cookie + location.href")
    assert secrets["read"] not in kept
    guarded_page.reload()
    answered(guarded_page, QUESTION)
    guarded_page.wait_for_selector("#served:has-text('40 documents')")
    assert guarded_page.locator("dialog[open]").count() == 0
    press_menu(guarded_page, "#key")
    guarded_page.get_by_role("button", name="Forget it").click()
    guarded_page.get_by_role("button", name="Give a token").wait_for()
    assert guarded_page.evaluate("sessionStorage.length") == 0


def test_a_shared_search_is_shown_once_a_token_is_given(guarded_page, secrets):
    guarded_page.goto(f"/?q={QUESTION}")
    give(guarded_page, secrets["read"])
    answered(guarded_page, QUESTION)


def test_without_a_token_the_page_says_that_it_is_private(guarded_page, secrets):
    cancel_token(guarded_page)
    guarded_page.fill("#query", QUESTION)
    guarded_page.wait_for_selector("#notice:has-text('This search is private')")
    guarded_page.get_by_role("button", name="Give a token").click()
    give(guarded_page, secrets["read"])
    answered(guarded_page, QUESTION)


def test_a_late_answer_shows_no_hits_after_the_token_is_forgotten(guarded_page, secrets):
    held = []
    cancel_token(guarded_page)
    guarded_page.route("**/v1/model", lambda route: held.append(route))
    guarded_page.fill("#query", QUESTION)
    guarded_page.get_by_role("button", name="Give a token").click()
    give(guarded_page, secrets["read"])
    guarded_page.wait_for_selector(".hit")
    press_menu(guarded_page, "#key")
    guarded_page.get_by_role("button", name="Forget it").click()
    guarded_page.get_by_role("button", name="Give a token").wait_for()
    with guarded_page.expect_response("**/v1/model"):
        held[0].continue_()
    guarded_page.wait_for_timeout(200)
    assert guarded_page.locator(".hit").count() == 0
    assert guarded_page.get_by_role("button", name="Give a token").is_visible()


def test_changes_are_offered_to_writers_only(guarded_page, secrets):
    give(guarded_page, secrets["read"])
    ask(guarded_page, QUESTION)
    guarded_page.wait_for_selector("#served:has-text('40 documents')")
    assert guarded_page.locator(".hit .menu").count() == 0
    guarded_page.locator(".target").first.focus()
    for key in ("n", "Delete"):
        guarded_page.keyboard.press(key)
    assert guarded_page.locator("dialog[open]").count() == 0
    guarded_page.click("#menu > summary")
    assert guarded_page.locator("#add").is_hidden()
    guarded_page.click("#key")
    give(guarded_page, secrets["write"])
    guarded_page.wait_for_selector(".hit .menu")
    delete_first(guarded_page)
    guarded_page.get_by_role("button", name="Undo").wait_for()


def test_a_token_that_was_revoked_meanwhile_is_asked_for_again(guarded_page, secrets, tmp_path):
    give(guarded_page, secrets["write"])
    guarded_page.wait_for_selector("#served:has-text('40 documents')")
    (tmp_path / "tokens.json").unlink()
    another = new_token(tmp_path / "tokens.json", TokenSpec("another", "write"))
    press_add(guarded_page)
    write(guarded_page).get_by_role("button", name="Add").click()
    give(guarded_page, another)
    guarded_page.get_by_role("button", name="Search for it").wait_for()


def test_a_wrong_token_is_reported_and_can_be_corrected(guarded_page, secrets):
    give(guarded_page, "genir_wrong")
    alert = guarded_page.get_by_role("dialog", name="Token").get_by_role("alert")
    alert.wait_for()
    assert "unknown bearer token" in alert.inner_text()
    give(guarded_page, secrets["write"])
    guarded_page.wait_for_selector("#served:has-text('40 documents')")
    ask(guarded_page, QUESTION)
