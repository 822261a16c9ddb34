"""Title and logo of the page, and the script of the widget, as files."""

import pytest
from fastapi.testclient import TestClient

from genir.errors import InputError
from genir.serving.app import create_app
from genir.serving.search_page import FOLDER, MAX_LOGO_BYTES, PAGE
from genir.serving.settings import Settings

LOGO = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><rect width="8" height="8"/></svg>'
)


def page(**settings):
    return TestClient(create_app(settings=Settings(**settings)))


def test_a_page_without_a_title_is_genir_s():
    text = page().get("/").text
    assert "<title>genir</title>" in text and 'class="mark"' in text
    assert page().get("/logo").status_code == 404


def test_a_title_is_text_and_replaces_the_mark():
    text = page(title='Acme <b>"docs"</b>').get("/").text
    assert "<title>Acme &lt;b&gt;&quot;docs&quot;&lt;/b&gt;</title>" in text
    assert "genir" not in text.replace("genir-", "") and 'class="mark"' not in text


def test_a_logo_is_sent_and_cannot_run_scripts(tmp_path):
    path = tmp_path / "Logo.SVG"
    path.write_text(LOGO)
    client = page(logo=path)
    assert '<img class="logo" src="logo" alt="">' in client.get("/").text
    answer = client.get("/logo")
    assert answer.headers["content-type"] == "image/svg+xml" and answer.text == LOGO
    assert "script-src" not in answer.headers["content-security-policy"]
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("logo.txt", b"x", "not an image by its name; use one of .svg"),
        ("logo.png", None, "cannot be read (No such file or directory)"),
        ("logo.png", b"x" * (MAX_LOGO_BYTES + 1), "more than 262,144 bytes; use a smaller image"),
    ],
)
def test_a_logo_that_cannot_be_shown_is_refused_at_the_start(tmp_path, name, content, expected):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as error:
        page(logo=tmp_path / name)
    assert f"--logo {tmp_path / name}: {expected}" in str(error.value)


def test_a_folder_is_no_logo(tmp_path):
    (tmp_path / "logo.png").mkdir()
    with pytest.raises(InputError, match="cannot be read"):
        page(logo=tmp_path / "logo.png")


def test_the_page_needs_less_than_120_kb():
    sizes = {path.name: path.stat().st_size for path in PAGE.iterdir()}
    sizes["page.html"] = (FOLDER / "page.html").stat().st_size
    assert len(sizes) > 10 and sum(sizes.values()) < 120_000


def test_the_widget_is_one_small_script_for_any_site():
    answer = page().get("/widget.js")
    assert answer.headers["content-type"].startswith("text/javascript")
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    assert 1_000 < len(answer.content) < 15_000
    assert "import " not in answer.text and "innerHTML" not in answer.text
    again = page().get("/widget.js", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304
