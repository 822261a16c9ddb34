"""The search page with a site's title and logo, and the script of the search widget."""

from collections.abc import Callable
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, HTMLResponse
from fastapi.staticfiles import StaticFiles

from genir.errors import InputError
from genir.serving.settings import Settings

FOLDER = Path(__file__).parent
PAGE = FOLDER / "page"
"""Scripts, styles and images of the page."""
NAME = "genir"
"""Title of a page without `--title`."""
LOGO_TYPES = {
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".ico": "image/x-icon",
}
MAX_LOGO_BYTES = 256 * 1024
LOGO_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"
"""Content security policy of the logo: an SVG file may contain styles, but no script runs."""
OWN_MARK = """<svg class="mark" viewBox="0 0 32 32" aria-hidden="true">
        <path class="branch" d="M5 16c6 0 4-8 10-8s5-4 11-4M15 8c6 0 5 4 11 4M15 23c6 0 5 5 11 5"/>
        <path class="path" d="M5 16c6 0 4 7 10 7s5-3 10-3"/>
        <circle class="root" cx="5" cy="16" r="3"/>
        <circle class="leaf" cx="26" cy="20" r="3.6"/>
      </svg>"""
"""genir's own mark, on a page without title and logo."""


def add_page(app: FastAPI, settings: Settings) -> None:
    """Add the page at `/`, its files at `/page`, the logo at `/logo` and `/widget.js`.

    Raises:
        InputError: The logo is missing, too large, or no image.
    """
    logo = None if settings.logo is None else checked_logo(settings.logo)
    content = page_of(settings.title, logo)
    scripts = StaticFiles(directory=FOLDER)

    async def page() -> HTMLResponse:
        return HTMLResponse(content)

    async def widget(request: Request) -> Response:
        response = await scripts.get_response("widget.js", request.scope)
        response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
        return response

    async def image() -> FileResponse:
        assert logo is not None
        headers = {"Content-Security-Policy": LOGO_POLICY}
        return FileResponse(logo, media_type=LOGO_TYPES[logo.suffix.lower()], headers=headers)

    routes: dict[str, Callable[..., Any]] = {"/": page, "/widget.js": widget}
    if logo is not None:
        routes["/logo"] = image
    for path, answer in routes.items():
        app.add_api_route(path, answer, methods=["GET", "HEAD"], include_in_schema=False)
    app.mount("/page", StaticFiles(directory=PAGE), name="page")


def page_of(title: str | None, logo: Path | None) -> str:
    """Return the HTML of the page; without title and logo, it shows genir's own."""
    mark = OWN_MARK if title is None else ""
    icon = "page/favicon.svg"
    if logo is not None:
        mark, icon = '<img class="logo" src="logo" alt="">', "logo"
    template = Template((FOLDER / "page.html").read_text(encoding="utf-8"))
    return template.substitute(title=escape(title or NAME), mark=mark, icon=icon)


def checked_logo(path: Path) -> Path:
    """Return the path of a logo. Raises InputError if it cannot be shown."""
    if path.suffix.lower() not in LOGO_TYPES:
        kinds = ", ".join(LOGO_TYPES)
        raise InputError(f"--logo {path}: not an image by its name; use one of {kinds}")
    try:
        with path.open("rb") as file:
            size = len(file.read(MAX_LOGO_BYTES + 1))
    except OSError as error:
        raise InputError(f"--logo {path}: cannot be read ({error.strerror})") from None
    if size > MAX_LOGO_BYTES:
        raise InputError(f"--logo {path}: more than {MAX_LOGO_BYTES:,} bytes; use a smaller image")
    return path
