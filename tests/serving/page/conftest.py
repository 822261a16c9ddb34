"""Fixtures: the search page in Debian's Chromium, driven by Playwright."""

import shutil

import pytest
from browsing import BROWSER, FLAGS, opened, serving

from genir.retriever import Retriever
from genir.serving.app import create_app
from genir.serving.settings import Settings
from genir.serving.tokens import TokenSpec, new_token

TINY_EXAMPLES = ["clone a text", "monitor a drive"]


@pytest.fixture(scope="module")  # close its event loop before other tests start theirs
def browser():
    if BROWSER is None:
        pytest.skip("no Chromium here; on Debian: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright; pip install it")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=BROWSER, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def saved(tiny_folder):
    return tiny_folder("residual")


@pytest.fixture
def folder(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "tiny")


@pytest.fixture
def address(client):
    """Yield the address of a server with the word-counting searcher."""
    with serving(client.app) as address:
        yield address


@pytest.fixture
def open_address(folder):
    """Yield the address of a server with a model that may be changed without a token."""
    app = create_app(Retriever.load(folder), TINY_EXAMPLES, loopback=True)
    with serving(app) as address:
        yield address


@pytest.fixture
def secrets(tmp_path):
    file = tmp_path / "tokens.json"
    return {role: new_token(file, TokenSpec(role, role)) for role in ("read", "write")}


@pytest.fixture
def guarded_address(folder, secrets, tmp_path):
    """Yield the address of a server with a model that requires a token."""
    settings = Settings(tokens=tmp_path / "tokens.json")
    with serving(create_app(Retriever.load(folder), TINY_EXAMPLES, settings)) as address:
        yield address


@pytest.fixture
def page(browser, address):
    with opened(browser, address) as page:
        yield page


@pytest.fixture
def tiny_page(browser, open_address):
    with opened(browser, open_address) as page:
        yield page


@pytest.fixture
def guarded_page(browser, guarded_address):
    with opened(browser, guarded_address, allowed=(401, 403)) as page:
        yield page
