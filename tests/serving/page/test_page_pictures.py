"""Screenshots for the documentation: `make screenshots` trains two small models and saves them.

    GENIR_PICTURES=docs/images pytest tests/serving/page/test_page_pictures.py

Without GENIR_PICTURES, some pictures of the tiny model are taken into a temporary folder.
"""

import json
import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest
from browsing import DESK, ask, serving
from test_widget import EXAMPLE, build, site

from genir.corpus.python_docs import make_python_docs
from genir.retriever import Retriever
from genir.serving.app import create_app
from genir.serving.settings import Settings
from genir.training.job import TrainingJob
from genir.training.pipeline import train

FOLDER = os.environ.get("GENIR_PICTURES")
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
WIDE = {"viewport": {"width": 1280, "height": 860}}
DARK = {"color_scheme": "dark"}
QUESTION = "copy a whole directory tree"
EXAMPLES = [QUESTION, "compress a file with gzip", "wait until all threads have finished"]
MODULES = {
    *("shutil", "os", "os.path", "pathlib", "tempfile", "glob", "fnmatch", "json", "csv", "gzip"),
    *("zipfile", "tarfile", "bisect", "heapq", "collections", "itertools", "functools", "copy"),
    *("datetime", "time", "subprocess", "threading", "queue", "random", "statistics", "re"),
    *("textwrap", "difflib", "argparse", "sqlite3", "hashlib", "secrets", "string", "math"),
}
"""The modules of the standard library whose documentation the models hold."""
LOOKS = {
    "start": ("words", "results", {"viewport": DESK}),
    "light": ("words", "results", {"viewport": DESK}),
    "dark": ("words", "results", {"viewport": DESK, **DARK}),
    "filter": ("words", "results", {"viewport": DESK}),
    "why": ("words", "reason", {"viewport": DESK}),
    "reason": ("codes", "reason", WIDE),
    "reason-dark": ("codes", "reason", {**WIDE, **DARK}),
    "compare": ("words", "compare", WIDE),
    "add": ("words", "results", {"viewport": DESK}),
    "phone": ("words", "results", PHONE),
    "phone-filter": ("words", "results", PHONE),
    "phone-reason": ("codes", "reason", PHONE),
    "phone-compare": ("words", "compare", PHONE),
}
"""Name -> (model, view, options of the browser)."""
MIN_BYTES = 12_000
"""A picture with text is larger."""


@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("look", LOOKS if FOLDER else ("dark", "add", "phone-compare"))
def test_pictures_of_the_page(browser, addresses, look, tmp_path):
    model, view, options = LOOKS[look]
    address, question = addresses[model]
    with photographed(browser, f"page-{look}.png", tmp_path, **options) as page:
        page.goto(address)
        page.wait_for_selector(".example")
        if look == "start":
            return
        ask(page, question)
        page.wait_for_selector(".filter .check", state="attached")
        if look in ("light", "dark"):
            page.keyboard.press("ArrowDown")
        elif look == "add":
            page.click("#menu > summary")
            page.click("#add")
        elif "filter" in look:
            page.locator(".filter summary").last.click()
        else:
            page.click(f"#views [data-view={view}]")
            page.wait_for_selector(f"#{view}-view:not([aria-busy]) :is(button.leaf, .row, .hit)")


@pytest.mark.skipif(not FOLDER, reason="needs a trained model")
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize(
    ("name", "options"),
    [("light", {"viewport": DESK}), ("dark", {"viewport": DESK, **DARK}), ("phone", PHONE)],
)
def test_pictures_of_the_widget(browser, kettle, name, options, tmp_path):
    (tmp_path / "built").mkdir()
    with site(tmp_path / "built") as origin:
        settings = Settings(cors=(origin,))
        with serving(create_app(kettle, settings=settings)) as address:
            build(tmp_path / "built", {"GENIR_SERVER": address})
            with photographed(browser, f"widget-{name}.png", tmp_path, **options) as page:
                page.goto(f"{origin}/install.html")
                page.keyboard.press("Control+k")
                page.get_by_role("combobox").fill("remove white chalk")
                page.wait_for_selector("#genir-search .hit")


@contextmanager
def photographed(browser, name, folder, **options):
    """Open a page; save a picture of it at the end."""
    path = Path(FOLDER or folder) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    scale = 2 if FOLDER else 1
    page = browser.new_page(**({"device_scale_factor": scale, "color_scheme": "light"} | options))
    yield page
    page.mouse.move(0, 0)
    page.wait_for_timeout(300)  # for CSS transitions
    page.screenshot(path=path)
    page.close()
    assert path.stat().st_size > MIN_BYTES


# --- models ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def addresses(saved, trained, tmp_path_factory):
    """Yield model -> (address of its server, question)."""
    settings = Settings(title="Python library", logo=write_logo(tmp_path_factory.mktemp("logo")))
    if not FOLDER:
        copy = shutil.copytree(saved, tmp_path_factory.mktemp("model") / "tiny")
        with serving(create_app(Retriever.load(copy), EXAMPLES, settings, loopback=True)) as one:
            yield dict.fromkeys(("words", "codes"), (one, "clone a text"))
        return
    apps = [
        create_app(trained(name), EXAMPLES, settings, loopback=True) for name in ("words", "codes")
    ]
    with serving(apps[0]) as words, serving(apps[1]) as codes:
        yield {"words": (words, QUESTION), "codes": (codes, QUESTION)}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a function: name of a model -> the model, trained on a part of Python's documentation.

    words: the default recipe, without training. codes: some steps of `residual`.
    """
    folder = tmp_path_factory.mktemp("pictures")

    def model(name):
        corpus = folder / f"{name}-corpus"
        make_python_docs(corpus, overwrite=True)
        reduce_corpus(corpus, queries=name == "codes")
        recipe, settings = {
            "words": ("default", ()),
            "codes": ("residual", ("training.max_steps=8", "training.batch_size=32")),
        }[name]
        return train(TrainingJob(recipe, corpus, folder / name, settings=settings))

    return model


def reduce_corpus(corpus, queries):
    """Keep the documents of MODULES; remove the queries if there shall be no training."""
    lines = (corpus / "corpus.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if json.loads(line)["module"] in MODULES]
    keys = {json.loads(line)["_id"] for line in kept}
    (corpus / "corpus.jsonl").write_text("".join(kept), encoding="utf-8")
    if not queries:
        shutil.rmtree(corpus / "qrels")
        (corpus / "queries.jsonl").unlink()
        return
    for path in (corpus / "qrels").iterdir():
        head, *rows = path.read_text(encoding="utf-8").splitlines(keepends=True)
        rows = [row for row in rows if row.split("\t")[1] in keys]
        path.write_text("".join([head, *rows]), encoding="utf-8")


@pytest.fixture(scope="module")
def kettle(tmp_path_factory):
    """Return a model of the example site's pages."""
    folder = tmp_path_factory.mktemp("kettle")
    return train(TrainingJob("default", EXAMPLE / "docs", folder / "kettle"))


def write_logo(folder):
    path = folder / "logo.svg"
    path.write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 40 40">'
        '<rect width="40" height="40" rx="9" fill="#3060a0"/>'
        '<path d="M12 28V12h9a5 5 0 0 1 0 10h-9" fill="none" stroke="#fff" stroke-width="4"/></svg>'
    )
    return path
