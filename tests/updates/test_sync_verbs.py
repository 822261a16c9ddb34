"""genir sync, genir set and genir add with a single page, on the command line."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
from changing import edit_pages, state, text_of, write_page
from test_verbs import genir
from tiny import small

from genir.api import train
from genir.corpus.folder_watch import watch_changes
from genir.corpus.readers import read_corpus
from genir.errors import InputError
from genir.retriever import Retriever

BASE = "https://x.org/docs"


@pytest.fixture(scope="module")
def trained(tiny_encoder, tmp_path_factory):
    place = tmp_path_factory.mktemp("sync")
    for name in ("index.md", *(f"guide/page-{n}.md" for n in range(6))):
        write_page(place / "site", random.Random(name), name)
    settings = small("default", tiny_encoder, place)
    train(place / "site", out=place / "model", settings=settings, base_url=BASE)
    return place


@pytest.fixture
def place(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "place")


def change_site(site):
    (site / "new.md").write_text("# New page\n\nShips.")
    (site / "guide/page-0.md").write_text("# Page zero\n\nTrains.")
    (site / "guide/page-1.md").rename(site / "moved.md")
    (site / "guide/page-2.md").unlink()


def holds(model, site):
    """Return whether the model has the documents that a training on the site would have."""
    return state(Retriever.load(model, "cpu")) == {
        one.key: text_of(one) for one in read_corpus(site, BASE)
    }


def test_a_folder_is_followed(place):
    model, site = place / "model", place / "site"
    assert genir("sync", model, site).startswith("0 added, 0 changed, 0 renamed, 0 deleted, 7 unch")
    change_site(site)
    planned = genir("sync", model, site, "--dry-run").splitlines()
    lines = ["   added  new.md", " changed  guide/page-0.md",
             " renamed  guide/page-1.md -> moved.md", " deleted  guide/page-2.md"]  # fmt: skip
    links = [line for line in planned[:-1] if line not in lines]  # pages whose links changed
    assert set(lines) < set(planned) and all(line.startswith(" changed") for line in links)
    assert planned[-1].endswith(" unchanged; nothing was changed (--dry-run)")
    assert not holds(model, site)
    report = json.loads(genir("sync", model, site, "--json"))
    assert (report["added"], report["deleted"], report["version"]) == (
        ["new.md"], ["guide/page-2.md"], 1)  # fmt: skip
    assert report["renamed"] == {"guide/page-1.md": "moved.md"} and "sources" not in report
    assert holds(model, site)
    assert genir("versions", model).count("sync") == 1
    genir("rollback", model, 0)
    assert genir("sync", model, site).endswith("; version 3\n")
    assert holds(model, site)


def test_long_lists_are_cut(place):
    for number in range(12):
        (place / "site" / f"extra-{number:02}.md").write_text(f"Text number {number}.")
    out = genir("sync", place / "model", place / "site")
    assert "   added  extra-09.md\n   added  and 2 more\n" in out and "extra-10" not in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sync", "model", "none"], "none: no such file or folder"),
        (["sync", "model", "site", "--dry-run", "--watch"], "--dry-run and --watch: give one"),
        (["sync", "model", "few"], "6 of 7 documents .* --max-deleted"),
        (["set", "model", "base-url"], "setting 'base-url'.*: write base-url=https"),
        (["set", "model", "base_url=x"], "did you mean 'base-url'"),
        (["set", "model", "base-url=docs"], "base URL 'docs': write a URL like"),
        (["add", "model", "site/new.md", "--root", "few"], r"new.md: is not below few"),
        (["add", "model", "few", "--root", "few"], "few: a root is for a single page"),
        (["add", "model", "site/.hidden.md"], "hidden pages"),
    ],
)
def test_errors_leave_the_model_as_it_was(place, monkeypatch, arguments, message):
    monkeypatch.chdir(place)
    (place / "few").mkdir()
    (place / "few" / "index.md").write_text("Only this.")
    (place / "site" / "new.md").write_text("Ships.")
    (place / "site" / ".hidden.md").write_text("Ships.")
    before = state(Retriever.load("model", "cpu"))
    with pytest.raises(InputError, match=message):
        genir(*arguments)
    after = Retriever.load("model", "cpu")
    assert state(after) == before and after.version == 0


def test_the_base_url_is_replaced_in_the_model(place):
    model, site, new = place / "model", place / "site", "https://y.org"
    genir("add", model, page(place, "first.md"))
    hits = Retriever.load(model, "cpu").search("copy a file", 8)[0]
    reader = Retriever.load(model, "cpu")
    assert genir("set", model, f"base-url={new}/") == f"base URL: {new}/; version 2\n"
    loaded = Retriever.load(model, "cpu")
    assert loaded.base_url == f"{new}/" and loaded.version == 2
    assert [one.kind for one in loaded.versions()] == ["trained", "add", "set"]
    urls = {one.key: one.url for one in loaded.documents}
    assert urls["index.md"] == f"{new}/" and urls["guide/page-3.md"] == f"{new}/guide/page-3"
    assert urls["first.md"] == f"{new}/first"
    again = loaded.search("copy a file", 8)[0]
    assert [(one.key, one.score) for one in again] == [(one.key, one.score) for one in hits]
    assert reader.sync() and reader.base_url == f"{new}/"
    assert json.loads(genir("sync", model, site, "--dry-run", "--json"))["unchanged"] == 7
    genir("set", model, "base-url=")
    assert Retriever.load(model, "cpu").documents.find("guide/page-3.md").url == "guide/page-3"
    assert genir("set", model, "base-url=") == "base URL: none, URLs are relative; version 3\n"


def page(place, name, text="# First\n\nShips."):
    path = place / "pages" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_identifiers_made_of_urls_forbid_another_base_url(saved_models, tmp_path):
    folder = shutil.copytree(saved_models("url"), tmp_path / "model")
    old = Retriever.load(folder, "cpu")
    old.index.manifest["base_url"] = "https://docs.example.org"
    old.save(folder, overwrite=True)
    with pytest.raises(InputError, match="scheme 'url' are made of the URLs; train"):
        genir("set", folder, "base-url=https://y.org/other")
    assert Retriever.load(folder, "cpu").base_url == "https://docs.example.org"


@pytest.mark.parametrize(("name", "text"), [("a.md", "# T\n\nx"), ("b.html", "<h1>T</h1><p>x</p>")])
def test_a_single_page_is_added_as_the_folder_would_add_it(place, name, text):
    model, site = place / "model", place / "site"
    file = site / "guide" / name
    file.write_text(f"{text} ships" + ("\n\n[home](../index.md)\n" if name == "a.md" else ""))
    genir("add", model, file, "--root", site)
    assert holds(model, site)
    other = page(place, name, f"{text} trains")
    genir("add", model, other)
    loaded = Retriever.load(model, "cpu").documents.find(name)
    assert loaded.title == "T" and loaded.url == f"{BASE}/{name[0]}"


def test_changes_are_reported_in_groups(tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site/model").mkdir()
    groups = watch_changes(tmp_path / "site", [tmp_path / "site/model"], quiet_ms=200)
    next(groups)  # the watch has started
    (tmp_path / "site/model/journal").write_text("x")
    time.sleep(0.5)
    for number in range(5):  # during the caller's work
        (tmp_path / f"site/{number}.md").write_text("x")
    next(groups)
    (tmp_path / "site/0.md").unlink()
    next(groups)


@pytest.mark.timeout(240)
def test_watch_follows_until_a_signal(place):
    model, site = place / "model", place / "site"
    command = [sys.executable, "-m", "genir", "sync", model, site, "--watch"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               env=os.environ | {"PYTHONUNBUFFERED": "1"})  # fmt: skip
    try:
        reader = Retriever.load(model, "cpu")
        for number, act in enumerate((change_site, break_page, mend_page, edit_again), 1):
            if number == 1:
                until(lambda: process.poll() is None and watching(process))
            act(site)
            if act is not break_page:
                until(lambda: reader.sync() or holds(model, site))
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 128 + signal.SIGTERM
    assert f"following {site} (Ctrl-C stops it)" in err
    assert "broken.md: an empty text" in err and "waiting for the next change" in err
    assert out.count("; version ") >= 2 and "   added  new.md" in out


def watching(process):
    """Return whether a process has an inotify watch."""
    names = [f"/proc/{process.pid}/fd/{name}" for name in os.listdir(f"/proc/{process.pid}/fd")]
    return any("inotify" in os.readlink(name) for name in names if os.path.lexists(name))


def break_page(site):
    (site / "broken.md").write_text("")
    time.sleep(3)


def mend_page(site):
    (site / "broken.md").write_text("Mended.")


def edit_again(site):
    edit_pages(site, random.Random(1))


def until(condition, patience=90):
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, "the change is not followed"
        time.sleep(0.3)
