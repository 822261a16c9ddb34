"""Searching in a browser: typing, keyboard focus, the URL, errors, late answers."""

from browsing import DESK, OVERFLOW, answered, focused, serving, titles, until

from genir.serving.app import create_app

QUESTION = "copy a directory tree"


def test_results_come_while_typing_and_the_address_can_be_shared(page):
    assert focused(page) == "query"
    page.keyboard.type("keep sorted list", delay=5)
    answered(page, "keep sorted list")
    assert titles(page)[0] == "bisect.insort"
    until(page, "/^\\d+ of 13 documents$/.test(document.querySelector('#status').textContent)")
    marked = page.locator(".hit").first.locator("mark").all_inner_texts()
    assert {word.lower() for word in marked} == {"sorted", "list", "keep"}
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
    page.wait_for_selector("#start:visible")
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
    to_light.wait_for()  # the browser applies the system's theme one frame later
    assert page.evaluate(ground) != light
    to_light.click()
    assert page.evaluate(ground) == light
    page.reload()
    assert (
        page.evaluate(ground) == light
    )  # the choice survives a reload and overrides the system's theme


def test_an_example_is_one_click_and_back_returns(page):
    page.get_by_role("button", name="largest items").click()
    answered(page, "largest items")
    assert titles(page)[0] == "heapq.nlargest"
    page.go_back()
    page.wait_for_selector("#start:visible")
    assert page.input_value("#query") == ""


def test_markup_in_a_document_stays_text_and_only_web_addresses_are_links(page):
    page.fill("#query", "hostile markup")
    answered(page, "hostile markup")
    assert titles(page)[0] == "<b>bold</b> & 'quoted'"
    assert "<script>alert('snippet')</script>" in page.locator(".snippet").first.inner_text()
    first = page.locator(".hit").first
    assert first.locator("script, b, img").count() == 0
    (address,) = first.locator("a").evaluate_all("all => all.map((one) => one.href)")
    assert address.endswith("/documents/%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E")


def test_the_keyboard_keeps_its_place_when_newer_results_arrive(page):
    page.fill("#query", "keep sorted")
    answered(page, "keep sorted")
    held = []
    page.route("**/v1/search", lambda route: held.append(route))  # playwright takes no builtin
    with page.expect_request("**/v1/search"):
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
    page.route("**/v1/search", lambda route: route.abort())
    page.fill("#query", "copy")
    page.wait_for_selector("#notice:visible")
    assert "does not answer" in page.inner_text("#notice")
    page.unroute("**/v1/search")
    page.get_by_role("button", name="Try again").click()
    answered(page, "copy")


def test_a_late_answer_to_an_old_query_is_dropped(page):
    held = []
    page.route(
        "**/v1/search",
        lambda r: held.append(r) if "sorted" in r.request.post_data else r.continue_(),
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
    page.fill("#query", "copy a directory tree " + "x" * 300)
    page.wait_for_selector(".hit:not(.skeleton)")
    for query in (page.input_value("#query"), ""):
        page.fill("#query", query)
        page.wait_for_selector("#start", state="hidden" if query else "visible")
        for width in (320, 390, 768, 1180):
            page.set_viewport_size({"width": width, "height": 700})
            assert page.evaluate(OVERFLOW) == 0, f"{width} wide, query {query!r:.9}"


def test_words_of_scripts_without_spaces_are_marked(page):
    script = """async ([text, query]) => {
        const { marked } = await import(new URL("page/words.js", location.href));
        const marks = marked(text, query).filter((one) => one.localName === "mark");
        return marks.map((mark) => mark.textContent).join("");
    }"""
    for text, query, marked in (
        ("公司返还差旅费用。", "差旅费用什么时候返还", "返还差旅费用"),
        ("使用docker命令", "docker", "docker"),
        ("ขอลาพักร้อน", "ลาพัก", "ลาพัก"),
        ("हिन्दी में", "हिन्दी", "हिन्दी"),
    ):
        assert page.evaluate(script, [text, query]) == marked
