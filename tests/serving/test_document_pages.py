"""The page of a document for browsers, and URLs under another base URL."""

import shutil
from html.parser import HTMLParser
from urllib.parse import quote, urljoin

import pytest
from asgi import ask
from living import record, serving

from genir.serving.document_page import document_path, root_of
from genir.serving.settings import Settings
from genir.serving.tokens import TokenSpec, new_token

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
HOSTILE = {
    "_id": "<img src=x onerror=alert(1)>",
    "title": "<b>bold</b> & 'quoted'",
    "text": "<script>alert('text')</script> and [a link](javascript:alert(2)) </article>",
    "url": "javascript:alert(3)",
    'field "><svg onload=alert(4)>': "<i>value</i>",
}


class Parsed(HTMLParser):
    """Elements and links of a page."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.links, self.text = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.elements.append(tag)
        named = dict(attributes)
        self.links += [named[name] for name in ("href", "src") if name in named]
        assert not any(name.startswith("on") for name in named)

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture
def client(model_folder, tmp_path):
    with serving(shutil.copytree(model_folder, tmp_path / "model")) as client:
        yield client


def put(client, *records, headers=None):
    done = client.post("/v1/documents", json={"documents": list(records)}, headers=headers)
    assert done.status_code == 201, done.text


def test_a_browser_gets_a_page_and_other_clients_the_record(client):
    page = client.get("/documents/copy-file", headers=BROWSER)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["vary"] == "Accept, Authorization"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    plain = client.get("/v1/documents/copy-file").json()
    assert plain["text"] in "".join(Parsed(page.text).text)
    assert client.get("/documents/copy-file").json() == plain
    assert client.get("/documents/copy-file", headers={"Accept": "*/*"}).json() == plain
    assert client.get("/v1/documents/copy-file", headers=BROWSER).json() == plain


def test_markup_in_a_document_stays_text(client):
    put(client, HOSTILE)
    page = client.get(f"/documents/{quote(HOSTILE['_id'], safe='')}", headers=BROWSER)
    parsed = Parsed(page.text)
    assert page.status_code == 200
    assert not {"img", "b", "i", "svg"} & set(parsed.elements)
    assert parsed.elements.count("script") == 1 and parsed.elements.count("article") == 1
    assert not any(link.startswith("javascript") for link in parsed.links)
    text = "".join(parsed.text)
    for name in ("title", "text"):
        assert HOSTILE[name] in text
    assert "<i>value</i>" in text


def test_links_lead_to_the_pages_of_other_documents(client):
    links = [{"start": 0, "end": 3, "target": "b/c d.md"}, {"start": 4, "end": 7, "target": "a//x"},
             {"start": 2, "end": 5, "target": "overlaps"}]  # fmt: skip
    put(client, record("a/page.md", "one two three", links=links, url="https://x.org/a?b=1&c=2"))
    page = client.get("/documents/a/page.md", headers=BROWSER)
    at = "https://host/search/documents/a/page.md"
    found = [urljoin(at, link) for link in Parsed(page.text).links]
    assert found[:3] == [f"https://host/search/page/{name}"
                         for name in ("favicon.svg", "document.css", "document.js")]  # fmt: skip
    assert found[3:] == [
        "https://host/search/",
        "https://x.org/a?b=1&c=2",
        "https://host/search/documents/b/c%20d.md",
        "https://host/search/documents/a%2F%2Fx",
    ]


@pytest.mark.parametrize(
    ("path", "root"),
    [(b"/documents/a", "../"), (b"/documents/a/b/c", "../../../"), (b"/documents/a%2Fb", "../")],
)
def test_the_root_is_relative_to_the_path_as_sent(path, root):
    assert root_of(path) == root


def test_pages_of_odd_keys_have_an_address(client):
    odd = ["a/b", "/a", "a//b", "a/../b", "./a", "%2F", "?q=1", "#x", " a ", "é", "<b>", "'\""]
    put(client, *map(record, odd))
    accept = [(b"accept", b"text/html")]
    for key in odd:
        address = f"/{document_path(key)}".encode()
        status, headers, _ = ask(client.app, "GET", address, headers=accept)
        assert status == 200 and headers["content-type"].startswith("text/html")
        assert b"/./" not in address and b"/../" not in address and b"//" not in address


def test_a_missing_document_is_a_page_too(client):
    page = client.get("/documents/<b>none", headers=BROWSER)
    assert page.status_code == 404 and "no document with the key" in page.text
    assert "<b>none" not in page.text and "data-locked" not in page.text


@pytest.fixture
def secrets(tmp_path):
    specs = {
        "acme": TokenSpec("acme", "read", {"tenant": "acme"}),
        "all": TokenSpec("all", "write"),
    }
    return {name: new_token(tmp_path / "tokens.json", one) for name, one in specs.items()}


def bearer(secret):
    return {"Authorization": f"Bearer {secret}"}


def test_a_scoped_token_opens_its_own_documents_only(model_folder, tmp_path, secrets):
    settings = Settings(tokens=tmp_path / "tokens.json")
    folder = shutil.copytree(model_folder, tmp_path / "model")
    with serving(folder, settings, loopback=False) as client:
        mine, other = record("mine", tenant="acme"), record("other", "zq secret", tenant="b")
        put(client, mine, other, headers=bearer(secrets["all"]))
        locked = client.get("/documents/mine", headers=BROWSER)
        assert locked.status_code == 401 and "data-locked" in locked.text
        assert "hide the volume" not in locked.text
        wrong = client.get("/documents/mine", headers=BROWSER | bearer("wrong"))
        assert wrong.status_code == 401
        own = BROWSER | bearer(secrets["acme"])
        assert "hide the volume" in client.get("/documents/mine", headers=own).text
        hidden, missing = (
            client.get(f"/documents/{key}", headers=own) for key in ("other", "otherx")
        )
        assert (hidden.status_code, missing.status_code) == (404, 404)
        assert hidden.text == missing.text.replace("otherx", "other") and "zq" not in hidden.text
        assert (
            "zq secret"
            in client.get("/documents/other", headers=BROWSER | bearer(secrets["all"])).text
        )


def test_urls_are_shown_under_the_base_url_of_the_server(model_folder, tmp_path):
    from genir.retriever import Retriever

    folder = shutil.copytree(model_folder, tmp_path / "model")
    retriever = Retriever.load(folder, "cpu")
    old = "https://docs.example.org"
    retriever.set_base_url(old)
    assert all(one.url.startswith(f"{old}/") for one in retriever.documents)
    with serving(folder, Settings(base_url="https://new.example.org/x/")) as client:
        for system in ("genir", "bm25"):
            body = {"query": "erase a drive", "k": 5, "system": system}
            hits = client.post("/v1/search", json=body).json()["hits"]
            assert len(hits) == 5
            assert all(hit["url"].startswith("https://new.example.org/x/") for hit in hits)
        shown = client.get("/v1/documents/copy-file").json()["url"]
        assert shown.startswith("https://new.example.org/x/")
        assert shown in client.get("/documents/copy-file", headers=BROWSER).text
        put(client, record("a"))
        client.post("/v1/compact", json={})  # the model is loaded again
        assert client.get("/v1/documents/copy-file").json()["url"] == shown
    stored = Retriever.load(folder, "cpu").documents.find("copy-file").url
    assert stored.startswith(old)


def test_a_wrong_base_url_is_refused():
    from genir.errors import InputError

    with pytest.raises(InputError, match="--base-url 'docs': base URL 'docs': write a URL like"):
        Settings.of({"base_url": "docs"})
