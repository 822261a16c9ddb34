"""Screenshots for the documentation, of any running server (`genir serve MODEL`):

    GENIR_PAGE=http://127.0.0.1:8000 GENIR_PICTURES=docs/images pytest tests/serving -k pictures

GENIR_ASKED is the query in them; by default the first example query of the page.
"""

import os
from pathlib import Path

from browsing import DESK

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
WIDE = {"viewport": {"width": 1280, "height": 860}}
LOOKS = {
    "start": ("results", {"viewport": DESK}),
    "light": ("results", {"viewport": DESK}),
    "dark": ("results", {"viewport": DESK, "color_scheme": "dark"}),
    "reason": ("reason", WIDE),
    "reason-dark": ("reason", {**WIDE, "color_scheme": "dark"}),
    "compare": ("compare", WIDE),
    "add": ("results", {"viewport": DESK}),
    "phone": ("results", PHONE),
    "phone-reason": ("reason", PHONE),
    "phone-compare": ("compare", PHONE),
}


def test_pictures(browser, request, tmp_path):
    """Save screenshots in the light theme, the dark theme and on a phone."""
    folder = Path(os.environ.get("GENIR_PICTURES", tmp_path))
    address = os.environ.get("GENIR_PAGE") or request.getfixturevalue("open_address")
    looks = LOOKS if "GENIR_PICTURES" in os.environ else ("dark", "add", "phone-compare")
    sizes = {look: picture(browser, address, folder / f"page-{look}.png") for look in looks}
    assert min(sizes.values()) > 12_000


def picture(browser, address, path):
    """Take one screenshot and return its bytes."""
    look = path.stem.removeprefix("page-")
    view, options = LOOKS[look]
    scale = 2 if "GENIR_PICTURES" in os.environ else 1
    page = browser.new_page(
        base_url=address, device_scale_factor=scale, **({"color_scheme": "light"} | options)
    )
    page.goto("/")
    page.wait_for_selector(".example")
    if look != "start":
        page.fill("#query", os.environ.get("GENIR_ASKED") or page.inner_text(".example >> nth=0"))
        page.wait_for_selector(".hit:not(.skeleton)")
        if view == "results" and look != "add":
            page.keyboard.press("ArrowDown")
        else:
            page.click(f"#views [data-view={view}]")
            page.wait_for_selector(f"#{view}-view :is(button.leaf, .row, .hit)")
        if look == "add":
            page.click("#menu > summary")
            page.click("#add")
        page.mouse.move(0, 0)
        page.wait_for_timeout(200)  # for CSS transitions
    path.parent.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=path)
    page.close()
    return path.stat().st_size
